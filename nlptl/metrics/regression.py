"""Scores of regression: stars, ratings, similarities."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlptl.errors import DataError, Fault
from nlptl.metrics import ratios
from nlptl.metrics.checks import same_rows
from nlptl.metrics.tally import Array, Tally


def regression(gold: Any, predicted: Any) -> tuple[Tally, ...]:
    """The tally of rows with one number each."""
    gold, predicted = _numbers(gold, "gold"), _numbers(predicted, "predictions")
    same_rows(gold, predicted)
    # Sums of squares of uncentred numbers lose their digits when the mean is far from zero; a shift leaves
    # spreads and correlations as they are. A diverged model's inf or nan goes through, into the scores.
    with np.errstate(invalid="ignore", over="ignore"):
        error = predicted - gold
        g, p = gold - gold.mean(), predicted - predicted.mean()
        columns = np.stack([np.abs(error), error**2, np.abs(error) <= 1, g, p, g * g, p * p, g * p], axis=1)

    def formula(weights: Array) -> dict[str, Array]:
        rows = weights.sum(axis=1)
        with np.errstate(invalid="ignore"):
            absolute, squared, near, g, p, gg, pp, gp = (weights @ columns).T
            gold_spread, predicted_spread = _spread(gg, g, rows), _spread(pp, p, rows)
            together = gp - g * p / rows
        return {
            "r2": _r2(squared, gold_spread, rows),
            "pearson": _pearson(together, gold_spread, predicted_spread),
            "mae": absolute / rows,
            "rmse": np.sqrt(squared / rows),
            "within_one": near / rows,
        }

    return (Tally(np.ones(len(gold), int), formula),)


def _spread(squares: Array, total: Array, rows: Array) -> Array:
    """Sums of squares about the mean; what rounding alone leaves of a constant is set to 0."""
    spread = squares - total**2 / rows
    return np.where(spread > 1e-12 * squares, spread, np.where(np.isnan(spread), spread, 0.0))


def _r2(squared: Array, spread: Array, rows: Array) -> Array:
    """R² as scikit-learn has it: for constant gold 1 if all is right, else 0; undefined for a single row."""
    constant = np.where(squared == 0, 1.0, 0.0)
    score = np.where(spread == 0, constant, 1 - ratios.ratio(squared, spread))
    return np.where((rows < 2) | np.isnan(squared), np.nan, score)


def _pearson(together: Array, gold_spread: Array, predicted_spread: Array) -> Array:
    """Pearson's r; undefined where either side is constant."""
    scale = np.sqrt(gold_spread) * np.sqrt(predicted_spread)
    score = np.divide(together, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    clipped: Array = np.clip(score, -1, 1)  # rounding may put a perfect correlation just past 1
    return clipped


def _numbers(values: Any, side: str) -> Array:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        array = np.empty((0, 0))
    if array.ndim != 1:
        raise DataError(Fault(f"{side} that are not one number a row", "a sequence of numbers", "give one float a row"))
    return array
