"""Which rows are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nlptl.errors import DataError, Fault, OptionError


def draw(count: int, fraction: float, *, seed: int, stratify: Sequence[Any] | None) -> tuple[list[int], str]:
    """The rows of the smaller part, in order, and what to tell of them.

    Every label keeps its share; what rounding leaves over goes to the labels with the largest
    remainders. The last row of a label is never taken, for nothing could be learnt of it then.
    """
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise OptionError(Fault(f"eval={fraction!r}", "a fraction between 0 and 1", "0.1 is usual"))
    if count < 2:
        raise DataError(Fault(f"{count} rows to split", "2 or more", "give more rows, or no eval"))
    rng = np.random.default_rng(seed)
    wanted = min(max(1, round(count * fraction)), count - 1)
    groups: dict[Any, list[int]] = {}
    for row in range(count):
        groups.setdefault(None if stratify is None else stratify[row], []).append(row)
    sizes = _shares([len(rows) for rows in groups.values()], wanted, count)
    held = [int(row) for rows, size in zip(groups.values(), sizes, strict=True) for row in rng.permutation(rows)[:size]]
    note = f"{len(held)} of {count} rows held out for eval, seed {seed}"
    if stratify is None:
        return sorted(held), note
    absent = sum(size == 0 for size in sizes)
    told = f"; {absent} of {len(groups)} labels have too few rows to be among them" if absent else ""
    return sorted(held), f"{note}, stratified{told}"


def _shares(sizes: Sequence[int], wanted: int, count: int) -> list[int]:
    """How many of each group: its share, by largest remainder, and at least one of it left."""
    exact = [size * wanted / count for size in sizes]
    shares = [int(share) for share in exact]  # less than the group, for less than all is wanted
    by_remainder = sorted(range(len(sizes)), key=lambda g: (int(exact[g]) - exact[g], g))
    for group in by_remainder * 2:  # a second round, where groups of one row could not give theirs
        if sum(shares) < wanted and shares[group] < sizes[group] - 1:
            shares[group] += 1
    # Where every label has a single row, something must be held out all the same.
    if not any(shares):
        shares[int(np.argmax(sizes))] = 1
    return shares
