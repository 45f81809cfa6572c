"""Columns of equal length with a name each: what files, frames and data sets are before roles are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

from nlptl.data.examples import Origin
from nlptl.errors import DataError, Fault

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """Named columns, and where their rows come from."""

    columns: dict[str, list[Any]]
    origin: Origin
    notes: tuple[str, ...] = ()
    """What was inferred about the whole."""
    told: dict[str, str] = field(default_factory=dict)
    """Column -> what was done to it; told only where the column is used."""

    def parts(self, size: int | None) -> Iterator[Table]:
        """The rows in tables of `size` each, or as they are."""
        for rows in slices(len(self.origin.rows), size):
            columns = {key: column[rows] for key, column in self.columns.items()}
            yield replace(self, columns=columns, origin=replace(self.origin, rows=self.origin.rows[rows]))


def chunks(rows: Iterable[T], size: int | None) -> Iterator[list[T]]:
    """Lists of `size` rows each, or one of all; one list at the least, if an empty one."""
    if size is None:
        yield list(rows)
        return
    rest = iter(rows)
    part = list(islice(rest, size))
    yield part
    while part := list(islice(rest, size)):
        yield part


def slices(count: int, size: int | None) -> Iterator[slice]:
    """Where `chunks` would cut something of this length that can be sliced."""
    size = count if size is None else size
    yield from (slice(start, min(start + size, count)) for start in range(0, max(count, 1), max(size, 1)))


def cell(value: Any) -> Any:
    """A value as plain Python: numpy unwrapped, and the many spellings of "missing" as None."""
    if value is None or isinstance(value, str | int | bool):
        return str(value) if type(value) is not str and isinstance(value, str) else value
    if isinstance(value, float):
        return None if value != value else float(value)
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' own, without importing pandas
        return None
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return cell(value.tolist())
    if type(value) in (list, tuple):
        return type(value)(cell(item) for item in value)
    if isinstance(value, tuple):  # a named one, such as Span
        return type(value)(*map(cell, value))
    if isinstance(value, dict):
        return {key: cell(item) for key, item in value.items()}
    return value


def from_columns(columns: Mapping[Any, Iterable[Any]], name: str) -> Table:
    """A table from a mapping of column names to columns."""
    plain = {str(key): [cell(v) for v in column] for key, column in columns.items()}
    lengths = {key: len(column) for key, column in plain.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key!r} of {length}" for key, length in lengths.items())
        raise DataError(
            Fault(f"columns of different length: {told}", "one value a row in each", "mend the columns", name)
        )
    rows = range(next(iter(lengths.values()), 0))
    return Table(plain, Origin(name, rows, "{name}, row {row} from 0"))


def from_records(records: Sequence[Mapping[str, Any]], origin: Origin) -> Table:
    """A table from one mapping a row; what a row does not have is missing."""
    names = dict.fromkeys(str(key) for record in records for key in record)  # in order of appearance
    return Table({name: [cell(record.get(name)) for record in records] for name in names}, origin)
