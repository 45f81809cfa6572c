"""CSV and TSV, read as strings: "NA" stays a text, and "01" a label."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from nlptl.data.examples import Origin
from nlptl.data.table import Table
from nlptl.errors import DataError, Fault, Faults, listing


def read_delimited(text: str, name: str, *, tab: bool) -> Table:
    """The rows below the header, numbered as a spreadsheet numbers them."""
    head = text.partition("\n")[0]
    delimiter = "\t" if tab else _delimiter(head)
    notes = () if tab or delimiter == "," else (f"columns of {name} are separated by {delimiter!r}",)
    unquoted = _unquoted(text, name) if tab and '"' in text else None
    try:
        table = _table(_records(text, name, delimiter, csv.QUOTE_MINIMAL), name, notes)
    except DataError:
        if unquoted is None:
            raise
        return unquoted
    # A quote at the start of one row and one at the end of another would join all between them into one field.
    return unquoted if unquoted is not None and len(unquoted.origin.rows) > len(table.origin.rows) else table


def _unquoted(text: str, name: str) -> Table | None:
    """The rows of a TSV file that quotes nothing, as many do: a quote is a character. None where they do not fit."""
    try:
        table = _table(_records(text, name, "\t", csv.QUOTE_NONE), name, ())
    except DataError:
        return None
    return Table(table.columns, table.origin, (f"quotes in {name} taken as characters, not as quoting",))


def _delimiter(head: str) -> str:
    """Spreadsheets of half the world write ``;`` into a .csv."""
    return "," if "," in head else next((d for d in ";\t" if d in head), ",")


def _records(text: str, name: str, delimiter: str, quoting: Literal[0, 3]) -> list[tuple[int, list[str]]]:
    """Every record that is not empty, with its row number; the header is row 1."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    records: list[tuple[int, list[str]]] = []
    line = row = 0
    with _long_fields():
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return records
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
                records.append((row, record))


def _table(records: list[tuple[int, list[str]]], name: str, notes: tuple[str, ...]) -> Table:
    if not records:
        raise DataError(Fault("an empty file", "a header and rows", "check the file", name))
    (_, header), body = records[0], records[1:]
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


@contextmanager
def _long_fields() -> Iterator[None]:
    """Python's csv refuses fields beyond 131,072 characters; a document may be longer."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
