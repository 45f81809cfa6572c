"""The scores as `evaluate` modules: no network, no lock, no file."""

from __future__ import annotations

import time

import numpy as np
import pytest

from nlptl.metrics import scores
from nlptl.metrics.evaluators import SingleLabel, Spans, evaluator

ROWS = {
    "single": (["a", "b", "b"], ["a", "a", "b"]),
    "multi": ([[0, 1], [1, 1]], [[0, 1], [1, 0]]),
    "regression": ([1.0, 2.0, 4.0], [1.0, 2.5, 3.0]),
    "spans": ([["B-a", "I-a", "O"], ["B-b"]], [["B-a", "I-a", "O"], ["O"]]),
}


@pytest.mark.parametrize("problem", ROWS)
def test_a_module_gives_the_scores(problem):
    gold, predicted = ROWS[problem]
    assert evaluator(problem).compute(references=gold, predictions=predicted) == scores(problem, gold, predicted)


@pytest.mark.parametrize("problem", ROWS)
def test_rows_may_come_one_by_one_and_in_batches(problem):
    gold, predicted = ROWS[problem]
    module = evaluator(problem)
    module.add(reference=gold[0], prediction=predicted[0])
    module.add_batch(references=gold[1:], predictions=predicted[1:])
    assert module.compute() == scores(problem, gold, predicted)


def test_labels_are_texts_or_integers_and_never_confused():
    assert SingleLabel(["01", "1"]).compute(references=["01"], predictions=["1"])["accuracy"] == 0
    assert SingleLabel([0, 1]).compute(references=[0, 1], predictions=np.array([0, 0]))["accuracy"] == 0.5


def test_probabilities_reach_the_scores():
    module, chance = SingleLabel(["a", "b"]), [[0.9, 0.1]]
    found = module.compute(references=["a"], predictions=["a"], probabilities=chance)
    assert found["log_loss"] == pytest.approx(-np.log(0.9))
    with pytest.raises(TypeError, match="no option averge"):
        module.compute(references=["a"], predictions=["a"], averge="macro")


def test_live_modules_wait_for_no_lock():
    modules = [evaluator("single") for _ in range(3)]
    started = time.perf_counter()
    for module in modules:  # all are open before the first is read
        module.add_batch(references=["a"], predictions=["a"])
    assert [module.compute()["accuracy"] for module in modules] == [1, 1, 1]
    assert time.perf_counter() - started < 0.9  # evaluate's own wait for a lock is a second


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    module = Spans(cache_dir=str(tmp_path / "file" / "cache"))
    assert module.compute(references=[["B-a"]], predictions=[["B-a"]])["span_f1"] == 1
