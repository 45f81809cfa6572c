"""Columns by name: what every file, frame and dataset becomes before its columns are given their roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlptl.data.examples import Origin
from nlptl.errors import DataError, Fault, listing


@dataclass(frozen=True)
class Table:
    """Named columns of equal length, whose rows know where they come from."""

    columns: Mapping[str, Sequence[Any]]
    origin: Origin
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.origin.rows)


def in_memory(name: str, n: int) -> Origin:
    """The origin of rows that a program handed over."""
    return Origin(name, range(n))


def from_frame(frame: Any, name: str) -> Table:
    """A pandas DataFrame; its missing cells become None, whatever pandas calls them."""
    columns = {str(c): [None if _missing(v) else v for v in frame[c].tolist()] for c in frame.columns}
    return Table(columns, in_memory(name, len(frame)))


def from_mapping(columns: Mapping[Any, Any], name: str) -> Table:
    """A dict of columns."""
    lists = {str(key): list(values) for key, values in columns.items()}
    sizes = {key: len(values) for key, values in lists.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(
            Fault(
                "columns of different length: " + ", ".join(f"{k!r} has {n}" for k, n in sizes.items()),
                "one value a row in every column",
                "make them equally long",
                name,
            )
        )
    return Table(lists, in_memory(name, next(iter(sizes.values()), 0)))


def from_dataset(dataset: Any, name: str, split: str | None, *, streams: bool = True) -> Table:
    """A datasets.Dataset, DatasetDict or IterableDataset; numbers of a ClassLabel become its names."""
    import datasets

    if isinstance(dataset, datasets.DatasetDict | datasets.IterableDatasetDict):
        dataset = _choose_split(dataset, name, split)
    if isinstance(dataset, datasets.IterableDataset):
        rows = list(dataset)
        keys = list(dict.fromkeys(key for row in rows for key in row))
        return Table({k: [row.get(k) for row in rows] for k in keys}, in_memory(name, len(rows)))
    columns: dict[str, Sequence[Any]] = {}
    notes = []
    for key in dataset.column_names:
        feature = dataset.features[key]
        inner = getattr(feature, "feature", None)
        if isinstance(feature, datasets.ClassLabel):
            columns[key] = [None if v is None or v < 0 else feature.int2str(v) for v in dataset[key]]
            notes.append(f"column {key!r} of {name}: numbers read as the names of its ClassLabel")
        elif isinstance(inner, datasets.ClassLabel):
            columns[key] = [[inner.int2str(v) for v in row] for row in dataset[key]]
            notes.append(f"column {key!r} of {name}: numbers read as the names of its ClassLabel")
        else:
            columns[key] = list(dataset[key])
    return Table(columns, in_memory(name, len(dataset)), tuple(notes))


def _choose_split(dataset: Any, name: str, split: str | None) -> Any:
    """The split that is asked for; validation may be called otherwise, training may not."""
    others = {"validation": ("validation", "valid", "dev", "test"), "test": ("test", "validation", "dev")}
    for candidate in others.get(split or "train", (split or "train",)):
        if candidate in dataset:
            return dataset[candidate]
    if len(dataset) == 1:
        return next(iter(dataset.values()))
    raise DataError(
        Fault(
            f"a DatasetDict with the splits {listing(dataset)}",
            f"one called {split or 'train'!r}",
            f"hand over the split itself, such as dataset[{next(iter(dataset))!r}]",
            name,
        )
    )


def _missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )
