"""What every task answers; the learner asks in this order.

`learn` reads the labels off the training rows, `gold` numbers their targets, `prepare` makes model input of rows,
`decode` turns scores into the same numbers, and `as_given` and `for_metrics` say them as the user and the metrics want.
Scores are logits, or log-probabilities from a frozen head: both give the same answer to every question asked here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from nlptl.backbones import Backbone
from nlptl.data.examples import Examples, Level, Schema
from nlptl.data.labels import Label, LabelSpace
from nlptl.data.words import Word
from nlptl.engine.items import Item

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class WindowSize:
    """How long texts are cut: tokens a window with its special tokens, and tokens that neighbours share."""

    length: int
    stride: int


@dataclass(frozen=True)
class Sentence:
    """Words to be tagged, with the text they were split from where one was given."""

    words: list[str]
    text: str | None = None
    places: list[Word] | None = None


@dataclass(frozen=True)
class Prepared:
    """Rows as the engine takes them, and what had to be done to them, counted."""

    items: list[Item]
    counts: dict[str, int] = field(default_factory=dict)
    sentences: list[Sentence] | None = None


@dataclass(frozen=True)
class Task(ABC):
    """What is learnt. Knows nothing of modes and files."""

    name: ClassVar[str]
    level: ClassVar[Level]

    @property
    def schema(self) -> Schema:
        """What a row must have."""
        return Schema(level=self.level)

    @property
    def estimator_type(self) -> Literal["classifier", "regressor"] | None:
        """What sklearn's splitters may take this for; None where its targets are none that sklearn knows."""
        return None

    @abstractmethod
    def learn(self, examples: Examples, labels: Sequence[Label] | None) -> tuple[LabelSpace, list[str]]:
        """The labels of training rows, and what was inferred of them, in words."""

    @abstractmethod
    def prepare(self, backbone: Backbone, inputs: Sequence[Any], size: WindowSize) -> Prepared:
        """Rows as windows of token ids; nothing of them is left out without being counted."""

    @abstractmethod
    def gold(self, examples: Examples, space: LabelSpace) -> tuple[list[Array], dict[str, int]]:
        """Targets as numbers, one array a row, all faults at once; and what had to be repaired, counted.

        Needs no backbone, so that a fault is told before one is loaded.
        """

    def unit_targets(self, gold: Sequence[Array], items: Sequence[Item]) -> list[Array]:
        """The targets of the units that have a score: all of them, but for words without a token."""
        return [g if item.words is None else g[item.words] for g, item in zip(gold, items, strict=True)]

    def tune(self, space: LabelSpace, gold: Sequence[Array], scores: Sequence[Array]) -> LabelSpace:
        """What a task chooses on held-out rows after training (such as thresholds)."""
        return space

    @abstractmethod
    def decode(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> list[Array]:
        """Predictions as numbers, of the form of `gold`."""

    @abstractmethod
    def for_metrics(self, numbers: Sequence[Array], space: LabelSpace) -> Any:
        """Gold or predicted numbers in the form that the metrics take."""

    @abstractmethod
    def as_given(self, numbers: Sequence[Array], scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        """Predictions in the form that the targets had."""

    @abstractmethod
    def probabilities(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        """Probabilities in the order of the labels."""


def together(rows: Sequence[Array], width: int) -> Array:
    """The rows' arrays as one: (rows, width), also where there is no row at all."""
    return np.concatenate(rows) if len(rows) else np.zeros((0, width))


def softmax(scores: Array) -> Array:
    """Probabilities of mutually exclusive labels, in float64."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
