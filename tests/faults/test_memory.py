"""Out of memory, injected as what CUDA raises: the batch stays, its parts shrink, and all processes agree on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nlptl import Compute, FullTuning, Learner, LoRA
from nlptl.engine.memory import is_out_of_memory, padded_tokens, smaller_budget, unless_out_of_memory
from nlptl.engine.train import Training
from nlptl.errors import NlptlWarning, TrainingError
from tests.faults.processes import finished, result, started
from tests.faults.runner import Run, limit_memory
from tests.kit.cells import PLAIN, gap, model, scores, weights
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import tiny

#: One step of plain descent: what differs between two such runs is the gradient. No row may be drawn upon (dropout).
ONE_STEP: dict[str, Any] = {
    "steps": 1, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "dropout": 0.0, "clip": None,
}  # fmt: skip


@pytest.fixture
def little_memory(monkeypatch):
    """A forward pass may have so many padded tokens in training; returns the sizes of those that passed."""

    def limit(tokens: int) -> list[int]:
        passed: list[int] = []
        epochs = Training._epochs

        def limited(self: Training) -> None:
            hook = limit_memory(self.plain, (0, tokens))
            count = self.plain.register_forward_hook(
                lambda m, args, kwargs, out: passed.append(kwargs["input_ids"].numel()), with_kwargs=True
            )
            try:
                epochs(self)
            finally:
                hook.remove()
                count.remove()

        monkeypatch.setattr(Training, "_epochs", limited)
        return passed

    return limit


@pytest.mark.parametrize("mode", [FullTuning, LoRA])
@pytest.mark.parametrize("task", ["classification", "ner"])
def test_the_step_is_taken_again_in_smaller_parts_with_the_same_gradient(mode, task, little_memory):
    inputs, targets = rows(task)
    plain = Learner(tiny("bert"), task=task, mode=mode(**ONE_STEP), compute=PLAIN).fit(inputs, targets)
    passed = little_memory(50)
    with pytest.warns(
        NlptlWarning, match=r"step 1, out of memory: from here on at most \d+ padded tokens a part"
    ) as told:
        learner = Learner(tiny("bert"), task=task, mode=mode(**ONE_STEP), compute=PLAIN).fit(inputs, targets)
    assert "batch_tokens was 2048" in str(told[0].message) and "keeps its 8 rows" in str(told[0].message)
    assert len(passed) > 1 and max(passed) <= 50
    one, other = weights(model(plain)), weights(model(learner))
    for name in one:
        torch.testing.assert_close(other[name], one[name], atol=1e-6, rtol=1e-5)
    assert learner.history_[0]["loss"] == pytest.approx(plain.history_[0]["loss"], abs=1e-6)
    chosen = learner.record_["choices"]["batch_tokens"]
    assert chosen.endswith("(2048 ran out of memory)") and int(chosen.split()[0]) <= 50


def test_what_shrank_stays_so(little_memory):
    little_memory(50)
    with pytest.warns(NlptlWarning) as told:
        Learner(tiny("bert"), mode=FullTuning(steps=6, batch_size=8), compute=PLAIN).fit(TEXTS, POLARITIES)
    assert all(str(w.message).startswith("step 1, out of memory") for w in told)


def test_a_row_for_which_there_is_no_memory_ends_the_run(little_memory):
    little_memory(5)
    with pytest.warns(NlptlWarning), pytest.raises(TrainingError) as error:
        Learner(tiny("bert"), mode=FullTuning(**ONE_STEP), compute=PLAIN).fit(TEXTS, POLARITIES)
    said = str(error.value)
    assert said.startswith("step 1, out of memory: received a row of ") and "even alone; expected room for one" in said
    assert "max_length" in said and "bf16" in said


def test_a_run_that_goes_on_keeps_the_smaller_parts(little_memory, tmp_path, monkeypatch):
    options = {"epochs": 4, "batch_size": 8, "dropout": 0.2, "checkpoint_steps": 1}
    passed = little_memory(50)

    def fit(place: str, **more: Any) -> Learner:
        learner = Learner(tiny("bert"), mode=FullTuning(**options), compute=PLAIN)
        return learner.fit(TEXTS, POLARITIES, run_dir=tmp_path / place, **more)

    with pytest.warns(NlptlWarning, match="out of memory"):
        whole = fit("whole")
    take = Training._step

    def failing(self: Training, some: list[int]) -> float:
        if self.at.step == 2:
            raise RuntimeError("stopped")
        return take(self, some)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", failing)
        with pytest.warns(NlptlWarning, match="out of memory"), pytest.raises(RuntimeError, match="stopped"):
            fit("run")
    passed.clear()
    resumed = fit("run", resume=True)  # no warning: it knows
    assert max(passed) <= 50
    one, other = weights(model(whole)), weights(model(resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed.record_["choices"]["batch_tokens"] == whole.record_["choices"]["batch_tokens"]


def test_other_errors_are_not_taken_for_it(monkeypatch):
    def broken(self: Any, part: list[int]) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("nlptl.engine.steps.Steps._loss", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Learner(tiny("bert"), mode=FullTuning(**ONE_STEP), compute=PLAIN).fit(TEXTS, POLARITIES)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))


def test_one_of_two_processes_without_memory_is_heard_by_both(tmp_path):
    """Rank 1 alone runs out; the parts shrink on both, and the step is that of a run with memory enough."""
    options = tuple((name, value) for name, value in ONE_STEP.items() if name not in ("batch_size", "dropout", "steps"))
    run = Run(
        str(tmp_path / "enough"), str(tiny("bert")), epochs=1, every=None, batch_size=8, dropout=0.0, nap=0.0,
        options=options,
    )  # fmt: skip
    enough = finished(run, world=2)
    little = replace(run, folder=str(tmp_path / "little"), out_of_memory=(1, 45))
    with started(little, world=2) as running:
        assert running.ended(60) == [0, 0], running.said
    told = result(little, 2)
    assert running.said.count("step 1, out of memory: from here on at most") >= 1
    assert told["batch_tokens"].endswith("(2048 ran out of memory)")
    for name, weight in enough["weights"].items():
        torch.testing.assert_close(told["weights"][name], weight, atol=1e-6, rtol=1e-5)
    assert told["losses"] == pytest.approx(enough["losses"], abs=1e-6)


def test_prediction_and_embedding_shrink_as_well():
    learner = Learner(tiny("bert"), mode=FullTuning(**ONE_STEP), compute=PLAIN).fit(TEXTS, POLARITIES)
    plain = scores(learner, TEXTS)
    hook = limit_memory(model(learner), (0, 40))
    try:
        assert gap(scores(learner, TEXTS), plain) < 1e-5
    finally:
        hook.remove()
    hook = limit_memory(model(learner), (0, 3))
    try:
        with pytest.raises(TrainingError, match=r"out of memory: received a row of \d+ padded tokens .* even alone"):
            learner.predict(TEXTS)
    finally:
        hook.remove()


def test_parts_come_in_their_order_and_every_row_once():
    from nlptl.engine.items import Item

    items = [Item((np.arange(n),)) for n in (9, 8, 7, 6, 5, 4, 3, 2)]
    parts = [[0, 1, 2, 3], [4, 5], [6, 7]]
    tried: list[list[int]] = []

    def work(some: list[int]) -> int:
        tried.append(some)
        if padded_tokens(some, items) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return padded_tokens(some, items)

    done = list(unless_out_of_memory(parts, items, work, torch.device("cpu")))
    assert sorted(row for some, _ in done for row in some) == list(range(8))
    assert [row for some, _ in done for row in some if row < 4] == [3, 2, 1, 0]
    assert all(weight == padded_tokens(some, items) <= 12 for some, weight in done)
    assert len(tried) == len(done) + 2
    assert smaller_budget([[0, 1], [7]], items, "here") == 9
    with pytest.raises(TrainingError, match="here: received a row of 9 padded tokens"):
        smaller_budget([[0], [7]], items, "here")


def test_auto_leaves_the_machine_its_own_number():
    assert Compute().batch_tokens == "auto"
