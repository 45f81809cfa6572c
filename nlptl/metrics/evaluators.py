"""The scores as `evaluate.Metric` modules, for tools that speak that language.

They need no network, hold their rows in memory, and touch neither lock nor file, so that any number of them
may live at once. This module imports `evaluate`, which takes seconds: import it only where it is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import evaluate
from datasets import Features, Value
from datasets import Sequence as ListOf

from nlptl.metrics import Problem, scores


class Scores(evaluate.Metric):
    """Every score of one kind of problem; each subclass names the problem.

    Parameters
    ----------
    labels : sequence, optional
        Labels (for spans: entity types) in their order.
    **options
        Of `evaluate.Metric`.
    """

    problem: ClassVar[Problem]
    #: The forms that a gold or predicted row may have; the first that fits is taken.
    forms: ClassVar[tuple[Any, ...]]

    def __init__(self, labels: Sequence[Any] | None = None, **options: Any) -> None:
        self.labels = labels
        # With a file under it, a second live module waits a second for the first one's lock.
        super().__init__(**{"keep_in_memory": True, **options})

    def _build_data_dir(self) -> str:
        # evaluate makes this folder even for rows in memory, and fails where HF_HOME cannot be written.
        if self.keep_in_memory:
            return str(self._data_dir_root)
        return str(super()._build_data_dir())

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            inputs_description="\nAlso takes probabilities, where the problem has scores of them.",
            features=[Features({"predictions": form, "references": form}) for form in self.forms],
        )

    def _compute(
        self, *, predictions: Any = None, references: Any = None, probabilities: Any = None, **unknown: Any
    ) -> dict[str, float]:
        if unknown:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(unknown)}")
        return scores(self.problem, references, predictions, labels=self.labels, probabilities=probabilities)


class SingleLabel(Scores):
    """Scores of one label a row, accuracy first."""

    problem = "single"
    # Text before numbers: evaluate would read the labels "01" and "1" as the same number.
    forms = (Value("string"), Value("int64"))


class MultiLabel(Scores):
    """Scores of any number of labels a row, micro-F1 first; rows are lists of 0 and 1."""

    problem = "multi"
    forms = (ListOf(Value("int8")),)


class Regression(Scores):
    """Scores of one number a row, R² first."""

    problem = "regression"
    forms = (Value("float64"),)


class Spans(Scores):
    """Scores of entities, strict span-F1 first; rows are a sentence's BIO tags."""

    problem = "spans"
    forms = (ListOf(Value("string")),)


def evaluator(problem: Problem, labels: Sequence[Any] | None = None) -> Scores:
    """The module that scores this kind of problem."""
    by_problem: dict[str, type[Scores]] = {kind.problem: kind for kind in Scores.__subclasses__()}
    return by_problem[problem](labels)
