"""Rows as the engine sees them: windows of token ids, and the units in them that get a score.

The engine knows neither labels nor tasks. A row is one or more *windows* (framed token ids that fit the model) and has
*units*: the things that get one row of logits each. A text is its own single unit, scored by the mean of its windows'
logits; a sentence to be tagged has one unit a word, scored at the word's first token in the window that shows the most
of its surroundings. Everything above and below this sentence (batching, the loss, prediction) is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Item:
    """One row, ready for the model.

    Parameters
    ----------
    windows : token ids with special tokens, at least one window
    types : token type ids of each window, where the model reads them (text pairs)
    units : (units, 2) window and position of each unit; None where the row itself is the unit
    words : (units,) which word of the sentence each unit is; a word without a token has no unit
    n_words : how many words the sentence has
    """

    windows: tuple[IntArray, ...]
    types: tuple[IntArray, ...] | None = None
    units: IntArray | None = None
    words: IntArray | None = None
    n_words: int = 0

    @property
    def longest(self) -> int:
        return max(len(w) for w in self.windows)

    @property
    def tokens(self) -> int:
        return sum(len(w) for w in self.windows)

    @property
    def n_units(self) -> int:
        return 1 if self.units is None else len(self.units)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some items as tensors; `rows` says which item each window belongs to.

    Parameters
    ----------
    ids, mask : (windows, tokens)
    types : (windows, tokens) or None
    rows : (windows,)
    n_items : number of items
    unit_windows, unit_positions : (units,) or None, in the order of the items
    """

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor | None
    rows: torch.Tensor
    n_items: int
    unit_windows: torch.Tensor | None
    unit_positions: torch.Tensor | None

    def to(self, device: Any) -> Batch:
        def moved(t: torch.Tensor | None) -> torch.Tensor | None:
            return None if t is None else t.to(device, non_blocking=True)

        return Batch(
            self.ids.to(device, non_blocking=True),
            self.mask.to(device, non_blocking=True),
            moved(self.types),
            self.rows.to(device, non_blocking=True),
            self.n_items,
            moved(self.unit_windows),
            moved(self.unit_positions),
        )

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """The keyword arguments of a transformers model."""
        given = {"input_ids": self.ids, "attention_mask": self.mask}
        return given if self.types is None else {**given, "token_type_ids": self.types}


def collate(items: Sequence[Item], pad_id: int) -> Batch:
    """Items padded on the right to their longest window."""
    windows = [w for item in items for w in item.windows]
    width = max(len(w) for w in windows)
    ids = np.full((len(windows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(windows), width), dtype=np.int64)
    for i, window in enumerate(windows):
        ids[i, : len(window)] = window
        mask[i, : len(window)] = 1
    rows = np.repeat(np.arange(len(items)), [len(item.windows) for item in items])
    types = None
    if items[0].types is not None:
        types = np.zeros_like(ids)
        for i, kind in enumerate(k for item in items for k in item.types or ()):
            types[i, : len(kind)] = kind
    unit_windows, unit_positions = _units(items)
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        None if types is None else torch.from_numpy(types),
        torch.from_numpy(rows),
        len(items),
        unit_windows,
        unit_positions,
    )


def _units(items: Sequence[Item]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if items[0].units is None:
        return None, None
    first_window = np.cumsum([0] + [len(item.windows) for item in items[:-1]])
    pairs = [
        item.units + np.array([start, 0])
        for item, start in zip(items, first_window, strict=True)
        if item.units is not None and len(item.units)
    ]
    flat = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
    return torch.from_numpy(flat[:, 0].copy()), torch.from_numpy(flat[:, 1].copy())
