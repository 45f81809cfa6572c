"""A tally: what a score needs of each row, kept so that any resample of the rows can be scored at once.

Every score here is a formula over sums of per-row counts. Rows that count alike are interchangeable, so a
tally holds each *distinct* row once, with how often it occurs. A vector of weights over the distinct rows
then stands for a data set: the occurrences are the data as evaluated, and a bootstrap resample is another
such vector. One formula therefore gives the score and its interval, and they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Tally:
    """Distinct rows, how often each occurs, and the formulas over weighted sums of them.

    Parameters
    ----------
    occurrences : array (distinct,)
        How many rows of the evaluation each distinct row stands for.
    formula : callable, weights (sets, distinct) -> name to scores (sets,)
        Scores each set of weights; the names come in the order in which they are shown.
    labels : sequence
        The labels that `table` speaks of, in its order.
    table : callable, weights (sets, distinct) -> column to values (sets, labels), optional
        The columns of the table by label.
    """

    occurrences: Array
    formula: Callable[[Array], Mapping[str, Array]]
    labels: Sequence[Any] = ()
    table: Callable[[Array], Mapping[str, Array]] | None = None

    @property
    def rows(self) -> int:
        """How many rows were evaluated."""
        return int(self.occurrences.sum())

    def scores(self) -> dict[str, float]:
        """The scores of the rows as evaluated."""
        return {name: float(value[0]) for name, value in self.formula(self.occurrences[None, :]).items()}

    def label_rows(self) -> list[dict[str, Any]]:
        """The table by label of the rows as evaluated; empty where the problem has no labels."""
        if self.table is None:
            return []
        columns = {name: values[0].tolist() for name, values in self.table(self.occurrences[None, :]).items()}
        return [
            {"label": label, **{name: values[i] for name, values in columns.items()}}
            for i, label in enumerate(self.labels)
        ]


def distinct_rows(rows: Array) -> tuple[Array, Array]:
    """The distinct rows of an array (n, m) and how often each occurs, in order of first appearance."""
    rows = np.ascontiguousarray(rows)
    # Whole rows as single opaque values: numpy's unique(axis=0) sorts column by column and is far slower.
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, occurrences = np.unique(keys, return_index=True, return_counts=True)
    order = np.argsort(first)
    return rows[first[order]], occurrences[order]


def sum_by(weights: Array, groups: Array, size: int) -> Array:
    """Sums of weights (sets, distinct) within each group 0 … size-1: an array (sets, size)."""
    sums = np.zeros((len(weights), size))
    if groups.size:
        order = np.argsort(groups, kind="stable")
        present, starts = np.unique(groups[order], return_index=True)
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums
