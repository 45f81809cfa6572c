"""CoNLL: one word a line, its tag in the last column; an empty line ends a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from nlptl.data.examples import Origin
from nlptl.data.table import Table, chunks
from nlptl.errors import DataError, Faults

Sentence = tuple[int, list[str], list[str]]
"""The number of its first line, its words and its tags."""

_TAG = re.compile(r"O|[BIESLU]-\S+")


def read_conll(lines: Iterable[str], name: str, size: int | None) -> Iterator[Table]:
    """The sentences, each placed at its first line."""
    faults = Faults()
    tagged: list[bool] = []  # whether lines have tags: the first one says it for all
    for part in chunks(_sentences(lines, name, tagged, faults), size):
        faults.raise_if_any(DataError)
        columns: dict[str, list[Any]] = {"tokens": [words for _, words, _ in part]}
        if tagged != [False]:
            columns["tags"] = [tags for _, _, tags in part]
        yield Table(columns, Origin(name, [number for number, _, _ in part], "{name}, line {row}"))


def _sentences(lines: Iterable[str], name: str, tagged: list[bool], faults: Faults) -> Iterator[Sentence]:
    current: Sentence | None = None
    for number, line in enumerate(lines, 1):
        parts = _cells(line)
        if not parts or parts[0] == "-DOCSTART-":
            if current is not None:
                yield current
            current = None
            continue
        if parts[0].startswith("#") and not _TAG.fullmatch(parts[-1]):
            continue
        if not tagged:
            tagged.append(len(parts) > 1)
        if tagged != [len(parts) > 1]:
            faults.add(
                f"the line {line.strip()!r}",
                "as many columns as in the other lines: a word first, its tag last",
                "add the tag, or empty the line if a sentence ends here",
                f"{name}, line {number}",
            )
        current = current or (number, [], [])
        current[1].append(parts[0])
        current[2].append(parts[-1] if len(parts) > 1 else "")
    if current is not None:
        yield current


def _cells(line: str) -> list[str]:
    """The columns of a line; of white space only tabs and spaces part them, for others may stand in a word."""
    bare = line.strip(" \t\r\n") if line.strip() else ""
    return bare.split("\t") if "\t" in bare else [cell for cell in bare.split(" ") if cell]
