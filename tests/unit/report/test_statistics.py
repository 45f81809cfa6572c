"""Bootstrap intervals: right, repeatable, and fast."""

from __future__ import annotations

import time

import numpy as np
import pytest

from nlptl.errors import OptionError
from nlptl.metrics import scores, tallies
from nlptl.report import Bootstrap, Interval, bootstrap, intervals
from nlptl.report import statistics as statistics_module


def rows_of(problem, rows=200, seed=5):
    rng = np.random.default_rng(seed)
    if problem == "single":
        gold = rng.integers(4, size=rows)
        return gold, np.where(rng.random(rows) < 0.7, gold, rng.integers(4, size=rows))
    if problem == "multi":
        gold = (rng.random((rows, 3)) < 0.4).astype(int)
        return gold, np.where(rng.random((rows, 3)) < 0.8, gold, 1 - gold)
    if problem == "regression":
        gold = rng.normal(size=rows)
        return gold, gold + rng.normal(size=rows)
    tags = np.array(["O", "B-a", "I-a", "B-b"])
    gold = tags[rng.integers(4, size=(rows, 5))]
    return gold, np.where(rng.random((rows, 5)) < 0.8, gold, "O")


@pytest.mark.parametrize("problem", ["single", "multi", "regression", "spans"])
def test_intervals_agree_with_scoring_every_resample_from_the_rows(problem):
    """The weights are a short cut; drawing rows and scoring them anew is what they stand for."""
    gold, predicted = rows_of(problem, rows=60)
    quick = intervals(tallies(problem, gold, predicted), Bootstrap(resamples=4000))
    for name in list(quick)[:2]:

        def statistic(g, p, name=name):
            return scores(problem, g, p)[name]

        slow = bootstrap(statistic, gold, predicted, how=Bootstrap(resamples=400, seed=1))
        width = slow.high - slow.low
        assert quick[name].value == slow.value
        assert quick[name].low == pytest.approx(slow.low, abs=0.15 * width)
        assert quick[name].high == pytest.approx(slow.high, abs=0.15 * width)


def test_the_interval_of_an_accuracy_is_the_binomials():
    gold = np.zeros(1000, int)
    found = intervals(tallies("single", gold, (np.arange(1000) < 200).astype(int)))["accuracy"]
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found.value == 0.8
    assert (found.low, found.high) == pytest.approx((0.8 - spread, 0.8 + spread), abs=0.003)


@pytest.mark.parametrize("cost", [0, 10**9], ids=["counts drawn", "rows drawn"])
def test_either_way_of_drawing_keeps_the_number_of_rows_and_the_share_of_each(monkeypatch, cost):
    monkeypatch.setattr(statistics_module, "BINOMIAL_COST", cost)
    monkeypatch.setattr(statistics_module, "CHUNK", 1000)  # several chunks, the last one short
    occurrences = np.array([60, 30, 10])
    weights = np.concatenate(list(statistics_module._resamples(occurrences, Bootstrap(resamples=2005))))
    assert weights.shape == (2005, 3)
    assert (weights.sum(axis=1) == 100).all()
    assert weights.mean(axis=0) == pytest.approx(occurrences, rel=0.05)
    assert weights.var(axis=0) == pytest.approx(occurrences * (1 - occurrences / 100), rel=0.15)


def test_the_seed_decides():
    parts = tallies("single", *rows_of("single"))
    assert intervals(parts, Bootstrap(seed=3)) == intervals(parts, Bootstrap(seed=3))
    assert intervals(parts, Bootstrap(seed=3)) != intervals(parts, Bootstrap(seed=4))


def test_a_higher_level_is_wider():
    parts = tallies("regression", *rows_of("regression"))
    narrow, wide = (intervals(parts, Bootstrap(level=level))["mae"] for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_resamples_that_leave_a_score_undefined_are_set_aside():
    found = intervals(tallies("regression", [1.0, 2.0, 2.0], [1.0, 3.0, 2.0]))["pearson"]
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_an_undefined_score_has_no_interval():
    found = intervals(tallies("regression", [1.0, 1.0], [1.0, 2.0]))["pearson"]
    assert np.isnan([found.value, found.low, found.high]).all()


def test_paired_arrays_stay_paired():
    first = np.arange(50.0)
    gap = bootstrap(lambda a, b: float((a - b).mean()), first, first - 2)
    assert gap == Interval(2, 2, 2)


@pytest.mark.parametrize("options", [{"resamples": 0}, {"level": 1}, {"level": 95}])
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError, match=r"received .*; expected .*; leave it at"):
        Bootstrap(**options)


def test_three_thousand_rows_of_77_labels_take_less_than_a_second():
    rng = np.random.default_rng(0)
    gold = rng.integers(77, size=3000)
    parts = tallies("single", gold, np.where(rng.random(3000) < 0.5, gold, rng.integers(77, size=3000)))
    started = time.perf_counter()
    intervals(parts)
    assert time.perf_counter() - started < 1
