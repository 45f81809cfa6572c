"""Which rows are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nlptl.data.examples import TargetForm
from nlptl.errors import DataError, Fault, OptionError


def draw(
    count: int,
    fraction: float,
    *,
    seed: int,
    stratify: Sequence[Any] | None,
    labels: Sequence[set[Any]] = (),
) -> tuple[list[int], str]:
    """The rows of the smaller part, in order, and what to tell of them.

    Every label keeps its share; what rounding leaves over goes to the labels with the largest
    remainders. The last row of a label is never taken, for nothing could be learnt of it then;
    where rows have several ``labels`` each, that much holds for them too.
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
    if stratify is not None and sum(sizes) < wanted and _have_fractions(stratify):
        return draw(count, fraction, seed=seed, stratify=None)  # numbers of which no two are equal have no shares
    held = [int(row) for rows, size in zip(groups.values(), sizes, strict=True) for row in rng.permutation(rows)[:size]]
    if labels:
        held = _spare_the_last(held, labels) or held
    note = f"{len(held)} of {count} rows held out for eval, seed {seed}"
    if stratify is None:
        return sorted(held), note
    absent = sum(size == 0 for size in sizes)
    told = f"; {absent} of {len(groups)} labels have too few rows to be among them" if absent else ""
    return sorted(held), f"{note}, stratified{told}"


def labels_of(targets: Sequence[Any] | None, form: TargetForm) -> list[set[Any]]:
    """The labels of each row, where a row can have several: lists, 0/1 columns, or types of entities."""
    if form == "lists":
        return [set(row) for row in targets or ()]
    if form == "indicator":
        return [{column for column, there in enumerate(row) if there} for row in targets or ()]
    if form == "tags":
        return [{tag.partition("-")[2] for tag in row} - {""} for row in targets or ()]
    return [{span.label for span in row} for row in targets or ()] if form == "spans" else []


def _spare_the_last(held: Sequence[int], labels: Sequence[set[Any]]) -> list[int]:
    """The rows to hold out, but for those with a label that no other row would be left to teach."""
    out = set(held)
    taught = {label for row, own in enumerate(labels) if row not in out for label in own}
    kept = []
    for row in held:
        if labels[row] <= taught:
            kept.append(row)
        else:
            taught |= labels[row]
    return kept


def _have_fractions(values: Sequence[Any]) -> bool:
    return any(isinstance(value, float) and not value.is_integer() for value in values)


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
