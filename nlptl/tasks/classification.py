"""Text classification: one label a text, several, or none; of texts and of pairs of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from nlptl.backbones import Backbone
from nlptl.data.examples import Examples, Level
from nlptl.data.labels import Label, LabelSpace, in_order, plain
from nlptl.errors import DataError, Fault, Faults, OptionError
from nlptl.tasks.base import Array, Prepared, Task, WindowSize, softmax, together
from nlptl.tasks.inputs import prepare_texts


@dataclass(frozen=True)
class Classification(Task):
    """Text classification.

    Parameters
    ----------
    multi_label : "auto" sees it from the targets: lists of labels, or rows of 0/1
    """

    multi_label: bool | Literal["auto"] = "auto"

    name: ClassVar[str] = "classification"
    level: ClassVar[Level] = "sequence"

    def __post_init__(self) -> None:
        if self.multi_label not in (True, False, "auto"):
            raise OptionError(
                f"Classification(multi_label=…): received {self.multi_label!r}; expected True, False or 'auto'; "
                "'auto' sees it from the targets"
            )

    @property
    def estimator_type(self) -> Literal["classifier", "regressor"] | None:
        return None if self.multi_label is True else "classifier"

    def learn(self, examples: Examples, labels: Sequence[Label] | None) -> tuple[LabelSpace, list[str]]:
        several = examples.target_form in ("lists", "indicator")
        if self.multi_label != "auto" and self.multi_label != several:
            raise OptionError(
                f"Classification(multi_label={self.multi_label}): received targets that are "
                f"{'lists of labels or 0/1 rows' if several else 'one label a row'}; expected "
                f"{'lists of labels or 0/1 rows' if self.multi_label else 'one label a row'}; "
                "leave it at 'auto', or give the other form"
            )
        return _learn_several(examples, labels) if several else learn_one(examples, labels)

    def prepare(self, backbone: Backbone, inputs: Sequence[Any], size: WindowSize) -> Prepared:
        return prepare_texts(backbone, inputs, size)

    def gold(self, examples: Examples, space: LabelSpace) -> tuple[list[Array], dict[str, int]]:
        rows = _gold_several(examples, space) if space.problem == "multi" else gold_one(examples, space)
        return rows, {}

    def tune(self, space: LabelSpace, gold: Sequence[Array], scores: Sequence[Array]) -> LabelSpace:
        """For several labels, the threshold of each that gives it the best F1 on the held-out rows."""
        if space.problem != "multi":
            return space
        chances, there = _sigmoid(np.concatenate(scores)), np.concatenate(gold)
        best = tuple(_best_threshold(chances[:, k], there[:, k]) for k in range(len(space)))
        return replace(space, thresholds=best)

    def decode(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> list[Array]:
        flat = together(scores, len(space))
        if space.problem == "multi":
            edges = np.array(space.thresholds or [0.5] * len(space))
            return list((_sigmoid(flat) >= edges).astype(np.int64)[:, None, :])
        return list(flat.argmax(-1)[:, None])

    def for_metrics(self, numbers: Sequence[Array], space: LabelSpace) -> Any:
        if space.problem == "multi":
            return np.concatenate(numbers)
        return [space.values[int(n[0])] for n in numbers]

    def as_given(self, numbers: Sequence[Array], scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        if space.problem != "multi":
            return np.array(space.values)[[int(n[0]) for n in numbers]]
        rows = together(numbers, len(space)).astype(np.int64)
        if space.form == "indicator":
            return rows
        return [[space.values[k] for k in np.flatnonzero(row)] for row in rows]

    def probabilities(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        flat = together(scores, len(space))
        return _sigmoid(flat) if space.problem == "multi" else softmax(flat)


def learn_one(examples: Examples, labels: Sequence[Label] | None) -> tuple[LabelSpace, list[str]]:
    """The labels of rows that have one each."""
    found = [plain(t) for t in examples.targets or ()]
    values = in_order(found, labels)
    if len(set(found)) < 2:
        raise DataError(
            Fault(
                f"rows of one class only ({found[0]!r})",
                "at least two different labels to tell apart",
                "add rows of another class, or check that the label column is the right one",
                examples.origin.name,
            )
        )
    if len(found) < len(values):
        raise DataError(
            Fault(
                f"{len(found)} rows for {len(values)} labels",
                "at least one row a label",
                "add rows, or for numbers to be predicted use task='sentiment' with Sentiment(scale='stars')",
                examples.origin.name,
            )
        )
    return LabelSpace("single", tuple(str(v) for v in values), values), []


def gold_one(examples: Examples, space: LabelSpace) -> list[Array]:
    """The number of each row's label, all unknown ones told at once."""
    faults = Faults()
    numbers: list[Array] = []
    for i, target in enumerate(examples.targets or ()):
        found = space.find(target)
        if found is None:
            faults.extend([space.unknown(plain(target), examples.origin.where(i))])
        numbers.append(np.array([0 if found is None else found], dtype=np.int64))
    faults.raise_if_any(DataError)
    return numbers


def _learn_several(examples: Examples, labels: Sequence[Label] | None) -> tuple[LabelSpace, list[str]]:
    targets = examples.targets or []
    if examples.target_form == "indicator":
        width = len(targets[0])
        names = examples.target_names or tuple(str(k) for k in range(width))
        values: tuple[Label, ...] = tuple(labels) if labels is not None else tuple(names)
        if len(values) != width:
            raise DataError(
                Fault(f"{len(values)} labels for {width} columns of 0/1", "one label a column", "name each column")
            )
        return LabelSpace("multi", tuple(str(v) for v in values), values, "indicator"), []
    found = [plain(label) for row in targets for label in row]
    values = in_order(found, labels)
    if not values:
        raise DataError(
            Fault(
                "no label in any row", "at least one row with a label", "check the label column", examples.origin.name
            )
        )
    return LabelSpace("multi", tuple(str(v) for v in values), values, "lists"), []


def _gold_several(examples: Examples, space: LabelSpace) -> list[Array]:
    faults = Faults()
    rows: list[Array] = []
    for i, target in enumerate(examples.targets or ()):
        row = np.zeros((1, len(space)), dtype=np.int64)
        if examples.target_form == "indicator":
            if len(target) != len(space):
                faults.add(
                    f"{len(target)} columns of 0/1",
                    f"{len(space)}, one a label",
                    "give the same columns",
                    examples.origin.where(i),
                )
            else:
                row[0] = target
        else:
            for label in target:
                found = space.find(label)
                if found is None:
                    faults.extend([space.unknown(plain(label), examples.origin.where(i))])
                else:
                    row[0, found] = 1
        rows.append(row)
    faults.raise_if_any(DataError)
    return rows


def _best_threshold(chances: Array, there: Array) -> float:
    """The midpoint between neighbouring probabilities that gives the best F1; 0.5 where the label never occurs."""
    if not there.any():
        return 0.5
    order = np.argsort(-chances, kind="stable")
    hits = np.cumsum(there[order])
    scores = 2 * hits / (np.arange(1, len(order) + 1) + there.sum())
    ranked = chances[order]
    last_of_ties = np.append(ranked[1:] < ranked[:-1], True)
    best = int(np.where(last_of_ties, scores, -1).argmax())
    after = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + after) / 2)


def _sigmoid(scores: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * scores.astype(np.float64))))
