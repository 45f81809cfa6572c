"""Spellings of polarity, orders of one's own, and numbers."""

from __future__ import annotations

import pytest

from nlptl import DataError, OptionError, Sentiment
from nlptl.data.examples import Examples, Origin


def examples(targets, form="scalar"):
    inputs = ["a text"] * len(targets)
    return Examples(inputs, targets, None, Origin("X", list(range(len(targets)))), target_form=form)


@pytest.mark.parametrize(
    ("values", "names", "kept"),
    [
        (["neg", "pos"], ("negative", "positive"), ("neg", "pos")),
        (["Positive", "NEGATIVE", "neutral"], ("negative", "neutral", "positive"), ("NEGATIVE", "neutral", "Positive")),
        ([0, 1], ("negative", "positive"), (0, 1)),
        (["1", "0"], ("negative", "positive"), ("0", "1")),
        ([-1, 1], ("negative", "positive"), (-1, 1)),
        ([1, 0, -1], ("negative", "neutral", "positive"), (-1, 0, 1)),
        ([0, 1, 2], ("negative", "neutral", "positive"), (0, 1, 2)),
        ([1, 2, 3, 4, 5], ("negative", "neutral", "positive"), ("negative", "neutral", "positive")),
        (["1", "5", "4"], ("negative", "positive"), ("negative", "positive")),
        ([True, False], ("negative", "positive"), (False, True)),
    ],
)
def test_the_usual_spellings_are_put_in_order_and_told(values, names, kept):
    space, notes = Sentiment().learn(examples(values * 3), None)
    assert space.problem == "single" and space.names == names and space.values == kept
    assert bool(notes) == any(str(v) not in names for v in values)
    gold, _ = Sentiment().gold(examples(values), space)
    assert {int(g[0]) for g in gold} == set(range(len(names)))


def test_five_stars_map_two_three_to_one():
    space, notes = Sentiment().learn(examples([1, 2, 3, 4, 5]), None)
    assert [int(g[0]) for g in Sentiment().gold(examples([1, 2, 3, 4, 5]), space)[0]] == [0, 0, 1, 2, 2]
    assert notes == ["polarity: 1 is negative, 2 is negative, 3 is neutral, 4 is positive, 5 is positive"]


@pytest.mark.parametrize("values", [["spam", "ham"], [3, 7], [1, 2], ["neg", 1]])
def test_what_is_no_polarity_is_refused(values):
    with pytest.raises(
        DataError, match=r"received labels that are no polarity known by name: .*; expected negative/pos"
    ):
        Sentiment().learn(examples(values * 2), None)


def test_an_order_of_ones_own():
    space, notes = Sentiment().learn(examples(["sad", "glad", "so so"]), ["sad", "so so", "glad"])
    assert space.names == ("negative", "neutral", "positive") and space.values == ("sad", "so so", "glad")
    assert "'sad' is negative" in notes[0]
    with pytest.raises(OptionError, match=r"received 4 labels; expected 2 or 3, from the most negative"):
        Sentiment().learn(examples(["a", "b"]), ["a", "b", "c", "d"])


def test_fractions_are_numbers():
    space, notes = Sentiment().learn(examples([1.0, 4.5, 3.0]), None)
    assert space.problem == "regression" and notes == ["targets read as numbers: regression"]
    assert (space.low, space.high) == (1.0, 4.5)
    gold, _ = Sentiment().gold(examples([1.0, 4.5, 3.0]), space)
    assert sum(float(g[0]) for g in gold) == pytest.approx(0, abs=1e-6)
    assert Sentiment().for_metrics(gold, space) == pytest.approx([1.0, 4.5, 3.0], abs=1e-6)


def test_numbers_are_checked_all_at_once():
    with pytest.raises(DataError, match=r"(?s)2 faults.*X\[1\]: received the target 'x'; expected a number.*X\[2\]"):
        Sentiment(scale="stars").learn(examples([1, "x", None]), None)
    with pytest.raises(DataError, match=r"received the same number \(2\) in every row; expected numbers that differ"):
        Sentiment(scale="stars").learn(examples([2, 2]), None)
    with pytest.raises(OptionError, match="received labels for numbers"):
        Sentiment(scale="stars").learn(examples([1, 2]), ["a", "b"])


def test_one_polarity_only_and_other_forms_are_refused():
    with pytest.raises(DataError, match="received rows that are all negative; expected at least two polarities"):
        Sentiment().learn(examples(["neg", "bad"]), None)
    with pytest.raises(DataError, match="received several labels a row; expected one polarity or one number"):
        Sentiment().learn(examples([["neg"], ["pos"]], "lists"), None)
    with pytest.raises(OptionError, match="received 'star'; expected 'auto', 'polarity' or 'stars'"):
        Sentiment(scale="star")
