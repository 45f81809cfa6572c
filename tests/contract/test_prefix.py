"""Layers that do not learn are computed once: the same run as without, sooner, and the same bits after a resume."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from nlptl import Compute, FullTuning, Learner, LoRA
from nlptl.backbones import families
from nlptl.engine import prefix
from nlptl.engine.items import collate
from nlptl.engine.runtime import Runtime
from nlptl.modes import gradient
from nlptl.tasks.base import WindowSize
from nlptl.tasks.inputs import prepare_texts
from tests.kit.cells import PLAIN, Cell, model, weights
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import opened, tiny

SHEETS = {sheet.name: sheet for sheet in families.all()}
#: Its layers answer with two streams and not with hidden states alone: computed in every epoch, and told.
TWO_STREAMS = ("xlnet",)
SEVERAL = [name for name, sheet in SHEETS.items() if not sheet.ties_layers and name not in TWO_STREAMS]


@cache
def upper_targets(family: str) -> tuple[str, ...]:
    """The names of every linear layer in the second and last layer of a tiny checkpoint."""
    whole = opened(family).with_head("sequence", 2, "single", seed=0).model
    (last,) = [layer for layer in SHEETS[family].layers_of(whole.base_model)][1:]
    inside = {id(module) for module in last.modules()}
    kinds = ("Linear", "Conv1D")
    return tuple(name for name, m in whole.named_modules() if type(m).__name__ in kinds and id(m) in inside)


@pytest.fixture
def compute(tmp_path: Path) -> Compute:
    return replace(PLAIN, cache=tmp_path / "vectors")


@pytest.fixture
def ran(monkeypatch) -> list[int]:
    """How many windows the lowest layer saw, each time it really ran."""
    seen: list[int] = []
    plain = prefix.frozen_layers

    def watched(trained, family):
        layers = plain(trained, family)
        if layers is not None:
            forward = layers.every[0].forward

            def counted(*given, **named):
                seen.append(len(given[0] if given else named["hidden_states"]))
                return forward(*given, **named)

            layers.every[0].forward = counted
        return layers

    monkeypatch.setattr(prefix, "frozen_layers", watched)
    return seen


def upper(family: str = "bert", **options) -> LoRA:
    return LoRA(targets=upper_targets(family), **{"batch_size": 4, "dropout": 0.0, "epochs": 3, **options})


def learner(family: str, compute: Compute, task: str = "classification", **options) -> Learner:
    return Learner(tiny(family), task=task, mode=upper(family, **options), compute=compute)


def losses(made: Learner) -> list[float]:
    return [entry["loss"] for entry in made.history_]


@contextlib.contextmanager
def nothing(*_, **__):
    yield {}


@pytest.mark.parametrize("family", SEVERAL)
def test_the_losses_are_those_of_the_plain_way(family, compute, monkeypatch):
    epochs = 25 if family in ("bert", "gpt2") else 4
    options = {"epochs": epochs, "learning_rate": 1e-2}
    fast = learner(family, compute, **options).fit(TEXTS, POLARITIES)
    monkeypatch.setattr(gradient, "recalled_prefix", nothing)
    plain = learner(family, compute, **options).fit(TEXTS, POLARITIES)
    told = fast.record_["choices"]["frozen_prefix"]
    assert told.startswith("the lowest 1 of 2 layers do not learn, and drop nothing out; computed once (8 windows, 0")
    assert "frozen_prefix" not in plain.record_["choices"]
    assert len(losses(fast)) == epochs  # two steps each
    np.testing.assert_allclose(losses(fast), losses(plain), rtol=1e-3)
    assert len(set(losses(plain))) == epochs


@pytest.mark.parametrize("family", TWO_STREAMS)
def test_layers_of_another_form_are_computed_in_every_epoch(family, compute):
    told = learner(family, compute, epochs=2).fit(TEXTS, POLARITIES).record_["choices"]["frozen_prefix"]
    assert told.endswith("computed in every epoch: its layers answer in a form of their own")


def test_bf16_is_recalled_as_it_was(compute, monkeypatch):
    half = replace(compute, precision="bf16")
    fast = learner("bert", half).fit(TEXTS, POLARITIES)
    assert "computed once" in fast.record_["choices"]["frozen_prefix"]
    monkeypatch.setattr(gradient, "recalled_prefix", nothing)
    np.testing.assert_allclose(losses(fast), losses(learner("bert", half).fit(TEXTS, POLARITIES)), rtol=0.02)


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_words_and_windows_are_recalled_as_well(task, compute, monkeypatch):
    inputs, targets = rows(task)
    long = [*inputs, list(chain(*inputs)) if task == "ner" else " ".join(inputs)]
    aims = [*targets, list(chain(*targets)) if task == "ner" else targets[0]]
    fast = learner("bert", compute, task).fit(long, aims)
    monkeypatch.setattr(gradient, "recalled_prefix", nothing)
    plain = learner("bert", compute, task).fit(long, aims)
    assert fast.record_["counts"]["windows"] > len(long) and "computed once" in fast.record_["choices"]["frozen_prefix"]
    np.testing.assert_allclose(losses(fast), losses(plain), rtol=1e-3)


def test_pairs_keep_the_two_types_apart(compute, monkeypatch, ran):
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    fast = learner("bert", compute).fit(pairs, POLARITIES)
    assert sum(ran) == 2 + 2 + len(pairs)
    monkeypatch.setattr(gradient, "recalled_prefix", nothing)
    np.testing.assert_allclose(losses(fast), losses(learner("bert", compute).fit(pairs, POLARITIES)), rtol=1e-3)


def test_the_layers_below_run_once_a_row_and_never_again_in_another_run(compute, ran):
    learner("bert", compute, epochs=5).fit(TEXTS, POLARITIES)
    # Two windows are run twice beforehand, both ways, and the rest of the time only what is scored.
    first = sum(ran)
    assert first == 2 + 2 + len(TEXTS)
    ran.clear()
    again = learner("bert", compute, epochs=5, learning_rate=1e-2).fit(TEXTS, POLARITIES)
    assert sum(ran) == 4
    assert "8 windows, 8 of them taken from the cache" in again.record_["choices"]["frozen_prefix"]


@pytest.mark.parametrize("room", ["memory", "disk"])
def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(room, compute, tmp_path, monkeypatch):
    if room == "disk":
        monkeypatch.setattr(prefix, "IN_MEMORY", 0)
    options = {"epochs": 4, "dropout": 0.1}
    # The rows were computed before, among others: theirs are other bits, and must not be taken.
    for half in (slice(0, 4), slice(4, 8)):
        learner("bert", compute, **options).fit(TEXTS[half], POLARITIES[half])
    whole = learner("bert", compute, **options).fit(TEXTS, POLARITIES, run_dir=tmp_path / "whole")
    assert "(8 windows, 0 of them taken" in whole.record_["choices"]["frozen_prefix"]
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    for step in sorted((tmp_path / "broken" / "checkpoints").glob("step-*"))[1:]:
        shutil.rmtree(step)
    shutil.rmtree(compute.cache)  # as on another machine: what is recalled must be computed again, with the same bits
    resumed = learner("bert", compute, **options).fit(TEXTS, POLARITIES, run_dir=tmp_path / "broken", resume=True)
    assert losses(resumed) == losses(whole)
    one, other = weights(model(whole)), weights(model(resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_from_disk_and_from_memory_are_the_same_run(compute, monkeypatch, ran):
    memory = learner("bert", compute, dropout=0.1).fit(TEXTS, POLARITIES)
    monkeypatch.setattr(prefix, "IN_MEMORY", 0)
    ran.clear()
    disk = learner("bert", compute, dropout=0.1).fit(TEXTS, POLARITIES)
    assert sum(ran) == 4 and losses(disk) == losses(memory)


def test_what_is_evicted_meanwhile_is_computed_again(compute, monkeypatch):
    memory = learner("bert", compute).fit(TEXTS, POLARITIES)
    monkeypatch.setattr(prefix, "IN_MEMORY", 0)
    plain = prefix.Prefix._arrays

    def evicted(self, slots):
        shutil.rmtree(compute.cache)
        return plain(self, slots)

    monkeypatch.setattr(prefix.Prefix, "_arrays", evicted)
    assert losses(learner("bert", compute).fit(TEXTS, POLARITIES)) == losses(memory)


def test_without_a_cache_the_layers_are_quiet_as_well(compute):
    """What is learnt must not depend on whether there is a cache: dropout stands in the upper layer alone."""
    options = {"dropout": 0.3, "epochs": 4}
    kept = learner("bert", compute, **options).fit(TEXTS, POLARITIES)
    off = learner("bert", PLAIN, **options).fit(TEXTS, POLARITIES)
    np.testing.assert_allclose(losses(off), losses(kept), rtol=1e-4)
    assert off.record_["choices"]["frozen_prefix"].endswith("; computed in every epoch: no cache is wanted")


@pytest.mark.parametrize(
    ("mode", "compute_options", "told"),
    [
        (lambda: upper(epochs=1), {}, "no row is seen twice"),
        (lambda: upper(), {"cache_gib": 1e-5}, "GiB of outputs are too many for Compute(cache_gib=…)"),
    ],
    ids=["one-pass", "too-large"],
)
def test_why_it_is_not_used_is_told(mode, compute_options, told, compute):
    made = Learner(tiny("bert"), mode=mode(), compute=replace(compute, **compute_options)).fit(TEXTS, POLARITIES)
    assert told in made.record_["choices"]["frozen_prefix"]


def upper_model() -> torch.nn.Module:
    """A model of which the upper layer learns."""
    whole = opened("bert").with_head("sequence", 2, "single", seed=0, dropout=0.0).model
    for name, p in whole.named_parameters():
        p.requires_grad = "layer.1." in name
    return whole


def told_of(trained: torch.nn.Module, compute: Compute) -> str:
    items = prepare_texts(opened("bert"), TEXTS, WindowSize(32, 8)).items
    with prefix.recalled_prefix(trained, SHEETS["bert"], items, Runtime(compute), pad_id=0, passes=3) as told:
        return told["frozen_prefix"]


def test_a_model_in_which_something_below_learns_is_left_alone(compute):
    trained = upper_model()
    trained.base_model.embeddings.word_embeddings.requires_grad_(True)
    assert told_of(trained, compute).endswith("computed in every epoch: something below them learns")


def test_a_model_that_reads_its_lower_layers_elsewhere_is_left_alone(compute):
    trained = upper_model()
    base, inside = trained.base_model, []
    lower, upper = base.encoder.layer
    base.register_forward_pre_hook(lambda *_: inside.clear())
    lower.attention.register_forward_hook(lambda module, given, answer: inside.append(answer[0]))
    assert "computed once" in told_of(trained, compute)
    upper.register_forward_hook(lambda module, given, answer: answer + inside[-1] if inside else answer)
    assert told_of(trained, compute).endswith("computed in every epoch: other parts of the model read them as well")


def test_weights_that_were_changed_in_memory_are_other_weights(compute):
    assert "10 windows, 0 of them" in told_of(upper_model(), compute)
    assert "10 windows, 10 of them" in told_of(upper_model(), compute)
    changed = upper_model()
    with torch.no_grad():
        changed.base_model.encoder.layer[0].output.dense.weight[0, 0] += 1e-3
    assert "10 windows, 0 of them" in told_of(changed, compute)
    learnt = upper_model()
    with torch.no_grad():
        learnt.base_model.encoder.layer[1].output.dense.weight[0, 0] += 1
    assert "10 windows, 10 of them" in told_of(learnt, compute)


def test_after_a_pass_that_failed_the_layers_are_their_own_again(compute):
    whole = upper_model()
    last = whole.base_model.encoder.layer[1]
    own = [layer.forward for layer in whole.base_model.encoder.layer]
    items = prepare_texts(opened("bert"), TEXTS, WindowSize(32, 8)).items
    batch = collate(items[:2], 0).inputs
    with prefix.recalled_prefix(whole, SHEETS["bert"], items, Runtime(compute), pad_id=0, passes=3) as told:
        assert "computed once" in told["frozen_prefix"]
        whole.train()
        handle = last.register_forward_pre_hook(lambda *_: torch.zeros(1)[3])
        with pytest.raises(IndexError):
            whole(**batch)
        handle.remove()
        assert [layer.forward for layer in whole.base_model.encoder.layer] == own
        whole.base_model.embeddings.register_forward_hook(lambda *given: given[2] * 0)
        recalled = whole.base_model.train()(**batch).last_hidden_state
    assert not torch.allclose(recalled, whole.base_model.train()(**batch).last_hidden_state, atol=1e-2)


def test_rows_that_were_not_prepared_are_computed(compute):
    whole = upper_model()
    items = prepare_texts(opened("bert"), TEXTS, WindowSize(32, 8)).items
    batch = collate(items[:3], 0).inputs
    plain = whole(**batch).logits
    with prefix.recalled_prefix(whole, SHEETS["bert"], items[:2], Runtime(compute), pad_id=0, passes=3):
        assert torch.allclose(whole.train()(**batch).logits, plain, atol=1e-6)


def test_where_the_lowest_layer_learns_nothing_is_changed(compute):
    for mode in (LoRA(steps=2), FullTuning(steps=2)):
        made = Learner(tiny("bert"), mode=mode, compute=compute).fit(TEXTS, POLARITIES)
        assert "frozen_prefix" not in made.record_["choices"]
    albert = Learner(tiny("albert"), mode=LoRA(steps=2), compute=compute).fit(TEXTS, POLARITIES)
    assert "frozen_prefix" not in albert.record_["choices"]


@pytest.mark.parametrize("cached", [True, False])
def test_no_gradient_goes_below_the_lowest_layer_that_learns(cached, compute, monkeypatch):
    seen: list[str] = []
    plain = prefix.frozen_layers

    def watched(trained, family):
        layers = plain(trained, family)

        def entered(name):
            return lambda module, given, answer: seen.append(name) if _asks(answer) else None

        for n, layer in enumerate(layers.every):
            layer.register_forward_hook(entered(f"layer {n}"))
        layers.base.embeddings.register_forward_hook(entered("embeddings"))
        return layers

    monkeypatch.setattr(prefix, "frozen_layers", watched)
    learner("bert", compute if cached else PLAIN).fit(TEXTS, POLARITIES)
    assert set(seen) == {"layer 1"}


def _asks(answer) -> bool:
    return (answer[0] if isinstance(answer, tuple) else answer).requires_grad


def test_peft_asks_for_no_gradient_of_the_input():
    """It would with gradient checkpointing, and every layer would be gone back through."""
    cell = Cell("classification", "lora", "bert")
    made = model(cell.learner().fit(TEXTS, POLARITIES))
    embedded = made.get_base_model().get_input_embeddings()(torch.tensor([[1, 2]]))
    assert not embedded.requires_grad
