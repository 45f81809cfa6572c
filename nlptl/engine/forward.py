"""From a batch to one row of logits (or one vector) a unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from nlptl.engine.items import Batch

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def unit_logits(model: Any, batch: Batch) -> torch.Tensor:
    """Logits of each unit, in float32: (units, labels).

    A text of several windows gets the mean of its windows' logits, in training exactly as in inference.
    """
    logits = model(**batch.inputs).logits.float()
    return pick(logits, batch) if batch.unit_windows is not None else mean_windows(logits, batch)


def unit_vectors(encoder: Any, batch: Batch, pool: Pool, layer: int | None) -> torch.Tensor:
    """Frozen vectors of each unit, in float32: (units, width)."""
    if layer is None:
        hidden = encoder(**batch.inputs).last_hidden_state
    else:
        hidden = encoder(**batch.inputs, output_hidden_states=True).hidden_states[layer]
    if batch.unit_windows is not None:
        return pick(hidden, batch).float()
    # A short last window says less of a text than a full one: windows weigh by their tokens.
    return mean_windows(pool(hidden, batch.mask).float(), batch, batch.mask.sum(1).float())


def pick(per_token: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The rows at the units' positions: (windows, tokens, k) -> (units, k)."""
    return per_token[batch.unit_windows, batch.unit_positions]


def mean_windows(per_window: torch.Tensor, batch: Batch, weights: torch.Tensor | None = None) -> torch.Tensor:
    """The mean over the windows of each item: (windows, k) -> (items, k)."""
    if len(per_window) == batch.n_items:
        return per_window
    if weights is None:
        weights = torch.ones(len(per_window), device=per_window.device)
    total = per_window.new_zeros(batch.n_items, per_window.shape[1])
    total = total.index_add(0, batch.rows, per_window * weights[:, None])
    share = per_window.new_zeros(batch.n_items).index_add(0, batch.rows, weights)
    return total / share[:, None]
