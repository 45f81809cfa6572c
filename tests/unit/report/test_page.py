"""What a report and a record look like when printed."""

from __future__ import annotations

import numpy as np
import pytest

from nlptl.report import Bootstrap, make_report
from nlptl.report.page import WIDTH, _columns, record_page


def lines_of(report):
    return str(report).splitlines()


def test_the_page_of_a_small_evaluation():
    report = make_report(
        "single",
        ["bad", "good", "good", "good"],
        ["bad", "bad", "good", "good"],
        ["bad", "good", "so-so"],
        task="sentiment",
        source="dev.csv",
        counts={"windowed": 2, "truncated": 0},
        choices={"precision": "float32"},
        seconds=0.4,
        trainable_parameters=250,
        total_parameters=1000,
        bootstrap=Bootstrap(resamples=500, seed=4),
    )
    text = str(report)
    assert lines_of(report)[0] == "sentiment · 4 rows · dev.csv"
    assert "95 % intervals: percentile bootstrap, 500 resamples of the rows, seed 4" in text
    assert "fewer than 30 rows" in text
    assert "accuracy         0.7500  0.2500 … 1.0000" in lines_of(report)
    assert lines_of(report)[lines_of(report).index("label  precision  recall      f1  support  predicted") + 1] == (
        "bad       0.5000  1.0000  0.6667        1          2"
    )
    assert "neither in the gold nor predicted: 'so-so'" in text
    assert "  windowed   2\n  truncated  0" in text
    assert "predicted in 0.4 s, 10 rows/s" in text
    assert "250 of 1,000 (25.00%) parameters were trained" in text


def test_spans_speak_of_sentences_and_entities():
    text = str(make_report("spans", [["B-a"]] * 40, [["B-a"]] * 40, ["a"], seconds=2.0))
    assert "40 sentences" in text and "resamples of the sentences" in text and "20 sentences/s" in text
    assert "\nentity " in text and "fewer than" not in text


def test_many_labels_show_the_weakest_and_say_so():
    gold = np.repeat(np.arange(77), 10)
    predicted = gold.copy()
    predicted[gold == 40] = 41
    lines = lines_of(make_report("single", gold, predicted, range(77)))
    start = lines.index("the 12 weakest of 77 labels (all of them in report.labels)")
    assert lines[start + 2].split()[0] == "40"
    assert lines[start + 3].split()[0] == "41"
    assert len(lines) < 40


def test_scores_that_fall_as_they_get_better_are_marked():
    text = str(make_report("regression", np.arange(40.0), np.arange(40.0) + 1))
    assert "mae ↓" in text and "rmse ↓" in text and "r2 ↓" not in text and "↓ lower is better" in text
    assert "lower is better" not in str(make_report("single", ["a"], ["a"]))


def test_an_undefined_score_says_so():
    assert "pearson     undefined" in lines_of(make_report("regression", [1.0, 1.0], [1.0, 2.0]))


@pytest.mark.parametrize("label", ["x" * 90, "映画" * 40, "é" * 60], ids=["long", "wide", "combining"])
def test_no_line_is_wider_than_the_page_and_columns_stay_aligned(label):
    report = make_report(
        "single",
        [label, "b"] * 20,
        [label, label] * 20,
        [label, "b", *(f"unmet {i}" for i in range(60))],
        source="/a/folder" * 20,
        counts={"something with a name": 3},
        choices={"kernels": "sdpa " * 40, "commit": "f" * 150},
    )
    lines = lines_of(report)
    assert max(map(_columns, lines)) <= WIDTH
    start = next(i for i, line in enumerate(lines) if line.startswith("label "))
    assert len({_columns(line) for line in lines[start : start + 3]}) == 1


@pytest.mark.parametrize(("text", "columns"), [("film", 4), ("映画", 4), ("e\u0301", 1), ("é", 1)])
def test_widths_are_those_of_a_terminal(text, columns):
    assert _columns(text) == columns


def test_a_record_nests_wraps_and_keeps_small_numbers():
    page = record_page(
        {
            "data": {"train": {"rows": 1200, "labels": ["a", "b"]}, "source": "a.csv"},
            "choices": {"learning_rate": 2e-5, "windows": None},
            "counts": {},
            "training": {"loss": 0.3217},
            "notes": ["word " * 40],
        }
    )
    assert "data\n  train\n    rows    1,200\n    labels  a, b\n  source  a.csv" in page
    assert "learning_rate  2.00e-05" in page and "loss  0.3217" in page
    assert "counts" not in page
    assert all(line.startswith(("  - word", "    word")) for line in page.split("notes\n")[1].splitlines())
    assert max(map(len, page.splitlines())) <= WIDTH
