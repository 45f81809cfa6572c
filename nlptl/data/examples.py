"""What every input becomes: rows that know where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Level = Literal["sequence", "token"]
TargetForm = Literal["scalar", "lists", "indicator", "tags", "spans", "none"]
Inputs = list[str] | list[tuple[str, str]] | list[list[str]]


@dataclass(frozen=True)
class Schema:
    """What a task needs of a row: one answer for the whole text, or one for each word."""

    level: Level


@dataclass(frozen=True)
class Origin:
    """Where rows come from, as an error message tells it."""

    name: str
    """The file, or the argument."""
    rows: Sequence[int]
    """The number of each row at that place: of a file's line, or of a list's item."""
    style: str = "{name}[{row}]"
    """How a place is written: ``X[3]``, ``reviews.csv, row 7``."""

    def where(self, i: int) -> str:
        """The place of row ``i``, such as ``reviews.csv, row 7`` or ``X[3]``."""
        return self.style.format(name=self.name, row=self.rows[i])

    def take(self, indices: Sequence[int]) -> Origin:
        """The places of some rows."""
        return replace(self, rows=[self.rows[i] for i in indices])


@dataclass(frozen=True)
class Examples:
    """Checked rows."""

    inputs: Inputs
    """Texts, pairs of texts, or lists of words."""
    targets: list[Any] | None
    """As given: a scalar, a list of labels, a 0/1 row, a list of tags, or a list of `Span`."""
    weights: list[float] | None
    origin: Origin
    columns: dict[str, str] = field(default_factory=dict)
    """Role -> the column it was read from; empty for lists."""
    notes: tuple[str, ...] = ()
    """What was inferred, in words."""
    target_form: TargetForm = "none"
    target_names: tuple[str, ...] | None = None
    """The names of the 0/1 columns, where the targets are such rows."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Sequence[int]) -> Examples:
        """Some of the rows, in the order asked for; they still know where they come from."""
        inputs: Any = [self.inputs[i] for i in indices]
        return replace(
            self,
            inputs=inputs,
            targets=None if self.targets is None else [self.targets[i] for i in indices],
            weights=None if self.weights is None else [self.weights[i] for i in indices],
            origin=self.origin.take(indices),
        )
