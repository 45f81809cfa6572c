"""Scores of single-label and multi-label classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nlptl.errors import DataError, Fault, listing
from nlptl.metrics import ratios
from nlptl.metrics.checks import plain_list, probability_rows, same_rows
from nlptl.metrics.ratios import Counts
from nlptl.metrics.tally import Array, Tally, distinct_rows, sum_by


def single(
    gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any] | None, probabilities: Any = None
) -> tuple[Tally, ...]:
    """Tallies of single-label rows; a label that is not among `labels` is appended, never dropped."""
    gold, predicted = plain_list(gold), plain_list(predicted)
    same_rows(gold, predicted)
    known = plain_list(labels) if labels is not None else []
    codes: dict[Any, int] = {label: i for i, label in enumerate(known)}
    gold_codes, predicted_codes = (
        np.array([codes.setdefault(label, len(codes)) for label in side]) for side in (gold, predicted)
    )
    confusion = _confusion(gold_codes, predicted_codes, list(codes))
    if probabilities is None:
        return (confusion,)
    likelihood = probability_rows(probabilities, (len(gold), len(known)))
    if gold_codes.max() >= len(known):
        raise DataError(_stranger(list(codes)[len(known) :], known))
    loss = -np.log(likelihood[np.arange(len(gold)), gold_codes])
    return confusion, _mean_of("log_loss", loss)


def multi(gold: Any, predicted: Any, labels: Sequence[Any] | None, probabilities: Any = None) -> tuple[Tally, ...]:
    """Tallies of multi-label rows, gold and predictions as 0/1 arrays (rows, labels)."""
    gold, predicted = _indicator(gold, "gold"), _indicator(predicted, "predictions")
    same_rows(gold, predicted)
    names = plain_list(labels) if labels is not None else list(range(gold.shape[1]))
    if not gold.shape[1] == predicted.shape[1] == len(names):
        raise DataError(
            Fault(
                f"{gold.shape[1]} gold columns, {predicted.shape[1]} predicted columns, {len(names)} labels",
                "as many columns as labels",
                "give one 0/1 column for each label, in the order of the labels",
            )
        )
    tally = _indicators(gold, predicted, names)
    if probabilities is None:
        return (tally,)
    chance = probability_rows(probabilities, (gold.shape[0], gold.shape[1]))
    loss = -np.where(gold, np.log(chance), np.log1p(-chance)).mean(axis=1)
    return tally, _mean_of("log_loss", loss)


def _confusion(gold: Array, predicted: Array, labels: list[Any]) -> Tally:
    """The distinct rows of a single-label evaluation are the cells of its confusion matrix."""
    size = len(labels)
    cells, occurrences = np.unique(gold * size + predicted, return_counts=True)
    gold, predicted = np.divmod(cells, size)
    hits = np.flatnonzero(gold == predicted)

    def counts(weights: Array) -> Counts:
        return Counts(
            sum_by(weights[:, hits], gold[hits], size),
            sum_by(weights, predicted, size),
            sum_by(weights, gold, size),
        )

    def formula(weights: Array) -> dict[str, Array]:
        by_label = counts(weights)
        f1 = ratios.f1(by_label)
        return {
            "accuracy": ratios.ratio(by_label.correct.sum(axis=1), weights.sum(axis=1)),
            "macro_f1": ratios.macro(f1, by_label),
            "weighted_f1": ratios.weighted(f1, by_label),
            "macro_precision": ratios.macro(ratios.precision(by_label), by_label),
            "macro_recall": ratios.macro(ratios.recall(by_label), by_label),
            "matthews": _matthews(by_label),
        }

    return Tally(occurrences, formula, labels, lambda weights: ratios.table(counts(weights)))


def _indicators(gold: Array, predicted: Array, labels: list[Any]) -> Tally:
    size = len(labels)
    pairs, occurrences = distinct_rows(np.hstack([gold, predicted]))
    gold, predicted = pairs[:, :size].astype(bool), pairs[:, size:].astype(bool)
    correct, wrong = gold & predicted, gold ^ predicted
    columns = np.hstack([correct, predicted, gold]).astype(float)
    exact, misses = (~wrong.any(axis=1)).astype(float), wrong.mean(axis=1)

    def counts(weights: Array) -> Counts:
        return Counts(*np.split(weights @ columns, 3, axis=1))

    def formula(weights: Array) -> dict[str, Array]:
        by_label = counts(weights)
        f1, together, rows = ratios.f1(by_label), ratios.micro(by_label), weights.sum(axis=1)
        return {
            "micro_f1": ratios.f1(together),
            "micro_precision": ratios.precision(together),
            "micro_recall": ratios.recall(together),
            "macro_f1": ratios.macro(f1, by_label),
            "weighted_f1": ratios.weighted(f1, by_label),
            "subset_accuracy": ratios.ratio(weights @ exact, rows),
            "hamming_loss": ratios.ratio(weights @ misses, rows),
        }

    return Tally(occurrences, formula, labels, lambda weights: ratios.table(counts(weights)))


def _matthews(counts: Counts) -> Array:
    """Matthews' correlation for any number of labels (Gorodkin's R_K); 0 where one side is constant."""
    rows = counts.gold.sum(axis=1)
    covariance = counts.correct.sum(axis=1) * rows - (counts.predicted * counts.gold).sum(axis=1)
    spread = [rows**2 - (side**2).sum(axis=1) for side in (counts.predicted, counts.gold)]
    return ratios.ratio(covariance, np.sqrt(spread[0] * spread[1]))


def _mean_of(name: str, values: Array) -> Tally:
    return Tally(np.ones(len(values), int), lambda weights: {name: ratios.ratio(weights @ values, weights.sum(axis=1))})


def _indicator(values: Any, side: str) -> Array:
    array = np.asarray(values)
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise DataError(
            Fault(
                f"{side} of shape {array.shape} and type {array.dtype}",
                "a table of 0 and 1 with one row a text and one column a label",
                "turn lists of labels into 0/1 columns first",
            )
        )
    return array.astype(np.uint8)


def _stranger(found: list[Any], known: list[Any]) -> Fault:
    return Fault(
        f"the gold labels {listing(found)}, which have no column of probabilities",
        f"labels among {listing(known)}",
        "drop those rows, or score without probabilities",
    )
