"""Scores of predictions, by the kind of problem; numpy alone, nothing fetched, nothing downloaded.

=============  =======================================  ==============
problem        gold and predicted                       first score
=============  =======================================  ==============
``single``     one label a row                          ``accuracy``
``multi``      0/1 arrays (rows, labels)                ``micro_f1``
``regression`` one number a row                         ``r2``
``spans``      a list of BIO tags a sentence            ``span_f1``
=============  =======================================  ==============

`nlptl.metrics.evaluators` offers the same scores as `evaluate.Metric` modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from nlptl.errors import Fault, OptionError, did_you_mean, listing
from nlptl.metrics.classification import multi, single
from nlptl.metrics.regression import regression
from nlptl.metrics.spans import read_entities, span_counts, spans
from nlptl.metrics.tally import Tally

__all__ = [
    "LOWER_IS_BETTER",
    "PRIMARY",
    "Problem",
    "Tally",
    "per_label",
    "read_entities",
    "scores",
    "span_counts",
    "tallies",
]

Problem = Literal["single", "multi", "regression", "spans"]

#: The score that `Learner.score` returns, and the one that every report shows first.
PRIMARY: dict[str, str] = {"single": "accuracy", "multi": "micro_f1", "regression": "r2", "spans": "span_f1"}

#: Scores that get better as they fall; whoever looks for the best of them has to know.
LOWER_IS_BETTER = frozenset({"log_loss", "hamming_loss", "mae", "rmse"})


def scores(
    problem: Problem,
    gold: Any,
    predicted: Any,
    *,
    labels: Sequence[Any] | None = None,
    probabilities: Any = None,
) -> dict[str, float]:
    """Every score of the problem, the primary one first.

    Parameters
    ----------
    problem : {"single", "multi", "regression", "spans"}
    gold, predicted
        In the problem's form: see the table at the top of this module.
    labels : sequence, optional
        Labels (for spans: entity types) in their order; what occurs besides is appended.
    probabilities : array (rows, labels), optional
        Adds ``log_loss``, for ``single`` and ``multi``.

    Examples
    --------
    >>> scores("single", ["a", "b"], ["a", "a"], labels=["a", "b"])["accuracy"]
    0.5
    """
    return merged_scores(tallies(problem, gold, predicted, labels=labels, probabilities=probabilities))


def per_label(problem: Problem, gold: Any, predicted: Any, labels: Sequence[Any] | None = None) -> list[dict[str, Any]]:
    """One row a label: label, precision, recall, f1, support, predicted; for spans conlleval_f1 as well."""
    return tallies(problem, gold, predicted, labels=labels)[0].label_rows()


def tallies(
    problem: Problem,
    gold: Any,
    predicted: Any,
    *,
    labels: Sequence[Any] | None = None,
    probabilities: Any = None,
) -> tuple[Tally, ...]:
    """What the scores are made from; the first tally holds the primary score and the table by label."""
    if problem == "single":
        return single(gold, predicted, labels, probabilities)
    if problem == "multi":
        return multi(gold, predicted, labels, probabilities)
    if problem not in get_args(Problem):
        known = get_args(Problem)
        remedy = f"name the form of the labels.{did_you_mean(problem, known)}"
        raise OptionError(Fault(f"the problem {problem!r}", f"one of {listing(known)}", remedy))
    if probabilities is not None:
        remedy = "leave probabilities out"
        raise OptionError(Fault(f"probabilities for {problem!r}", "none: no score of it uses them", remedy))
    return regression(gold, predicted) if problem == "regression" else spans(gold, predicted, labels)


def merged_scores(parts: Sequence[Tally]) -> dict[str, float]:
    """The scores of several tallies of the same rows, in their order."""
    return {name: value for part in parts for name, value in part.scores().items()}
