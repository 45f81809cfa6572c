"""Held-out rows: stratified, seeded, and never a label's last."""

from __future__ import annotations

from collections import Counter

import pytest

from nlptl.data.sources import Examples, Schema, read, shared_rows, split
from nlptl.errors import DataError, OptionError

SEQUENCE = Schema("sequence")


def _examples(labels: list[str]) -> Examples:
    return read(
        [f"text {i}" for i in range(len(labels))], labels, schema=SEQUENCE, sample_weight=range(1, len(labels) + 1)
    )


def test_a_stratified_split_keeps_the_shares_and_the_rows_whole() -> None:
    examples = _examples(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
    train, held = split(examples, 0.1, seed=3, stratify=examples.targets)
    assert Counter(held.targets or []) == {"a": 6, "b": 3, "c": 1}
    assert len(train) == 90
    assert sorted([*train.inputs, *held.inputs]) == sorted(examples.inputs)  # type: ignore[type-var]
    for i in range(len(held)):
        number = int(str(held.inputs[i]).split()[1])
        assert held.origin.where(i) == f"X[{number}]"
        assert held.weights is not None and held.weights[i] == number + 1
    assert any("10 of 100 rows held out for eval, seed 3, stratified" in note for note in train.notes)


def test_a_rare_label_stays_in_train_and_is_told() -> None:
    examples = _examples(["a"] * 20 + ["once"])
    for seed in range(20):
        train, held = split(examples, 0.5, seed=seed, stratify=examples.targets)
        assert "once" in (train.targets or []) and "once" not in (held.targets or [])
        assert len(held) == 10
    assert "1 of 2 labels have too few rows" in train.notes[-1]


def test_the_last_row_of_a_label_stays_even_where_its_share_says_otherwise() -> None:
    examples = _examples(["a"] * 10 + ["once"])
    train, held = split(examples, 0.9, seed=0, stratify=examples.targets)
    assert sorted(train.targets or []) == ["a", "once"] and len(held) == 9


def test_the_seed_decides() -> None:
    examples = _examples(["a", "b"] * 50)
    first, again, other = (split(examples, 0.2, seed=s, stratify=None)[1].inputs for s in (0, 0, 1))
    assert first == again != other


def test_even_labels_of_one_row_each_leave_something_on_both_sides() -> None:
    examples = _examples(["a", "b"])
    train, held = split(examples, 0.01, seed=0, stratify=examples.targets)
    assert (len(train), len(held)) == (1, 1)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, True])
def test_a_fraction_that_cannot_be(fraction: float) -> None:
    with pytest.raises(OptionError, match=r"received eval=.*; expected a fraction between 0 and 1; 0\.1 is usual"):
        split(_examples(["a", "b"]), fraction, seed=0, stratify=None)


def test_one_row_cannot_be_split() -> None:
    with pytest.raises(DataError, match="received 1 rows to split; expected 2 or more; give more rows"):
        split(_examples(["a"]), 0.5, seed=0, stratify=None)


@pytest.mark.parametrize(
    ("train", "held", "level"),
    [
        (["a", "b"], ["b", "b", "c"], "sequence"),
        ([("a", "x"), ("b", "y")], [("b", "y"), ("b", "y"), ("b", "x")], "sequence"),
        ([["a", "b"], ["b"]], [["b"], ["b"], ["a"]], "token"),
    ],
)
def test_shared_rows_are_counted(train: list[object], held: list[object], level: str) -> None:
    schema = Schema(level)  # type: ignore[arg-type]
    parts = [read(rows, schema=schema, targets="none") for rows in (train, held)]
    assert shared_rows(*parts) == 2
