"""Gradient checkpointing: the same gradients, in every mode that has any; refused by name elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nlptl import Frozen, FullTuning, Learner, LoRA, OptionError
from nlptl.backbones import families
from nlptl.engine.fast import dropout
from tests.kit.cells import PLAIN, model, weights
from tests.kit.rows import rows
from tests.kit.shelf import opened, tiny

AGAIN = replace(PLAIN, gradient_checkpointing=True)
PLAIN_AGAIN = replace(AGAIN, kernels="plain")
BRIEF = {"steps": 3, "batch_size": 4}
#: transformers has none for these.
WITHOUT = ("albert", "mpnet", "xlnet")
#: Weights that single texts pass by: of pairs, and of the permutations that XLNet was pretrained with.
PASSED_BY = {"xlnet": ("mask_emb", "seg_embed", "r_s_bias")}


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize(
    "mode", [FullTuning(**BRIEF, dropout=0.1), LoRA(**BRIEF, lora_dropout=0.1)], ids=["full", "lora"]
)
@pytest.mark.parametrize("task", ["classification", "ner"])
def test_it_changes_nothing_of_what_is_learnt(family, mode, task):
    """With dropout, whose masks are drawn again: the same ones."""
    plain = replace(PLAIN, kernels="plain")
    runs = [Learner(tiny(family), task=task, mode=mode, compute=c).fit(*rows(task)) for c in (plain, PLAIN_AGAIN)]
    plain, again = (weights(model(learner)) for learner in runs)
    for name, weight in plain.items():
        torch.testing.assert_close(again[name], weight, rtol=0, atol=1e-6, msg=name)
    assert runs[1].record_["choices"]["gradient_checkpointing"] == "on"
    assert "gradient_checkpointing" not in runs[0].record_["choices"]


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_it_goes_with_the_fast_kernels(rate, monkeypatch):
    """Those that would draw other masks when they draw again stand aside."""
    monkeypatch.setattr(dropout, "_WORTH_IT", 1)
    mode = LoRA(**BRIEF, lora_dropout=rate, dropout=rate)
    runs = [Learner(tiny("bert"), mode=mode, compute=c).fit(*rows("classification")) for c in (PLAIN, AGAIN)]
    assert all("as one function each" in run.record_["choices"]["adapters"] for run in runs)
    assert "dropout" not in runs[1].record_["choices"]
    if rate == 0.0:
        one, other = (weights(model(run)) for run in runs)
        for name, weight in one.items():
            torch.testing.assert_close(other[name], weight, rtol=0, atol=1e-6, msg=name)


def test_activations_really_are_computed_again():
    """The layers of the second run are passed through twice as often."""
    passes = {}
    for compute in (PLAIN, AGAIN):
        learner = Learner(tiny("bert"), mode=FullTuning(**BRIEF), compute=compute)
        whole, seen = torch.nn.Linear.forward, [0]

        def forward(module, given, whole=whole, seen=seen):
            seen[0] += 1
            return whole(module, given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.Linear, "forward", forward)
            learner.fit(*rows("classification"))
        passes[compute.gradient_checkpointing] = seen[0]
    assert passes[True] > 1.5 * passes[False]


@pytest.mark.parametrize("family", WITHOUT)
def test_a_family_without_it_refuses(family):
    with pytest.raises(
        OptionError, match=rf"gradient_checkpointing=True\): received .*{family}.*transformers has none"
    ):
        Learner(tiny(family), mode=FullTuning(**BRIEF), compute=AGAIN).fit(*rows("classification"))


def test_frozen_refuses_it():
    with pytest.raises(OptionError, match="received it for mode 'frozen', which has no gradients"):
        Learner(tiny("bert"), mode=Frozen(), compute=AGAIN).fit(*rows("classification"))


def test_only_a_truth_value_is_taken():
    with pytest.raises(OptionError, match="received 1; expected True or False"):
        replace(PLAIN, gradient_checkpointing=1)


@pytest.mark.parametrize("family", [sheet.name for sheet in families.all()])
@pytest.mark.parametrize("level", ["sequence", "token"])
def test_every_weight_that_learns_has_a_gradient(family, level):
    """Several processes exchange the gradients of all of them, and wait for one that never comes."""
    learning = opened(family).with_head(level, ["a", "b"], "single", seed=0).model.train()
    ids = torch.arange(5, 11)[None]
    learning(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum().backward()
    without = [name for name, p in learning.named_parameters() if p.requires_grad and p.grad is None]
    assert [name for name in without if not name.endswith(PASSED_BY.get(family, ()))] == []
    assert bool(learning.supports_gradient_checkpointing) == (family not in WITHOUT)
