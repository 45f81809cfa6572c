"""Precision, recall and F1 from counts, with one convention for what is undefined.

A ratio with nothing under the line is 0, as in scikit-learn and seqeval. A macro mean runs over the labels
that occur in the gold or in the predictions; a label that was never met says nothing and is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nlptl.metrics.tally import Array


class Counts(NamedTuple):
    """Per label: right predictions, predictions, gold occurrences; each (sets, labels)."""

    correct: Array
    predicted: Array
    gold: Array


def ratio(above: Array, below: Array) -> Array:
    """above / below, and 0 where there is nothing below."""
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(above, below, out=np.zeros(below.shape), where=below > 0)


def f1(counts: Counts) -> Array:
    """The harmonic mean of precision and recall, straight from the counts."""
    return ratio(2 * counts.correct, counts.predicted + counts.gold)


def precision(counts: Counts) -> Array:
    """The part of the predictions that is right."""
    return ratio(counts.correct, counts.predicted)


def recall(counts: Counts) -> Array:
    """The part of the gold that was found."""
    return ratio(counts.correct, counts.gold)


def micro(counts: Counts) -> Counts:
    """The counts of all labels taken together, each (sets,)."""
    return Counts(*(part.sum(axis=1) for part in counts))


def macro(values: Array, counts: Counts) -> Array:
    """The mean over the labels that occur, each label alike: (sets,)."""
    present = (counts.predicted + counts.gold) > 0
    return ratio(np.where(present, values, 0).sum(axis=1), present.sum(axis=1))


def weighted(values: Array, counts: Counts) -> Array:
    """The mean over the labels, each by its gold occurrences: (sets,)."""
    return ratio((values * counts.gold).sum(axis=1), counts.gold.sum(axis=1))


def table(counts: Counts) -> dict[str, Array]:
    """The columns of the table by label."""
    return {
        "precision": precision(counts),
        "recall": recall(counts),
        "f1": f1(counts),
        "support": counts.gold.astype(int),
        "predicted": counts.predicted.astype(int),
    }
