"""CSV and TSV, read as strings: "NA" stays a text, and "01" a label."""

from __future__ import annotations

import csv
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from nlptl.data.decoding import open_text
from nlptl.data.examples import Origin
from nlptl.data.table import Table, chunks
from nlptl.errors import DataError, Fault, Faults, listing

Quoting = Literal[0, 3]
Record = tuple[int, list[str]]
"""A row's number and its fields."""


def read_delimited(path: Path, size: int | None) -> Iterator[Table]:
    """The rows below the header, numbered as a spreadsheet numbers them."""
    tab = path.suffix.lower() == ".tsv"
    with open_text(path, newline="") as lines:
        delimiter = "\t" if tab else _delimiter(lines.readline())
    notes = () if tab or delimiter == "," else (f"columns of {path.name} are separated by {delimiter!r}",)
    quoting: Quoting = csv.QUOTE_MINIMAL
    if tab and _quotes_are_characters(path):
        quoting = csv.QUOTE_NONE
        notes = (f"quotes in {path.name} taken as characters, not as quoting",)
    with open_text(path, newline="") as lines:
        yield from _tables(lines, path.name, delimiter, quoting, size, notes)


def _delimiter(head: str) -> str:
    """Spreadsheets of half the world write ``;`` into a .csv."""
    return "," if "," in head else next((d for d in ";\t" if d in head), ",")


def _quotes_are_characters(path: Path) -> bool:
    """Whether a TSV file quotes nothing, as many do: its rows fit as they are, and read as quoted they do not.

    A quote at the start of one row and one at the end of another would join all between them into one field. The file
    is gone through for this, a few rows at a time, and only where there is a quote in it.
    """
    with path.open("rb") as data:
        if not any(b'"' in block for block in iter(lambda: data.read(1 << 20), b"")):
            return False
    try:
        with open_text(path, newline="") as lines:
            _go_through(_tables(lines, path.name, "\t", csv.QUOTE_NONE, _PROBED))
    except DataError:
        return False
    try:
        with open_text(path, newline="") as lines:
            _go_through(_tables(lines, path.name, "\t", csv.QUOTE_MINIMAL, _PROBED, single=True))
    except (DataError, _JoinedError):
        return True
    return False


_PROBED = 1024


class _JoinedError(Exception):
    """A record goes on in the line after its own."""


def _go_through(tables: Iterable[Table]) -> None:
    for _ in tables:
        pass


def _tables(
    lines: Iterable[str],
    name: str,
    delimiter: str,
    quoting: Quoting,
    size: int | None,
    notes: tuple[str, ...] = (),
    *,
    single: bool = False,
) -> Iterator[Table]:
    """The rows below the header; with `single`, a `_JoinedError` at a record of more than one line."""
    records = _records(lines, name, delimiter, quoting, single)
    with _long_fields():
        header = next(records, None)
    if header is None:
        raise DataError(Fault("an empty file", "a header and rows", "check the file", name))
    parts = chunks(records, size)
    while True:
        with _long_fields():
            part = next(parts, None)
        if part is None:
            return
        yield _table(header[1], part, name, notes)


def _records(lines: Iterable[str], name: str, delimiter: str, quoting: Quoting, single: bool) -> Iterator[Record]:
    """Every record that is not empty, with its row number; the header is row 1."""
    line = row = fed = 0

    def feed() -> Iterator[str]:
        nonlocal fed
        for text in lines:
            fed += 1
            if fed > row + 1:  # found before the rest of the file is in one field
                raise _JoinedError
            yield text

    reader = csv.reader(feed() if single else lines, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                Fault(
                    f"a row that is no CSV ({error})",
                    "fields in which quotes are doubled, and every quote is closed",
                    'close the quote, or write " within a field as ""',
                    f"{name}, row {row + 1} (line {line + 1})",
                )
            ) from error
        line, row = reader.line_num, row + 1
        if record:
            yield row, record


def _table(header: list[str], body: list[Record], name: str, notes: tuple[str, ...]) -> Table:
    faults = Faults()
    # Columns without a name are what spreadsheets leave behind.
    doubled = sorted({column for column in header if column and header.count(column) > 1})
    if doubled:
        faults.add(f"the column {listing(doubled)} twice", "each name once", "rename one of them", f"{name}, row 1")
    for row, record in body:
        if len(record) != len(header):
            faults.add(
                f"{len(record)} fields",
                f"{len(header)}, as in the header ({listing(header)})",
                "quote a field that holds the separator, or complete the row",
                f"{name}, row {row}",
            )
    faults.raise_if_any(DataError)
    columns = {column: [record[i] for _, record in body] for i, column in enumerate(header)}
    return Table(columns, Origin(name, [row for row, _ in body], "{name}, row {row}"), notes)


_LIMIT = threading.Lock()
_readers = _before = 0


@contextmanager
def _long_fields() -> Iterator[None]:
    """Python's csv refuses fields beyond 131,072 characters; a document may be longer.

    The limit is one for the whole process: it is put back when the last of the threads that read is done.
    """
    global _readers, _before
    with _LIMIT:
        if not _readers:
            _before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        _readers += 1
    try:
        yield
    finally:
        with _LIMIT:
            _readers -= 1
            if not _readers:
                csv.field_size_limit(_before)
