"""How sure a score is: seeded bootstrap intervals.

The rows of an evaluation are a sample; another sample would have scored otherwise. The percentile bootstrap
draws as many rows again, with replacement, scores each such resample, and reports the middle of the outcomes.
It speaks of the choice of test rows alone, not of the seed that trained the model. With few rows it is too
narrow, and where every row is right it can only say 1 … 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nlptl.errors import Fault, OptionError
from nlptl.metrics.tally import Array, Tally

#: Weights held at once: enough to keep numpy busy, little enough (32 MB) for any machine.
CHUNK = 4_000_000
#: Drawing one binomial costs about as much as drawing this many rows.
BINOMIAL_COST = 8


@dataclass(frozen=True)
class Interval:
    """A score and the interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Parameters
    ----------
    resamples : int
        How many times the rows are drawn again; the interval's ends settle slowly below some hundreds.
    seed : int
        Of the draws; the same seed gives the same interval.
    level : float
        How much of the resampled scores the interval holds.
    """

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise OptionError(Fault(f"resamples={self.resamples}", "at least 1", "leave it at 1000"))
        if not 0 < self.level < 1:
            raise OptionError(Fault(f"level={self.level}", "a part between 0 and 1", "leave it at 0.95"))

    def describe(self, rows: str = "rows") -> str:
        """The method in words, as a report prints it."""
        resampling = f"{self.resamples:,} resamples of the {rows}, seed {self.seed}"
        return f"{self.level * 100:g} % intervals: percentile bootstrap, {resampling}"


def intervals(tallies: Sequence[Tally], how: Bootstrap | None = None) -> dict[str, Interval]:
    """Every score of the tallies with its interval, in their order."""
    how = how or Bootstrap()
    found: dict[str, Interval] = {}
    for tally in tallies:
        drawn: dict[str, list[Array]] = {}
        for weights in _resamples(tally.occurrences, how):
            for name, values in tally.formula(weights).items():
                drawn.setdefault(name, []).append(values)
        for name, value in tally.scores().items():
            found[name] = _interval(value, np.concatenate(drawn[name]), how.level)
    return found


def bootstrap(statistic: Callable[..., float], *arrays: Array, how: Bootstrap | None = None) -> Interval:
    """The interval of any statistic of rows, by scoring every resample one by one.

    Slow but general: `statistic` gets the arrays with the same rows drawn from each, so that paired arrays
    stay paired (the difference of two models on the same rows, say).
    """
    how = how or Bootstrap()
    rng, rows = np.random.default_rng(how.seed), len(arrays[0])
    drawn = [
        statistic(*(array[picked] for array in arrays))
        for picked in (rng.integers(rows, size=rows) for _ in range(how.resamples))
    ]
    return _interval(float(statistic(*arrays)), np.array(drawn, float), how.level)


def _resamples(occurrences: Array, how: Bootstrap) -> Iterator[Array]:
    """Weights (resamples, distinct), a chunk at a time: how often each distinct row is drawn."""
    rng = np.random.default_rng(how.seed)
    rows, distinct = int(occurrences.sum()), len(occurrences)
    # Few distinct rows: their counts in a resample are one multinomial draw, however many rows there are.
    # Many: the rows themselves are drawn and counted. Both are the same distribution.
    few = distinct * BINOMIAL_COST < rows
    owner = None if few else np.repeat(np.arange(distinct), occurrences)
    step = max(1, CHUNK // (distinct if few else rows))
    for start in range(0, how.resamples, step):
        size = min(step, how.resamples - start)
        if owner is None:
            yield rng.multinomial(rows, occurrences / rows, size=size).astype(float)
        else:
            drawn = owner[rng.integers(rows, size=(size, rows))] + distinct * np.arange(size)[:, None]
            yield np.bincount(drawn.ravel(), minlength=size * distinct).reshape(size, distinct).astype(float)


def _interval(value: float, drawn: Array, level: float) -> Interval:
    # A resample may leave a score undefined (a correlation with a constant); it says nothing of the others.
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size or not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
