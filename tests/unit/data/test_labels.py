"""Labels: found as they were given, kept through JSON, told when unknown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nlptl.data.labels import Label, LabelSpace, in_order, plain

SPACES = [
    LabelSpace("single", ("bad", "good"), ("bad", "good")),
    LabelSpace("single", ("False", "True"), (False, True)),
    LabelSpace("single", ("0", "1"), (0, 1)),
    LabelSpace("single", ("negative", "positive"), ("negative", "positive"), spellings=((1, 0), (2, 0), (5, 1))),
    LabelSpace("multi", ("a", "b"), ("a", "b"), "lists", thresholds=(0.25, 0.5)),
    LabelSpace("regression", ("stars",), mean=3.2, spread=1.1, low=1.0, high=5.0),
    LabelSpace("spans", ("O", "B-x", "I-x"), ("O", "B-x", "I-x"), "tags", scheme="BILOU"),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: f"{s.problem}-{s.names[0]}")
def test_a_file_gives_the_space_back(space: LabelSpace) -> None:
    kept = LabelSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert kept == space
    assert [type(v) for v in kept.values] == [type(v) for v in space.values]
    assert [kept.find(v) for v in space.values] == list(range(len(space.values)))
    assert [kept.find(said) for said, _ in space.spellings] == [i for _, i in space.spellings]


@pytest.mark.parametrize(
    ("values", "label", "number"),
    [
        ((0, 1), 1, 1),
        ((0, 1), 1.0, 1),
        ((0, 1), np.int8(1), 1),
        ((0, 1), np.float32(1), 1),
        ((0, 1), np.array(1), 1),
        ((0, 1), True, None),
        ((0, 1), np.True_, None),
        ((0, 1), "1", None),
        ((False, True), True, 1),
        ((False, True), np.True_, 1),
        ((False, True), 1, None),
        (("0", "1"), np.str_("1"), 1),
        (("0", "1"), 1, None),
        (("0", "1"), None, None),
    ],
)
def test_a_label_is_found_by_value_and_kind(values: tuple[Label, ...], label: Any, number: int | None) -> None:
    assert LabelSpace("single", tuple(map(str, values)), values).find(label) == number


@pytest.mark.parametrize("label", [np.int64(3), np.float32(0.5), np.True_, np.str_("x"), np.array(3)])
def test_numpy_scalars_become_plain(label: Any) -> None:
    assert type(plain(label)) in (int, float, bool, str) and plain(label) == label


def test_what_is_no_numpy_scalar_stays() -> None:
    row = np.array([1])
    assert plain(row) is row and plain("x") == "x"


def test_labels_are_sorted_unless_ordered() -> None:
    assert in_order([10, 9, 10], None) == (9, 10)
    assert in_order(["b", "a"], None) == ("a", "b")
    assert in_order(["b", "a"], ["b", "never seen", "a"]) == ("b", "never seen", "a")
    assert in_order([1, 0], np.array([1, 0])) == (1, 0)


def test_found_labels_that_are_not_named_are_told(told: Callable[..., Any]) -> None:
    with told("the label 'lwo'", "only labels among 'low', 'high'", "Did you mean 'low'?", "", faults=2):
        in_order(["low", "lwo", "other"], ["low", "high"])
    with told("the label True", "only labels among 0, 1", "add it to labels=", "", faults=1):
        in_order([True], [0, 1])


def test_a_label_named_twice_is_told(told: Callable[..., Any]) -> None:
    with told("labels=… with 'a' twice", "each label once", "leave out", "", faults=1):
        in_order(["a", "b"], ["a", "b", "a"])


def test_reported_are_the_labels_or_the_entity_types() -> None:
    assert SPACES[0].reported == ("bad", "good")
    assert SPACES[-1].reported == ("x",)
