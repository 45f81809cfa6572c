"""The report of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nlptl.errors import did_you_mean, listing
from nlptl.metrics import Problem, tallies
from nlptl.report.page import report_page
from nlptl.report.plain import plain
from nlptl.report.statistics import Bootstrap, Interval, intervals


@dataclass(frozen=True)
class Report:
    """How good the predictions were, how sure that is, and what they were made of.

    ``print(report)`` is a page, ``report["accuracy"]`` a number, ``report.metrics["accuracy"]`` its interval.

    Parameters
    ----------
    problem : {"single", "multi", "regression", "spans"}
    rows : int
        How many rows were scored: every one that was given, each once.
    metrics : dict of Interval
        The primary score first.
    labels : tuple of dict
        label, precision, recall, f1, support, predicted of each label (for spans conlleval_f1 as well).
    bootstrap : Bootstrap
        How the intervals were made.
    task, source : str
        What was evaluated, and on what.
    counts : dict of int
        How many rows or words were truncated, windowed, repaired, dropped.
    choices : dict of str
        What was chosen for the user: precision, batch shape, kernels.
    seconds : float, optional
        How long the predictions took.
    trainable_parameters, total_parameters : int, optional
    """

    problem: Problem
    rows: int
    metrics: dict[str, Interval]
    labels: tuple[dict[str, Any], ...] = ()
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    task: str = ""
    source: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None

    @property
    def primary(self) -> str:
        """The name of the first score, the one that `Learner.score` returns."""
        return next(iter(self.metrics))

    @property
    def rows_per_second(self) -> float | None:
        """Rows predicted in a second, where the time was taken."""
        return self.rows / self.seconds if self.seconds else None

    def __getitem__(self, metric: str) -> float:
        if metric not in self.metrics:
            near = did_you_mean(metric, self.metrics)
            raise KeyError(f"the report has no score {metric!r}; it has {listing(self.metrics)}.{near}")
        return self.metrics[metric].value

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON's types; a score that is undefined is null."""
        saved: dict[str, Any] = plain({**asdict(self), "rows_per_second": self.rows_per_second})
        return saved

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Report:
        """The report that `to_dict` gave."""
        known = {name: saved[name] for name in cls.__dataclass_fields__ if name in saved}
        undefined = float("nan")
        metrics = {
            name: Interval(**{end: undefined if v is None else v for end, v in ends.items()})
            for name, ends in saved["metrics"].items()
        }
        bootstrap = Bootstrap(**saved["bootstrap"])
        return cls(**{**known, "metrics": metrics, "labels": tuple(saved["labels"]), "bootstrap": bootstrap})

    def __str__(self) -> str:
        return report_page(self)


def make_report(
    problem: Problem,
    gold: Any,
    predicted: Any,
    labels: Sequence[Any] | None = None,
    *,
    probabilities: Any = None,
    task: str = "",
    source: str = "",
    counts: Mapping[str, int] | None = None,
    choices: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    trainable_parameters: int | None = None,
    total_parameters: int | None = None,
    bootstrap: Bootstrap | None = None,
) -> Report:
    """Score predictions, put intervals around the scores, and gather what else a report tells.

    Parameters
    ----------
    problem, gold, predicted, labels, probabilities
        As for `nlptl.metrics.scores`.
    task, source, counts, choices, seconds, trainable_parameters, total_parameters
        Told as they are: see `Report`.
    bootstrap : Bootstrap, optional
        How the intervals are made; 1000 resamples under seed 0 at 95 %.
    """
    parts = tallies(problem, gold, predicted, labels=labels, probabilities=probabilities)
    how = bootstrap or Bootstrap()
    return Report(
        problem=problem,
        rows=parts[0].rows,
        metrics=intervals(parts, how),
        labels=tuple(parts[0].label_rows()),
        bootstrap=how,
        task=task,
        source=source,
        counts={name: int(number) for name, number in (counts or {}).items()},
        choices={name: str(choice) for name, choice in (choices or {}).items()},
        seconds=seconds,
        trainable_parameters=trainable_parameters,
        total_parameters=total_parameters,
    )
