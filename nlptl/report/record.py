"""The record of a fit: what was read, what was chosen, what was counted, how training went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nlptl.report.page import record_page
from nlptl.report.plain import plain


@dataclass
class Record(Mapping[str, Any]):
    """What `fit` leaves behind, to be read (``print``), looked up (``record["counts"]``) and saved as JSON.

    Parameters
    ----------
    data : dict
        Where the rows came from, how many there were, which columns and labels were found.
    choices : dict
        What was chosen for the user: precision, batch shape, kernels, pooling, tag scheme.
    counts : dict of int
        How many rows or words were truncated, windowed, repaired, dropped.
    training : dict
        Steps, losses, seconds, parameters.
    evaluation : dict
        The scores of the last evaluation, with their intervals, and the rows they are of.
    notes : list of str
        What was inferred or done, told in sentences.
    """

    data: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count; a count of 0 is kept too, for it tells that somebody looked."""
        self.counts[name] = self.counts.get(name, 0) + int(number)

    def note(self, *sentences: str) -> None:
        """Keep what the user should be told, once each."""
        self.notes.extend(s for s in dict.fromkeys(sentences) if s not in self.notes)

    def to_dict(self) -> dict[str, Any]:
        """The record in JSON's types."""
        return {name: plain(self[name]) for name in self}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Record:
        """The record that `to_dict` gave; sections that a later version may add are left aside."""
        return cls(**{f.name: saved[f.name] for f in fields(cls) if f.name in saved})

    def __getitem__(self, section: str) -> Any:
        if section not in set(self):
            raise KeyError(section)
        return getattr(self, section)

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in fields(self))

    def __len__(self) -> int:
        return len(fields(self))

    def __str__(self) -> str:
        return record_page(self.to_dict())
