"""Whatever the user gives, as tables of columns or lists of rows: whole, or some rows at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nlptl.data import frames
from nlptl.data.checks import short
from nlptl.data.examples import Origin
from nlptl.data.files import folder_fault, locate, read_file
from nlptl.data.table import Table, cell, chunks, from_columns, from_records
from nlptl.errors import DataError, Fault


@dataclass(frozen=True)
class Rows:
    """Rows without columns."""

    rows: list[Any]
    origin: Origin


def open_source(source: Any, split: str | None, name: str, size: int | None) -> Iterator[Table | Rows]:
    """A table where the source has columns, else its rows: in parts of `size` rows, or in one.

    The first part is there at any rate, if an empty one.
    """
    if isinstance(source, str | os.PathLike):
        return iter(_open_path(source, split, size))
    if frames.is_a(source, "pandas", "DataFrame"):
        return iter(frames.from_pandas(source, name, size))
    if frames.is_a(source, "datasets", "Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict"):
        return iter(frames.from_datasets(source, split, name, size))
    if isinstance(source, Mapping):
        for key, column in source.items():
            if isinstance(column, str | bytes) or is_single(column):
                raise DataError(
                    Fault(f"{short(column)} as column {key!r}", "a list a column", "give {'text': [...], …}", name)
                )
        return iter(from_columns(source, name).parts(size))
    if source is None or isinstance(source, bytes) or is_single(source):
        raise DataError(
            Fault(
                f"{short(source)}, of type {type(source).__name__}",
                "rows, a path, or a Hub id",
                "give a list of texts",
                name,
            )
        )
    return _open_rows(source, name, size)


def _open_rows(source: Iterable[Any], name: str, size: int | None) -> Iterator[Table | Rows]:
    """Records, if the first rows are; a row of another kind further on is then a fault of its own."""
    start, are_records = 0, False
    for rows in chunks(map(cell, source), size):
        mappings = bool(rows) and all(isinstance(row, Mapping) for row in rows)
        are_records = mappings and (are_records or start == 0)
        origin = Origin(name, range(start, start + len(rows)))
        yield from_records(rows, origin) if are_records else Rows(rows, origin)
        start += len(rows)


def _open_path(source: str | os.PathLike[str], split: str | None, size: int | None) -> Iterator[Table]:
    path = locate(source)
    if path is None:
        return frames.from_hub(str(source), split, size)
    if not path.is_dir():
        return read_file(path, size)
    saved = frames.from_folder(path, split, size)
    if saved is None:
        raise DataError(folder_fault(path))
    return saved


def is_single(value: Any) -> bool:
    """Whether there is nothing to go through: no iterable, or an array without axes."""
    return not hasattr(value, "__iter__") or getattr(value, "ndim", 1) == 0
