"""Several processes do what one does: same rows, same metrics, same gradients, same weights; only one writes.

Two and three processes are started once each, and many tests look at what they saw. One process is the reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.processes import checks

#: fit -> the fit in one process that it must equal
FITS = {
    "texts": "texts", "words": "words", "several": "several", "few": "few", "few words": "few words",
    "adamw": "adamw", "adamw lora": "adamw lora", "early": "early",
    "spread": "texts", "spread words": "few words", "spread lora": "adamw lora",
}  # fmt: skip
FITS_OF_THREE = ("texts", "words", "few", "few words")
EVERY_FIT = [(2, name) for name in FITS] + [(3, name) for name in FITS_OF_THREE]
BOTH = pytest.mark.parametrize("world", [2, 3])


@dataclass(frozen=True)
class Saw:
    """What one process saw."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    def gradients(self, fit: str) -> list[torch.Tensor]:
        return [self.tensors[f"{fit}.gradient.{n}"] for n in range(self.steps(fit))]

    def steps(self, fit: str) -> int:
        return sum(name.startswith(f"{fit}.gradient.") for name in self.tensors)

    def weights(self, fit: str) -> dict[str, torch.Tensor]:
        prefix = f"{fit}.weight."
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def alone(backbones, tmp_path_factory):
    names = {check.__name__ for check in checks.CHECKS} - {"spread", "resumed", "written"}
    seen = checks.measure(backbones, tmp_path_factory.mktemp("one"), sorted(names))
    return Saw(seen.facts, seen.tensors)


@pytest.fixture(scope="module")
def together(request):
    """What each of so many processes saw; they are started when they are first asked for."""

    @cache
    def of(world: int) -> list[Saw]:
        folder = request.getfixturevalue({2: "two", 3: "three"}[world])
        return [
            Saw(json.loads((folder / f"seen-{n}.json").read_text()), load_file(folder / f"seen-{n}.safetensors"))
            for n in range(world)
        ]

    return of


@BOTH
def test_there_are_as_many_processes_as_were_asked_for(together, world):
    """Processes that know nothing of each other would pass all that follows."""
    assert [saw.facts["world"] for saw in together(world)] == [world] * world
    assert sorted(saw.facts["rank"] for saw in together(world)) == list(range(world))
    assert {saw.facts["texts.choices"]["processes"] for saw in together(world)} == {str(world)}


@pytest.mark.parametrize(("world", "fit"), EVERY_FIT)
def test_gradients_are_those_of_one_process_on_the_same_rows(alone, together, world, fit):
    for saw in together(world):
        assert saw.steps(fit) == alone.steps(FITS[fit]) >= 5
        assert max(step.abs().max() for step in saw.gradients(fit)) > 1e-2
        for step, (one, other) in enumerate(zip(alone.gradients(FITS[fit]), saw.gradients(fit), strict=True)):
            # Later steps stand on weights that differ by the rounding of all steps before.
            torch.testing.assert_close(other, one, rtol=0, atol=1e-6 if step < 5 else 5e-6)


@pytest.mark.parametrize(("world", "fit"), EVERY_FIT)
def test_weights_after_all_steps_are_those_of_one_process(alone, together, world, fit):
    """AdamW divides by the gradient's own size: a bias of BERT's keys has none but rounding, and is left out."""
    for saw in together(world):
        reference = alone.weights(FITS[fit])
        assert saw.weights(fit).keys() == reference.keys()
        for name, weight in saw.weights(fit).items():
            if not name.endswith("key.bias"):
                torch.testing.assert_close(weight, reference[name], rtol=0, atol=2e-6, msg=name)


@pytest.mark.parametrize(("world", "fit"), EVERY_FIT)
def test_losses_and_metrics_of_all_epochs_are_those_of_one_process(alone, together, world, fit):
    reference = alone.facts[f"{FITS[fit]}.history"]
    for saw in together(world):
        assert saw.facts[f"{fit}.history"] == together(world)[0].facts[f"{fit}.history"]
        assert len(saw.facts[f"{fit}.history"]) == len(reference)
        for entry, wanted in zip(saw.facts[f"{fit}.history"], reference, strict=True):
            assert entry == pytest.approx(wanted, abs=1e-5)


def test_an_early_stop_is_one_of_all_processes(alone, together):
    steps = {saw.steps("early") for saw in together(2)}
    assert steps == {alone.steps("early")}
    assert steps.pop() < 8 * 5  # it stopped, and not at the end


@BOTH
@pytest.mark.parametrize("what", ["texts", "words", "frozen"])
def test_every_row_is_scored_once_and_the_metrics_are_those_of_one_process(alone, together, world, what):
    for saw in together(world):
        assert saw.facts[f"{what}.rows"] == checks.ROWS
        assert saw.facts[f"{what}.metrics"] == pytest.approx(alone.facts[f"{what}.metrics"], abs=1e-6)


@BOTH
@pytest.mark.parametrize("what", ["texts", "words", "frozen", "frozen fit"])
def test_the_work_is_split_and_nothing_is_done_twice(alone, together, world, what):
    shares = [saw.facts[f"{what}.windows"] for saw in together(world)]
    assert sum(shares) == alone.facts[f"{what}.windows"] >= checks.ROWS
    assert all(0 < share < sum(shares) for share in shares)


@BOTH
def test_frozen_vectors_and_predictions_come_back_in_order(alone, together, world):
    for saw in together(world):
        torch.testing.assert_close(saw.tensors["frozen.coefficients"], alone.tensors["frozen.coefficients"])
        assert saw.facts["frozen.predicted"] == alone.facts["frozen.predicted"]


def test_a_spread_model_is_saved_whole_and_opens_as_any_other(together):
    for saw in together(2):
        assert saw.facts["spread.choices"]["sharding"] == "FSDP2 over 2 processes"
        assert saw.facts["spread.loaded"] == saw.facts["spread.predicted"]


@pytest.mark.parametrize("held", ["whole", "parts"])
def test_a_run_goes_on_as_if_it_had_never_stopped(together, held):
    for saw in together(2):
        assert saw.facts[f"resumed {held}.from"] == ["step-6"]
        assert saw.facts[f"resumed {held}.steps"] == 2
        assert saw.facts[f"resumed {held}.gap"] == 0.0


def test_only_the_main_process_writes(together):
    first, second = together(2)
    made = " ".join(first.facts["written"])
    assert all(part in made for part in ("run/logs", "run/checkpoints", "nlptl.json"))
    assert second.facts["written"] == []


def test_gradient_checkpointing_is_told(together):
    """Its gradients are compared above: the run of LoRA on a spread model has it."""
    assert together(2)[0].facts["spread lora.choices"]["gradient_checkpointing"] == "on"
    assert "gradient_checkpointing" not in together(2)[0].facts["spread.choices"]
