"""Scores and vectors of many rows, batched by token budget, shared between processes, merged in order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nlptl.backbones import pool
from nlptl.engine.batching import inference_plan
from nlptl.engine.cache import Weights, fetch
from nlptl.engine.fast.rounded import rounded
from nlptl.engine.forward import unit_logits, unit_vectors
from nlptl.engine.items import Batch, Item, collate
from nlptl.engine.memory import unless_out_of_memory
from nlptl.engine.progress import Progress
from nlptl.engine.runtime import DTYPES, Runtime

FloatArray = npt.NDArray[np.float32]


def score(model: Any, items: Sequence[Item], runtime: Runtime, *, pad_id: int) -> list[FloatArray]:
    """Logits of each row's units: one array (units, labels) a row, in the order given."""
    with runtime.arithmetic():
        return _run(model, lambda batch: unit_logits(model, batch), items, runtime, pad_id, "predict")


def embed(
    encoder: Any,
    items: Sequence[Item],
    runtime: Runtime,
    *,
    pad_id: int,
    pooling: str,
    layer: int | None = None,
    weights: Weights | None = None,
) -> list[FloatArray]:
    """Frozen vectors of each row's units: one array (units, width) a row, in the order given.

    Parameters
    ----------
    weights : what the encoder's weights are known by; with it, vectors are taken from the cache and kept there
    """

    def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return pool(hidden, mask, pooling)

    def run(some: Sequence[Item]) -> list[FloatArray]:
        held = runtime.precision != "fp32" and runtime.compute.kernels == "auto"
        model = rounded(encoder, DTYPES[runtime.precision]) if held else encoder
        with contextlib.nullcontext() if held else runtime.arithmetic():
            return _run(model, lambda batch: unit_vectors(model, batch, pooled, layer), some, runtime, pad_id, "embed")

    return fetch(items, runtime, weights, {"layer": layer, "pooling": pooling}, run)


def _run(
    model: Any,
    forward: Callable[[Batch], torch.Tensor],
    items: Sequence[Item],
    runtime: Runtime,
    pad_id: int,
    what: str,
) -> list[FloatArray]:
    def scored(rows: list[int]) -> FloatArray:
        part = [items[row] for row in rows]
        if not any(item.n_units for item in part):  # sentences whose every word has no token
            return np.zeros((0, 1), dtype=np.float32)
        return np.asarray(forward(collate(part, pad_id).to(runtime.device)).float().cpu().numpy())

    runtime.place(model)
    training = bool(model.training)
    model.eval()
    mine: list[tuple[int, FloatArray]] = []
    try:
        with torch.inference_mode(), Progress(runtime, len(items), what) as progress:
            plan = runtime.mine(inference_plan(items, runtime.batch_tokens))
            for rows, out in unless_out_of_memory(plan, items, scored, runtime.device):
                ends = np.cumsum([items[row].n_units for row in rows])[:-1]
                mine += zip(rows, np.split(out, ends), strict=True)
                progress.step(len(rows) * runtime.world)
    finally:
        model.train(training)
    return runtime.merge(mine)
