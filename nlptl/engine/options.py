"""The options of a training run, shared by every mode that moves weights; each says what it is for."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nlptl.errors import Faults, OptionError, did_you_mean, listing

SCHEDULES = ("linear", "cosine", "constant")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")


@dataclass(frozen=True)
class TrainingOptions:
    """What every gradient mode can be told.

    Parameters
    ----------
    epochs : passes over the training rows; "auto" is 3, and more where 3 would be under 100 steps (at most 10)
    steps : optimiser steps, instead of epochs
    batch_size : rows an optimiser step, over all processes
    learning_rate : the peak; "auto" is the mode's own, scaled by the backbone's width
    schedule : "linear" or "cosine" to zero, or "constant", after the warm-up
    warmup : below 1 a share of the steps, else a number of steps
    weight_decay : decoupled for "adamw", added to the gradient for the others; never on biases and norms
    optimizer : "adamw", "adam", "sgd" (momentum 0.9), "rmsprop"
    l1, l2 : penalties on the weights that learn, added to the loss
    dropout : the backbone's and head's dropout; None keeps the checkpoint's own
    clip : largest norm of the gradient; None does not clip
    label_smoothing : mass spread over the other labels (single label and NER)
    class_weight : None, "balanced", or a weight a label
    focal_gamma : focal loss; 0 is plain cross-entropy
    patience : stop after so many evaluations without a better `monitor`, and restore the best; needs `eval`
    monitor : "auto" is the task's first metric; else any metric's name, such as "log_loss" or "macro_f1"
    max_length : tokens a window, special tokens counted; None is what the backbone holds
    stride : tokens that neighbouring windows share; None is a quarter of a window
    checkpoint_steps : write a checkpoint every so many steps, beside those at the end of each epoch; needs `run_dir`
    checkpoint_minutes : and every so many minutes; None writes none by the clock; needs `run_dir`
    checkpoints_kept : how many of the newest checkpoints stay; needs `run_dir`
    """

    epochs: float | str = "auto"
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float | str = "auto"
    schedule: str = "linear"
    warmup: float = 0.06
    weight_decay: float = 0.01
    optimizer: str = "adamw"
    l1: float = 0.0
    l2: float = 0.0
    dropout: float | None = None
    clip: float | None = 1.0
    label_smoothing: float = 0.0
    class_weight: str | Mapping[Any, float] | None = None
    focal_gamma: float = 0.0
    patience: int | None = None
    monitor: str = "auto"
    max_length: int | None = None
    stride: int | None = None
    checkpoint_steps: int | None = None
    checkpoint_minutes: float | None = 10.0
    checkpoints_kept: int = 2

    def __post_init__(self) -> None:
        faults = Faults()
        for f in fields(self):
            if f.name in _RANGES:
                _check(faults, f"{type(self).__name__}({f.name}=…)", getattr(self, f.name), *_RANGES[f.name])
        for name, known in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            value = getattr(self, name)
            if value not in known:
                faults.add(
                    repr(value),
                    f"one of {listing(known)}",
                    f"choose one.{did_you_mean(str(value), known)}",
                    f"{name}=…",
                )
        if self.class_weight not in (None, "balanced") and not isinstance(self.class_weight, Mapping):
            faults.add(
                repr(self.class_weight),
                "None, 'balanced' or a weight a label",
                "write it as {label: weight}",
                "class_weight=…",
            )
        if self.monitor != "auto" and self.patience is None:
            faults.add(
                f"{self.monitor!r} without patience",
                "patience=… with it",
                "give patience, or leave it out",
                "monitor=…",
            )
        if self.steps is not None and self.epochs != "auto":
            faults.add(
                f"steps={self.steps} and epochs={self.epochs}", "one of the two", "leave the other out", "steps=…"
            )
        faults.raise_if_any(OptionError)

    def identity(self) -> dict[str, Any]:
        """What makes a run the one it is: every option, but for those that only say when a checkpoint is written."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in CHECKPOINTING}
        plain = {name: v.item() if hasattr(v, "item") else v for name, v in values.items()}  # grids hold numpy scalars
        return {name: v if isinstance(v, str | int | float | None) else repr(v) for name, v in plain.items()}

    def check_without_run(self) -> None:
        """Refuse what was said of checkpoints where there is no place for any."""
        said = [f for f in fields(TrainingOptions) if f.name in CHECKPOINTING and getattr(self, f.name) != f.default]
        faults = Faults()
        for f in said:
            faults.add(
                f"{f.name}={getattr(self, f.name)!r} without run_dir", "a folder to write checkpoints in",
                "give fit(…, run_dir=…), or leave it out", f"{type(self).__name__}({f.name}=…)",
            )  # fmt: skip
        faults.raise_if_any(OptionError)


#: Options that change nothing of what is learnt.
CHECKPOINTING = ("checkpoint_steps", "checkpoint_minutes", "checkpoints_kept")

#: name -> (lowest, highest, whole number, also allowed)
_RANGES: dict[str, tuple[float, float, bool, tuple[Any, ...]]] = {
    "epochs": (1e-6, 1e6, False, ("auto",)),
    "steps": (1, 1e9, True, (None,)),
    "batch_size": (1, 1e6, True, ()),
    "learning_rate": (0.0, 1e3, False, ("auto",)),
    "warmup": (0.0, 1e9, False, ()),
    "weight_decay": (0.0, 1e3, False, ()),
    "l1": (0.0, 1e3, False, ()),
    "l2": (0.0, 1e3, False, ()),
    "dropout": (0.0, 0.999, False, (None,)),
    "clip": (1e-9, 1e9, False, (None,)),
    "label_smoothing": (0.0, 0.999, False, ()),
    "focal_gamma": (0.0, 100.0, False, ()),
    "patience": (1, 1e6, True, (None,)),
    "max_length": (4, 1e9, True, (None,)),
    "stride": (0, 1e9, True, (None,)),
    "checkpoint_steps": (1, 1e9, True, (None,)),
    "checkpoint_minutes": (1e-3, 1e6, False, (None,)),
    "checkpoints_kept": (1, 1e6, True, ()),
}


def _check(faults: Faults, where: str, value: Any, low: float, high: float, whole: bool, also: tuple[Any, ...]) -> None:
    if any(value is a or (isinstance(a, str) and value == a) for a in also):
        return
    kind_of = numbers.Integral if whole else numbers.Real  # numpy's scalars too, as grids hold them
    if isinstance(value, bool) or not isinstance(value, kind_of) or not low <= float(value) <= high:
        kind = "a whole number" if whole else "a number"
        extra = "".join(f", or {a!r}" for a in also)
        faults.add(repr(value), f"{kind} from {low:g} to {high:g}{extra}", "give one in that range", where)
