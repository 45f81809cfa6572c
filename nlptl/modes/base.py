"""What every mode answers. A mode is its options: an option that a mode has no use for cannot be given to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nlptl.backbones import Backbone
from nlptl.data.labels import LabelSpace
from nlptl.engine.checkpoint import Checkpoints
from nlptl.engine.items import Item
from nlptl.engine.runtime import Runtime
from nlptl.errors import OptionError
from nlptl.metrics import scores as metric_scores
from nlptl.tasks.base import Array, Prepared, Task, WindowSize


@dataclass(frozen=True)
class Held:
    """Rows held out, prepared once and scored many times."""

    prepared: Prepared
    gold: Sequence[Array]


@dataclass(frozen=True)
class Job:
    """All that a mode needs to learn."""

    backbone: Backbone
    task: Task
    space: LabelSpace
    prepared: Prepared
    gold: Sequence[Array]
    weights: Sequence[float] | None
    held: Held | None
    runtime: Runtime
    seed: int
    checkpoints: Checkpoints | None = None
    resume: bool = False
    #: the number that each row has where the user has it, and the name of that place
    numbers: Sequence[int] | None = None
    source: str = "the training rows"

    def unit_weights(self, label_weights: Array | None) -> list[Array]:
        """The weight of each unit: of its row, times that of its label."""
        rows = [1.0] * len(self.gold) if self.weights is None else self.weights
        targets = self.task.unit_targets(self.gold, self.prepared.items)
        if label_weights is None or self.space.problem == "multi":
            # A row of several labels carries its label weights inside the loss.
            return [np.full(item.n_units, w) for item, w in zip(self.prepared.items, rows, strict=True)]
        return [label_weights[t] * w for t, w in zip(targets, rows, strict=True)]


@dataclass
class Fitted(ABC):
    """What was learnt: it scores units, and writes itself into a folder."""

    backbone: Backbone
    history: list[dict[str, float]] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @abstractmethod
    def scores(self, items: Sequence[Item], runtime: Runtime) -> list[Array]:
        """Logits, or log-probabilities, of each row's units."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[int, int]:
        """How many learn or learnt, and how many there are."""

    @abstractmethod
    def write(self, folder: Path) -> dict[str, Any]:
        """Save what was learnt into an empty folder; returns what `Mode.read` wants to know beside it."""


@dataclass(frozen=True)
class Mode(ABC):
    """What moves. Knows neither which task nor which data."""

    name: ClassVar[str]

    @abstractmethod
    def fit(self, job: Job) -> Fitted:
        """Learn from the rows of a job."""

    @abstractmethod
    def window(self, backbone: Backbone) -> WindowSize:
        """How long texts are cut for this mode."""

    def as_fitted(self, fitted: Fitted) -> Mode:
        """The mode with what only the fitted parts of a loaded learner still show; most say it all by themselves."""
        return self

    @abstractmethod
    def read(self, folder: Path, kept: dict[str, Any], backbone: Backbone, task: Task, space: LabelSpace) -> Fitted:
        """What `Fitted.write` wrote."""


#: A window of fewer tokens has hardly room for a word between its special tokens.
SHORTEST = 8


def window_of(asked: int | None, stride: int | None, longest: int) -> WindowSize:
    """The window that was asked for, checked against what the backbone holds."""
    length = longest if asked is None else asked
    if length > longest:
        raise OptionError(
            f"max_length={length}: received more tokens than the backbone holds; expected at most {longest}; "
            "leave it out: longer texts are windowed"
        )
    if length < SHORTEST:
        raise OptionError(
            f"max_length={length}: received too few tokens for a text between its special tokens; expected at least "
            f"{SHORTEST}; leave it out: longer texts are windowed"
        )
    shared = length // 4 if stride is None else stride
    if shared >= length - 2:
        raise OptionError(
            f"stride={shared}: received as many shared tokens as a window has room for; expected fewer than "
            f"{length - 2}; leave it out for a quarter of a window"
        )
    return WindowSize(length, shared)


def held_out_metrics(job: Job, fitted: Fitted) -> dict[str, float]:
    """Metrics on the held-out rows, the task's first one in front."""
    if job.held is None:
        return {}
    scored = fitted.scores(job.held.prepared.items, job.runtime)
    predicted = job.task.decode(scored, job.held.prepared, job.space)
    chances = None
    if job.space.problem in ("single", "multi"):
        chances = job.task.probabilities(scored, job.held.prepared, job.space)
    return metric_scores(
        job.space.problem,
        job.task.for_metrics(job.held.gold, job.space),
        job.task.for_metrics(predicted, job.space),
        labels=job.space.reported or None,
        probabilities=chances,
    )
