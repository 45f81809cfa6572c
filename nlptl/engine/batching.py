"""Which rows go together: deterministic plans of batches, made from lengths alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nlptl.engine.items import Item

#: Batches drawn together and sorted by length; enough for little padding, few enough to stay well shuffled.
BATCHES_PER_POOL = 50

#: Padded tokens that one forward pass holds at once unless the user says otherwise. In float32 on a CPU, twice as many
#: no longer fit its caches and are slower.
DEFAULT_BATCH_TOKENS = 2048


def training_plan(items: Sequence[Item], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """One epoch of batches of exactly `batch_size` rows (the last may be smaller), alike rows together.

    Rows are shuffled, cut into pools, sorted by length within a pool and cut into batches, and the batches are
    shuffled: every row once an epoch, little padding, and the same plan for the same seed on every process.
    """
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(items))
    lengths = np.array([item.tokens for item in items])
    batches: list[list[int]] = []
    pool = batch_size * BATCHES_PER_POOL
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size].tolist() for i in range(0, len(part), batch_size)]
    return [batches[i] for i in draw.permutation(len(batches))]


def micro_batches(rows: Sequence[int], items: Sequence[Item], batch_tokens: int) -> Iterator[list[int]]:
    """One batch cut so that no part has more than `batch_tokens` padded tokens (a single row may)."""
    part: list[int] = []
    windows = widest = 0
    for row in sorted(rows, key=lambda r: items[r].longest):
        item = items[row]
        width, count = max(widest, item.longest), windows + len(item.windows)
        if part and width * count > batch_tokens:
            yield part
            part, width, count = [], item.longest, len(item.windows)
        part.append(row)
        windows, widest = count, width
    if part:
        yield part


def inference_plan(items: Sequence[Item], batch_tokens: int) -> list[list[int]]:
    """Every row once, longest first (the peak of memory comes at once, not at the end), by token budget."""
    return list(micro_batches(range(len(items)), items, batch_tokens))[::-1]
