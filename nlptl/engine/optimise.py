"""Optimisers and the learning rate as plain functions of the step, so that a resumed run needs no state for them."""

from __future__ import annotations

import math
from typing import Any

import torch

from nlptl.engine.options import TrainingOptions
from nlptl.engine.sharding import local

#: With fewer steps than this a small data set is under-trained, whatever its number of epochs.
MIN_STEPS = 100
MAX_EPOCHS = 10
DEFAULT_EPOCHS = 3.0


def total_steps(options: TrainingOptions, n_rows: int) -> int:
    """How many optimiser steps the options ask for."""
    a_pass = math.ceil(n_rows / options.batch_size)
    if options.steps is not None:
        return options.steps
    if isinstance(options.epochs, str):
        passes = min(max(DEFAULT_EPOCHS, math.ceil(MIN_STEPS / a_pass)), MAX_EPOCHS)
        return int(passes * a_pass)
    return max(1, round(options.epochs * a_pass))


def learning_rate_at(step: int, total: int, options: TrainingOptions, peak: float) -> float:
    """The rate of the optimiser step number `step`, counted from 0."""
    warm = math.ceil(options.warmup * total) if options.warmup < 1 else int(options.warmup)
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    done = (step - warm) / max(1, total - warm)
    if options.schedule == "linear":
        return peak * max(0.0, 1.0 - done)
    if options.schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return peak


def build_optimizer(model: Any, options: TrainingOptions, peak: float, device: torch.device) -> torch.optim.Optimizer:
    """The named optimiser over the weights that learn, in two groups: with and without weight decay."""
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in learning if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for _, p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    fused = {"fused": True} if device.type in ("cpu", "cuda") else {}
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=peak, **fused)
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=peak, **fused)
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=peak, momentum=0.9, **fused)
    return torch.optim.RMSprop(groups, lr=peak)


def penalty(model: Any, options: TrainingOptions) -> torch.Tensor | None:
    """L1 and L2 on the weights that learn; None where neither is asked for.

    Of a spread model each process penalises its own share, whose gradient is not averaged over the processes.
    """
    if not (options.l1 or options.l2):
        return None
    total: torch.Tensor | None = None
    for weight in (local(p) for p in model.parameters() if p.requires_grad):
        part = options.l1 * weight.abs().sum() + options.l2 * weight.square().sum()
        total = part if total is None else total + part
    return total
