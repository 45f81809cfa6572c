"""What full fine-tuning and LoRA share: a transformers model with its own head, moved by the one loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlptl.backbones import Backbone, Opened
from nlptl.data.labels import LabelSpace
from nlptl.engine.items import Item
from nlptl.engine.optimise import total_steps
from nlptl.engine.options import TrainingOptions
from nlptl.engine.predict import score
from nlptl.engine.prefix import recalled_prefix
from nlptl.engine.runtime import Runtime
from nlptl.engine.train import Training, TrainingRows, Validate
from nlptl.modes.base import Fitted, Job, Mode, held_out_metrics, window_of
from nlptl.tasks.base import Array, Task, WindowSize
from nlptl.tasks.losses import label_weights, make_loss


@dataclass(frozen=True)
class Gradient(TrainingOptions, Mode):
    """A mode that moves weights.

    Parameters
    ----------
    bidirectional : let a decoder see the words to the right as well
    """

    bidirectional: bool = False

    @abstractmethod
    def adapt(self, opened: Opened, job: Job) -> tuple[Any, dict[str, str]]:
        """The model with only those weights learning that this mode moves, and what was chosen for it."""

    @abstractmethod
    def finish(self, model: Any, job: Job) -> Any:
        """The trained model in the form in which it is kept and used."""

    @abstractmethod
    def default_rate(self, width: int) -> float:
        """The learning rate of "auto" for a backbone of this width."""

    @abstractmethod
    def fitted(self, backbone: Backbone, model: Any) -> Tuned:
        """What was learnt, around its model."""

    def window(self, backbone: Backbone) -> WindowSize:
        return window_of(self.max_length, self.stride, backbone.window)

    def open(self, backbone: Backbone, task: Task, space: LabelSpace, seed: int) -> Opened:
        """The backbone under transformers' own head for this task."""
        problem = "single" if space.problem == "spans" else space.problem
        return backbone.with_head(
            task.level, space.names, problem, seed=seed, dropout=self.dropout, bidirectional=self.bidirectional
        )

    def fit(self, job: Job) -> Fitted:
        opened = self.open(job.backbone, job.task, job.space, job.seed)
        model, choices = self.adapt(opened, job)
        peak = self.peak(job.backbone)
        targets = job.task.unit_targets(job.gold, job.prepared.items)
        weights = label_weights(targets, job.space, self.class_weight)
        fitted = self.fitted(job.backbone, model)
        validate: Validate | None = None if job.held is None else lambda: held_out_metrics(job, fitted)
        training = Training(
            model,
            TrainingRows(job.prepared.items, targets, job.unit_weights(weights), job.numbers, job.source),
            make_loss(job.space, self, weights),
            self,
            job.runtime,
            seed=job.seed,
            peak=peak,
            pad_id=job.backbone.pad_id,
            validate=validate,
            checkpoints=job.checkpoints,
        )
        passes = training.total * self.batch_size / len(job.prepared.items)
        with recalled_prefix(
            model, job.backbone.family, job.prepared.items, job.runtime, pad_id=job.backbone.pad_id, passes=passes
        ) as prefix:
            fitted.history = training.run(resume=job.resume)
        fitted.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        fitted.total = sum(p.numel() for p in model.parameters())
        fitted.model = self.finish(model, job)
        fitted.notes = list(opened.notes)
        steps = total_steps(self, len(job.prepared.items))
        fitted.choices = {
            "learning_rate": f"{peak:.3g}",
            "steps": f"{training.at.step} of {steps}" if training.at.step < steps else str(steps),
            "epochs": f"{training.at.step / training.a_pass:.3g}",
            "batch_size": str(self.batch_size),
            **training.kernels,
            **choices,
            **prefix,
        }
        if training.batch_tokens < job.runtime.batch_tokens:
            asked = job.runtime.batch_tokens
            fitted.choices["batch_tokens"] = f"{training.batch_tokens} ({asked} ran out of memory)"
        return fitted

    def peak(self, backbone: Backbone) -> float:
        """The highest learning rate: the one given, or this mode's own for the backbone's width."""
        if isinstance(self.learning_rate, str):
            return self.default_rate(backbone.width)
        return self.learning_rate


@dataclass
class Tuned(Fitted):
    """A trained transformers model (or a peft model around one)."""

    model: Any = None
    trainable: int = 0
    total: int = 0

    def scores(self, items: Sequence[Item], runtime: Runtime) -> list[Array]:
        return [np.asarray(s) for s in score(self.model, items, runtime, pad_id=self.backbone.pad_id)]

    @property
    def parameters(self) -> tuple[int, int]:
        return self.trainable, self.total
