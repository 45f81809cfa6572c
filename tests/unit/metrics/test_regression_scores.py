"""Scores of numbers, held to scikit-learn's and scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from nlptl.metrics import PRIMARY, per_label, scores, tallies


@pytest.mark.parametrize("shift", [0, 1e6], ids=["near zero", "far from zero"])
def test_scores_equal_sklearns_and_scipys(shift):
    rng = np.random.default_rng(3)
    gold = rng.integers(1, 6, size=120) + shift
    predicted = gold + rng.normal(scale=1.2, size=120)
    found = scores("regression", gold, predicted)
    assert found == pytest.approx(
        {
            "r2": sk.r2_score(gold, predicted),
            "pearson": stats.pearsonr(gold, predicted).statistic,
            "mae": sk.mean_absolute_error(gold, predicted),
            "rmse": sk.root_mean_squared_error(gold, predicted),
            "within_one": np.mean(np.abs(gold - predicted) <= 1),
        },
        rel=1e-9,
    )
    assert next(iter(found)) == PRIMARY["regression"]


def test_within_one_takes_in_the_edge():
    assert scores("regression", [1.0, 2, 3], [2.0, 2, 4.5])["within_one"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("predicted", [[0.3, 0.3, 0.3], [0.1, 0.3, 0.3]])
def test_constant_gold_follows_sklearn_and_has_no_correlation(predicted):
    found = scores("regression", [0.3, 0.3, 0.3], predicted)
    assert found["r2"] == sk.r2_score([0.3, 0.3, 0.3], predicted)
    assert math.isnan(found["pearson"])


def test_a_perfect_correlation_is_one_at_most():
    gold = np.random.default_rng(0).normal(size=50)
    assert scores("regression", gold, 3 * gold)["pearson"] == pytest.approx(1)
    assert scores("regression", gold, 3 * gold)["pearson"] <= 1


def test_one_row_has_no_r2():
    assert math.isnan(scores("regression", [3.0], [3.0])["r2"])


@pytest.mark.parametrize("diverged", [np.nan, np.inf])
def test_a_diverged_model_scores_nothing_and_warns_of_nothing(diverged):
    found = scores("regression", [1.0, 2, 3], [1.0, diverged, 3])
    assert not any(math.isfinite(found[name]) for name in ("r2", "pearson", "mae", "rmse"))


def test_numbers_have_no_table_by_label():
    assert per_label("regression", [1.0, 2], [1.0, 2]) == []


def test_a_resample_of_one_row_alone_is_constant_whatever_the_rounding():
    """Else a spread of 1e-17 stands under the line, and R² is minus a billion."""
    rng = np.random.default_rng(1)
    gold = rng.random(50)
    (tally,) = tallies("regression", gold, gold + 0.1)
    found = tally.formula(50.0 * np.eye(50))
    assert np.isnan(found["pearson"]).all()
    assert (found["r2"] == 0).all()
