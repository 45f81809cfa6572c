"""What LoRA promises on every model type: it starts as the base, it merges, it matches what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nlptl import FullTuning, Learner, LoRA, OptionError
from nlptl.backbones import families
from nlptl.backbones.pieces import frame, text_pieces
from nlptl.modes.lora import wrap
from tests.kit.cells import BOTH_KINDS, PLAIN, checkpoint_weights, gap, model, same_bits, scores
from tests.kit.rows import TEXTS, rows
from tests.kit.shelf import opened, tiny

MODEL_TYPES = [name for sheet in families.all() for name in sheet.model_types]
LEVELS = ("sequence", "token")
every_type = pytest.mark.parametrize("family", MODEL_TYPES)
every_level = pytest.mark.parametrize("level", LEVELS)
#: A run short enough for a test that still learns something.
FAST = {"steps": 8, "batch_size": 8, "learning_rate": 2e-2, "dropout": 0.0}
VARIANTS = ("plain", "dora", "rslora", "pissa", "olora")


def batch(backbone):
    framed = [frame(backbone, ids) for ids in text_pieces(backbone, TEXTS[:4])]
    width = max(map(len, framed))
    return {
        "input_ids": torch.tensor([ids + [backbone.pad_id] * (width - len(ids)) for ids in framed]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in framed]),
    }


def adapted(family, level, **options):
    """An adapted model of a checkpoint, and the same model without adapters."""
    backbone = opened(family)
    base = backbone.with_head(level, 3, "single", seed=0)
    again = backbone.with_head(level, 3, "single", seed=0)
    for made in (base, again):
        speak_up(made)
    return backbone, base.model.eval(), wrap(again.model, LoRA(**options)._config(again, level)).eval(), again


def speak_up(made):
    """A fresh head hardly says anything: differences below it would pass unseen."""
    with torch.no_grad():
        for name in made.fresh:
            for p in made.model.get_submodule(name).parameters():
                p.mul_(10)


def logits(module, inputs):
    """Of the texts, or of their real tokens."""
    with torch.inference_mode():
        found = module(**inputs).logits
    return found[inputs["attention_mask"].bool()] if found.ndim == 3 else found


def stir(peft_model):
    """Adapters as after training: B is zero before."""
    with torch.no_grad():
        for name, p in peft_model.named_parameters():
            if ".lora_B." in name:
                p.normal_(std=0.02)


@every_level
@every_type
def test_fresh_adapters_say_what_the_base_says_and_merge_without_a_trace(family, level):
    backbone, base, lora, _ = adapted(family, level)
    inputs = batch(backbone)
    plain = logits(base, inputs)
    torch.testing.assert_close(logits(lora, inputs), plain, atol=1e-6, rtol=0)
    stir(lora)
    before = logits(lora, inputs)
    assert not torch.allclose(before, plain, atol=1e-3)
    largest = max(1.0, float(before.abs().max()))
    torch.testing.assert_close(logits(lora.merge_and_unload(), inputs), before, atol=1e-5 * largest, rtol=0)


@every_level
@every_type
def test_every_linear_layer_of_the_base_is_adapted_and_every_fresh_module_learns(family, level):
    _, base, lora, made = adapted(family, level)
    inside = {
        name
        for name, m in base.named_modules()
        if type(m).__name__ in ("Linear", "Conv1D") and not f"{name}.".startswith(tuple(f"{f}." for f in made.fresh))
    }
    wrapped = {name.removeprefix("base_model.model.") for name, m in lora.named_modules() if hasattr(m, "lora_A")}
    assert wrapped == inside
    learning = {name.removeprefix("base_model.model.") for name, p in lora.named_parameters() if p.requires_grad}
    for fresh in made.fresh:
        assert any(name.startswith(f"{fresh}.modules_to_save.") for name in learning)
    assert all(".lora_" in name or ".modules_to_save." in name for name in learning)


@pytest.mark.parametrize("family", BOTH_KINDS)
def test_the_base_does_not_move(family):
    learner = Learner(tiny(family), mode=LoRA(steps=5, batch_size=4), compute=PLAIN).fit(*rows("classification"))
    saved = checkpoint_weights(tiny(family))
    found = 0
    for name, p in model(learner).get_base_model().base_model.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in saved:
            assert torch.equal(p, saved[plain]), name
            found += 1
    assert found == len(saved)


@pytest.mark.parametrize(
    ("family", "targets", "wrong"),
    [
        ("bert", ("query", "vlaue"), "vlaue"),
        ("gpt2", ("c_attn", "q_proj"), "q_proj"),
        ("llama", ("q_proj", "query"), "query"),
    ],
)
def test_one_wrong_target_among_right_ones_is_refused(family, targets, wrong):
    learner = Learner(tiny(family), mode=LoRA(targets=targets, steps=1), compute=PLAIN)
    with pytest.raises(OptionError, match=rf"received '{wrong}', which matches no module; expected names among"):
        learner.fit(*rows("classification"))


def test_a_fresh_module_is_no_target():
    learner = Learner(tiny("bert"), mode=LoRA(targets=("query", "classifier"), steps=1), compute=PLAIN)
    with pytest.raises(OptionError, match="received 'classifier', a fresh module, which learns whole"):
        learner.fit(*rows("classification"))


@pytest.mark.parametrize(("family", "targets"), [("bert", ("query", "value")), ("gpt2", ("c_attn",))])
def test_named_targets_are_the_only_ones_adapted(family, targets):
    learner = Learner(tiny(family), mode=LoRA(targets=targets, steps=1), compute=PLAIN).fit(*rows("classification"))
    found = {name.rsplit(".", 1)[-1] for name, m in model(learner).named_modules() if hasattr(m, "lora_A")}
    assert found == set(targets)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", [*BOTH_KINDS, "llama"])
def test_variants_learn_and_come_back(family, variant, tmp_path: Path):
    inputs, targets = rows("classification")
    learner = Learner(tiny(family), mode=LoRA(variant=variant, rank=4, **FAST), compute=PLAIN)
    if variant == "olora" and family == "gpt2":
        with pytest.raises(OptionError, match="transposed layers"):
            learner.fit(inputs, targets)
        return
    learner.fit(inputs, targets)
    assert learner.history_[-1]["loss"] < learner.history_[0]["loss"]
    again = Learner.load(learner.save(tmp_path / "bundle"))
    again.compute = PLAIN
    assert same_bits(scores(again, inputs), scores(learner, inputs))
    # It stands on the checkpoint as it is on disk: what peft merges says the same.
    again._known.fitted.model = model(again).merge_and_unload()
    assert gap(scores(again, inputs), scores(learner, inputs)) < 1e-4


@pytest.mark.parametrize("variant", ["pissa", "olora"])
def test_a_mutating_variant_says_as_a_plain_adapter_what_it_said_in_training(variant, monkeypatch):
    """What `finish` makes of it must be the trained model, and not merely something that can be saved."""
    inputs, targets = rows("classification")
    seen = {}
    finish = LoRA.finish

    def watched(self, trained, job):
        from nlptl.engine.predict import score

        seen["trained"] = score(trained, job.prepared.items, job.runtime, pad_id=job.backbone.pad_id)
        return finish(self, trained, job)

    monkeypatch.setattr(LoRA, "finish", watched)
    learner = Learner(tiny("bert"), mode=LoRA(variant=variant, **FAST), compute=PLAIN)
    learner.fit(inputs, targets)
    assert gap(scores(learner, inputs), seen["trained"]) < 1e-4


@pytest.mark.parametrize("task", ["classification", "ner"])
def test_adapters_go_onto_a_checkpoint_that_has_this_very_head_already(task, tmp_path: Path):
    inputs, targets = rows(task)
    first = Learner(tiny("bert"), task=task, mode=FullTuning(steps=2), compute=PLAIN).fit(inputs, targets)
    folder = first.save(tmp_path / "full")
    second = Learner(folder, task=task, mode=LoRA(steps=4, batch_size=8, learning_rate=1e-2), compute=PLAIN)
    second.fit(inputs, targets)
    assert not same_bits(scores(second, inputs), scores(first, inputs))
    again = Learner.load(second.save(tmp_path / "lora"))
    again.compute = PLAIN
    assert same_bits(scores(again, inputs), scores(second, inputs))
