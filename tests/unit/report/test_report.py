"""What a report holds, and its way to JSON and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nlptl.metrics import per_label, scores
from nlptl.report import Bootstrap, Report, make_report

ROWS = {
    "single": (["a", "b", "b", "c"], ["a", "a", "b", "c"], ["a", "b", "c"]),
    "multi": ([[0, 1], [1, 1]], [[0, 1], [1, 0]], ["a", "b"]),
    "regression": ([1.0, 2.0, 4.0], [1.0, 2.5, 3.0], None),
    "spans": ([["B-a", "I-a", "O"], ["B-b"]], [["B-a", "I-a", "O"], ["O"]], ["a", "b"]),
}


@pytest.mark.parametrize("problem", ROWS)
def test_a_report_holds_the_scores_and_the_table(problem):
    gold, predicted, labels = ROWS[problem]
    report = make_report(problem, gold, predicted, labels)
    expected = scores(problem, gold, predicted, labels=labels)
    assert {name: report[name] for name in report.metrics} == expected
    assert list(report.metrics) == list(expected)
    assert report.primary == next(iter(expected))
    assert list(report.labels) == per_label(problem, gold, predicted, labels)
    assert report.rows == len(gold)


@pytest.mark.parametrize("rows", [1, 2, 37, 1000])
def test_rows_are_counted_exactly(rows):
    gold = np.arange(rows) % 3
    assert make_report("single", gold, gold, [0, 1, 2]).rows == rows
    assert make_report("multi", np.eye(3, dtype=int)[gold], np.eye(3, dtype=int)[gold], "abc").rows == rows
    assert make_report("regression", gold, gold + 0.5).rows == rows
    assert make_report("spans", [["O"]] * rows, [["B-a"]] * rows, ["a"]).rows == rows


@pytest.mark.parametrize("problem", ROWS)
def test_json_and_back_is_the_same_report(problem):
    gold, predicted, labels = ROWS[problem]
    report = make_report(
        problem,
        gold,
        predicted,
        labels,
        task="a task",
        source="dev.csv",
        counts={"windowed": np.int64(3)},
        choices={"precision": "float32"},
        seconds=0.5,
        trainable_parameters=10,
        total_parameters=1000,
        bootstrap=Bootstrap(resamples=50, seed=9, level=0.9),
    )
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert Report.from_dict(json.loads(text)) == report
    assert str(Report.from_dict(json.loads(text))) == str(report)
    assert json.loads(text)["rows_per_second"] == report.rows / 0.5


def test_an_undefined_score_is_null_in_json_and_nan_again_after_it():
    report = make_report("regression", [1.0, 1.0], [1.0, 2.0])
    saved = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert saved["metrics"]["pearson"]["value"] is None
    assert math.isnan(Report.from_dict(saved)["pearson"])


def test_a_score_that_is_not_there_is_named_with_the_nearest():
    report = make_report("single", ["a"], ["a"], ["a"])
    with pytest.raises(KeyError, match=r"'acuracy'.*Did you mean 'accuracy'\?"):
        report["acuracy"]


def test_without_a_time_there_is_no_speed():
    assert make_report("single", ["a"], ["a"]).rows_per_second is None
