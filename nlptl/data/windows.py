"""How a text longer than the model's window is cut, and which window answers for each place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nlptl.errors import Fault, OptionError

Window = tuple[int, int]


def plan(length: int, size: int, stride: int) -> list[Window]:
    """Windows of at most ``size`` that together cover ``0..length``.

    Parameters
    ----------
    length : int
        How many tokens there are. No token at all still makes one (empty) window.
    size : int
        How many of them one window holds.
    stride : int
        How many tokens a window has in common with the one before it, at the least: the last
        window is moved back to be full, since context that costs nothing is worth having.
    """
    _check(size, stride)
    if length <= size:
        return [(0, length)]
    starts = [*range(0, length - size, size - stride), length - size]
    return [(start, start + size) for start in starts]


def plan_words(piece_counts: Sequence[int], size: int, stride: int) -> list[Window]:
    """Windows as ranges of whole words, for words of ``piece_counts`` pieces each.

    No word is cut between two windows. A word of more than ``size`` pieces counts as ``size``
    of them, for the caller keeps its first ones; `oversized` counts such words.
    """
    _check(size, stride)
    costs = [min(count, size) for count in piece_counts]
    windows: list[Window] = []
    start, end = 0, _fill(costs, 0, size)
    while end < len(costs):
        windows.append((start, end))
        start = _step_back(costs, first=start + 1, end=end, shared=min(stride, size - costs[end]))
        end = _fill(costs, start, size)
    if windows:  # the last one is moved back to be full, as in `plan`
        used = sum(costs[start:end])
        start = _step_back(costs, first=windows[-1][0] + 1, end=start, shared=size - used)
    return [*windows, (start, end)]


def oversized(piece_counts: Sequence[int], size: int) -> int:
    """How many words have more pieces than a window holds, and so lose their tails."""
    return sum(count > size for count in piece_counts)


def owner(windows: Sequence[Window], position: int) -> int:
    """The window in which a position sees most context on its poorer side; of equals, the earlier."""
    holding = [(i, window) for i, window in enumerate(windows) if window[0] <= position < window[1]]
    if not holding:
        raise IndexError(f"position {position} lies in none of the {len(windows)} windows")
    # At the text's own edge nothing is missing, but a window that ends there is the richer on that side anyway.
    return max(holding, key=lambda w: (min(position - w[1][0], w[1][1] - 1 - position), -w[0]))[0]


def owners(windows: Sequence[Window]) -> NDArray[np.intp]:
    """`owner` of every position at once.

    Returns
    -------
    owners : ndarray (length,)
    """
    length = windows[-1][1]
    best = np.full(length, -1, dtype=np.intp)
    found = np.zeros(length, dtype=np.intp)
    for index, (start, end) in enumerate(windows):
        position = np.arange(start, end)
        context = np.minimum(position - start, end - 1 - position)
        better = context > best[start:end]
        best[start:end][better] = context[better]
        found[start:end][better] = index
    return found


def _fill(costs: Sequence[int], start: int, size: int) -> int:
    """The end of the longest run of words from ``start`` that fits into ``size`` pieces."""
    end, used = start, 0
    while end < len(costs) and used + costs[end] <= size:
        used += costs[end]
        end += 1
    return end


def _step_back(costs: Sequence[int], first: int, end: int, shared: int) -> int:
    """The earliest start, not before ``first``, with at most ``shared`` pieces before ``end``."""
    start, used = end, 0
    while start > first and used + costs[start - 1] <= shared:
        start -= 1
        used += costs[start]
    return start


def _check(size: int, stride: int) -> None:
    if size < 1 or not 0 <= stride < size:
        raise OptionError(
            Fault(
                f"windows of {size} tokens that share {stride}",
                "a size of 1 or more and a stride from 0 up to, not including, the size",
                "lower `stride` or raise `max_length`",
            )
        )
