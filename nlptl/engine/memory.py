"""Out of memory: what it looks like, and how rows are cut into smaller parts when it happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from nlptl.engine.batching import micro_batches
from nlptl.engine.items import Item
from nlptl.errors import TrainingError

T = TypeVar("T")

#: What libraries below torch say where torch itself would raise OutOfMemoryError.
_SAID = ("CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a smaller batch might have passed."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)


def release(device: torch.device) -> None:
    """Give cached blocks back, so that smaller ones can be cut from them."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def padded_tokens(rows: Sequence[int], items: Sequence[Item]) -> int:
    """What a part of these rows weighs: its windows, each as wide as the widest."""
    return max(items[row].longest for row in rows) * sum(len(items[row].windows) for row in rows)


def smaller_budget(parts: Sequence[Sequence[int]], items: Sequence[Item], where: str) -> int:
    """Half of the largest part that can still be cut; where every part is one row, nothing is left to do."""
    weights = [padded_tokens(part, items) for part in parts if len(part) > 1]
    if not weights:
        longest = max(padded_tokens(part, items) for part in parts)
        raise TrainingError(
            f"{where}: received a row of {longest} padded tokens for which the memory does not suffice even alone; "
            "expected room for one row at a time; use a smaller max_length, Compute(precision='bf16'), mode='lora' or "
            "'frozen', a smaller backbone, or a device with more memory"
        )
    return max(1, max(weights) // 2)


def unless_out_of_memory(
    parts: Iterable[list[int]], items: Sequence[Item], work: Callable[[list[int]], T], device: torch.device
) -> Iterator[tuple[list[int], T]]:
    """Each part with what `work` makes of it; one that does not fit in memory is cut, and so are those to come."""
    todo, budget = deque(parts), None
    while todo:
        rows = todo.popleft()
        if budget is not None and len(rows) > 1 and padded_tokens(rows, items) > budget:
            todo.extendleft(reversed(list(micro_batches(rows, items, budget))))
            continue
        try:
            made = work(rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # What failed is tried again outside of this block: the error holds on to what it had computed.
        else:
            yield rows, made
            continue
        release(device)
        budget = smaller_budget([rows], items, "out of memory")
        todo.appendleft(rows)
