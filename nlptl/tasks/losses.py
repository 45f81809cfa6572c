"""The loss of each unit, by problem; the loop weighs and averages them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nlptl.data.labels import LabelSpace
from nlptl.engine.options import TrainingOptions
from nlptl.engine.train import Loss
from nlptl.errors import Faults, OptionError

FloatArray = npt.NDArray[np.float64]


def make_loss(space: LabelSpace, options: TrainingOptions, label_weights: FloatArray | None) -> Loss:
    """The loss of one unit; `label_weights` are those of the positive class where there are several labels."""
    if space.problem == "regression":
        _refuse_for_numbers(options)
        return lambda logits, targets: F.mse_loss(logits[:, 0], targets.to(logits.dtype), reduction="none")
    if space.problem == "multi":
        return _several_labels(options, label_weights)
    return _one_label(options)


def label_weights(targets: Sequence[npt.NDArray[Any]], space: LabelSpace, wanted: Any) -> FloatArray | None:
    """One weight a label from `class_weight=`; None where none is asked for."""
    if wanted is None:
        return None
    if space.problem == "regression":
        raise OptionError(
            f"class_weight={wanted!r}: received it for numbers, which have no classes; expected None; use sample_weight"
        )
    if isinstance(wanted, Mapping):
        return _given_weights(wanted, space)
    flat = np.concatenate(targets) if targets else np.zeros(0)
    if space.problem == "multi":
        there = flat.reshape(-1, len(space)).sum(0)
        rows = len(flat.reshape(-1, len(space)))
        return np.asarray((rows - there) / np.maximum(there, 1), dtype=np.float64)
    counts = np.bincount(flat.astype(np.int64), minlength=len(space))
    weights = len(flat) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0.0)


def _one_label(options: TrainingOptions) -> Loss:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        plain = F.cross_entropy(logits, targets, reduction="none", label_smoothing=options.label_smoothing)
        if not options.focal_gamma:
            return plain
        sure = logits.softmax(-1).gather(1, targets[:, None])[:, 0]
        return plain * (1 - sure) ** options.focal_gamma

    return loss


def _several_labels(options: TrainingOptions, positive: FloatArray | None) -> Loss:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        targets = targets.to(logits.dtype)
        smooth = targets * (1 - options.label_smoothing) + options.label_smoothing / 2
        weight = None if positive is None else torch.as_tensor(positive, dtype=logits.dtype, device=logits.device)
        plain = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none", pos_weight=weight)
        if options.focal_gamma:
            sure = torch.where(targets > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
            plain = plain * (1 - sure) ** options.focal_gamma
        return plain.mean(1)

    return loss


def _refuse_for_numbers(options: TrainingOptions) -> None:
    faults = Faults()
    for name in ("label_smoothing", "focal_gamma"):
        if getattr(options, name):
            faults.add(f"{name}={getattr(options, name)} for numbers", "0", "leave it out: the loss is MSE")
    faults.raise_if_any(OptionError)


def _given_weights(wanted: Mapping[Any, float], space: LabelSpace) -> FloatArray:
    weights = np.ones(len(space))
    faults = Faults()
    names = {name: i for i, name in enumerate(space.names)}
    for label, weight in wanted.items():
        index = space.find(label)
        index = names.get(str(label)) if index is None else index
        if index is None:
            faults.extend([space.unknown(label, "class_weight=…")])
        else:
            weights[index] = weight
    faults.raise_if_any(OptionError)
    return weights
