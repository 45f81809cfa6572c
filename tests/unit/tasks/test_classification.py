"""Labels, their faults, and thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from nlptl import Classification, DataError, OptionError
from nlptl.data.examples import Examples, Origin
from nlptl.tasks.classification import _best_threshold


def examples(targets, form="scalar", names=None):
    inputs = ["a text"] * len(targets)
    origin = Origin("reviews.csv", [n + 2 for n in range(len(targets))], "{name}, row {row}")
    return Examples(inputs, targets, None, origin, target_form=form, target_names=names)


def test_labels_are_sorted_and_numbered():
    space, _ = Classification().learn(examples(["b", "a", "b"]), None)
    assert space.values == ("a", "b") and space.problem == "single"
    gold, _ = Classification().gold(examples(["b", "a"]), space)
    assert [int(g[0]) for g in gold] == [1, 0]


def test_true_and_one_are_two_labels():
    space, _ = Classification().learn(examples([1, 0, 1]), None)
    with pytest.raises(DataError, match="received the label True"):
        Classification().gold(examples([True]), space)


def test_faults_of_labels_are_told_in_three_parts_with_their_rows():
    with pytest.raises(
        DataError, match=r"rows of one class only \('a'\); expected at least two .*; add rows of another"
    ):
        Classification().learn(examples(["a", "a"]), None)
    with pytest.raises(DataError, match=r"received 2 rows for 3 labels; expected at least one row a label; add rows"):
        Classification().learn(examples(["a", "b"]), ["a", "b", "c"])
    with pytest.raises(
        DataError, match=r"received the label 'spma', which labels=… does not name; .*Did you mean 'spam'"
    ):
        Classification().learn(examples(["spma", "ham"]), ["spam", "ham"])
    space, _ = Classification().learn(examples(["spam", "ham"]), None)
    with pytest.raises(DataError, match=r"(?s)2 faults.*reviews.csv, row 3: received the label 'spma'.*'spam'.*row 4"):
        Classification().gold(examples(["ham", "spma", "egg"]), space)


def test_columns_of_0_and_1_keep_their_names():
    rows = [[1, 0], [0, 1]]
    space, _ = Classification().learn(examples(rows, "indicator", ("a", "b")), None)
    assert space.values == ("a", "b") and space.form == "indicator"
    assert Classification().learn(examples(rows, "indicator"), ["x", "y"])[0].values == ("x", "y")
    with pytest.raises(DataError, match="received 3 labels for 2 columns"):
        Classification().learn(examples(rows, "indicator"), ["x", "y", "z"])
    with pytest.raises(DataError, match=r"row 2: received 3 columns of 0/1; expected 2"):
        Classification().gold(examples([[1, 0, 1]], "indicator"), space)
    with pytest.raises(DataError, match="received no label in any row"):
        Classification().learn(examples([[], []], "lists"), None)
    with pytest.raises(OptionError, match="expected True, False or 'auto'"):
        Classification(multi_label="yes")


def test_the_best_threshold_is_the_best_of_all():
    draw = np.random.default_rng(0)
    for _ in range(50):
        chances, there = draw.random(12).round(1), draw.integers(0, 2, 12)
        if not there.any():
            continue

        def f1(edge, chances=chances, there=there):
            said = chances >= edge
            return 2 * (said & (there > 0)).sum() / max(1, said.sum() + there.sum())

        found = _best_threshold(chances, there)
        assert f1(found) == pytest.approx(max(f1(edge) for edge in [*chances, 1.1]))
    assert _best_threshold(np.array([0.2, 0.9]), np.array([0, 0])) == 0.5
