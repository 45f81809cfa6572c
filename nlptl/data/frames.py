"""pandas, datasets, pyarrow and the Hub: recognised without importing any of them first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nlptl.data.examples import Origin
from nlptl.data.files import near_files
from nlptl.data.table import Table, cell, chunks, slices
from nlptl.errors import DataError, Fault, did_you_mean, listing

# A split of another name is taken only for one that means the same.
_SAME_SPLIT = {"validation": ("validation", "valid", "val", "dev", "eval"), "test": ("test",), "train": ("train",)}


def is_a(value: Any, library: str, *classes: str) -> bool:
    """Whether a value is of a library's class; what was never imported made no value."""
    module = sys.modules.get(library)
    return module is not None and isinstance(value, tuple(c for c in (getattr(module, n, None) for n in classes) if c))


def from_pandas(frame: Any, name: str, size: int | None) -> Iterator[Table]:
    """A DataFrame; places are told as positions, whatever its index says."""
    names = [str(key) for key in frame.columns]
    doubled = sorted({n for n in names if names.count(n) > 1})
    if doubled:
        raise DataError(Fault(f"the column {listing(doubled)} twice", "each name once", "rename one of them", name))
    for rows in slices(len(frame), size):
        columns = {key: [cell(v) for v in frame.iloc[rows, i].tolist()] for i, key in enumerate(names)}
        yield Table(columns, Origin(name, range(rows.start, rows.stop), "{name}.iloc[{row}]"))


def from_dataset(dataset: Any, name: str, size: int | None) -> Iterator[Table]:
    """A ``Dataset`` or an ``IterableDataset``, whose class numbers become names."""
    features = dataset.features or {}
    for start, columns in _iterated(dataset, size) if _is_iterable(dataset) else _sliced(dataset, size):
        count = len(next(iter(columns.values()), ()))
        yield _with_names(Table(columns, Origin(name, range(start, start + count))), features)


def _is_iterable(dataset: Any) -> bool:
    return is_a(dataset, "datasets", "IterableDataset")


def _iterated(dataset: Any, size: int | None) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    start = 0
    for part in chunks(dataset, size):
        names = dict.fromkeys(dataset.features or (key for row in part for key in row))
        yield start, {key: [cell(row.get(key)) for row in part] for key in names}
        start += len(part)


def _sliced(dataset: Any, size: int | None) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    plain = dataset.with_format(None)
    for rows in slices(len(plain), size):
        taken = plain[rows]
        yield rows.start, {key: [cell(v) for v in taken[key]] for key in plain.column_names}


def pick_split(splits: Any, split: str | None, name: str, size: int | None) -> Iterator[Table]:
    """One split of a ``DatasetDict``: the one asked for, or the only one."""
    wanted = _SAME_SPLIT.get(split or "train", (split or "train",))
    taken = next((s for s in wanted if s in splits), None)
    if taken is None and len(splits) == 1:
        taken = next(iter(splits))
    if taken is None:
        raise DataError(
            Fault(
                f"no split '{wanted[0]}' among {listing(splits)}",
                "a split for this purpose",
                f"give the split itself, such as data[{next(iter(splits), '…')!r}].{did_you_mean(wanted[0], splits)}",
                name,
            )
        )
    told = () if taken == split else (f"the split '{taken}' of {name} taken",)
    for table in from_dataset(splits[taken], f"{name}[{taken!r}]", size):
        yield replace(table, notes=(*table.notes, *told))


def from_arrow_file(path: Path, size: int | None) -> Iterator[Table]:
    """A Parquet file, or an Arrow file or stream; datasets' class numbers become names."""
    import pyarrow as pa

    start = 1
    try:
        with _opened(pa, path) as (schema, batches):
            features = _features(schema)
            for arrow in _regrouped(pa, schema, batches, size):
                columns = {key: [cell(v) for v in arrow[key].to_pylist()] for key in arrow.column_names}
                rows = range(start, start + arrow.num_rows)
                yield _with_names(Table(columns, Origin(path.name, rows, "{name}, row {row}")), features)
                start += arrow.num_rows
    except pa.ArrowInvalid as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            Fault(f"a file that pyarrow cannot read ({reason})", f"a {path.suffix} file", "write it again", path.name)
        ) from error


@contextmanager
def _opened(pa: Any, path: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    """The schema of a file and its batches, of which one is in memory at a time."""
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        # Buffered, a column is read as it is asked for, and not all of a row group's bytes at once.
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            yield file.schema_arrow, file.iter_batches(batch_size=_ARROW_ROWS)
        return
    with pa.memory_map(str(path)) as source:
        reader = _arrow_reader(pa, source)
        count = getattr(reader, "num_record_batches", None)
        yield reader.schema, iter(reader) if count is None else (reader.get_batch(i) for i in range(count))


_ARROW_ROWS = 4096


def _regrouped(pa: Any, schema: Any, batches: Iterator[Any], size: int | None) -> Iterator[Any]:
    """Tables of `size` rows each, however a file is cut, or one of all."""
    if size is None:
        yield pa.Table.from_batches(list(batches), schema)
        return
    pending, first = pa.Table.from_batches([], schema), True
    for batch in batches:
        pending = pa.concat_tables([pending, pa.Table.from_batches([batch], schema)])
        while pending.num_rows >= size:
            yield pending.slice(0, size)
            pending, first = pending.slice(size), False
    if first or pending.num_rows:
        yield pending


def _features(schema: Any) -> Any:
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import Features

    return Features.from_arrow_schema(schema)


def from_folder(path: Path, split: str | None, size: int | None) -> Iterator[Table] | None:
    """A folder that datasets' ``save_to_disk`` wrote; None where it is none."""
    if not any((path / file).is_file() for file in ("state.json", "dataset_dict.json")):
        return None
    from datasets import load_from_disk

    return from_datasets(load_from_disk(str(path)), split, path.name, size)


def from_datasets(data: Any, split: str | None, name: str, size: int | None) -> Iterator[Table]:
    """Any class of datasets that has columns."""
    many = is_a(data, "datasets", "DatasetDict", "IterableDatasetDict")
    return pick_split(data, split, name, size) if many else from_dataset(data, name, size)


def from_hub(name: str, split: str | None, size: int | None) -> Iterator[Table]:
    """A data set of the Hub, through datasets' own cache."""
    from datasets import load_dataset

    try:
        data = load_dataset(name)
    except Exception as error:  # datasets, huggingface_hub and httpx each have their own; all mean the same here
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            Fault(
                f"{name!r}, which is no file here and did not open as a Hub data set ({reason})",
                "a file, or the id of a data set that the Hub or datasets' cache has",
                f"correct the name, or check the network.{near_files(Path(name))}",
            )
        ) from error
    return from_datasets(data, split, name, size)


def _arrow_reader(pa: Any, source: Any) -> Any:
    """datasets writes streams, most others write files."""
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)


def _with_names(table: Table, features: Any) -> Table:
    """Class numbers as the names that the features have for them; -1, for "unknown", as missing."""
    columns, told = dict(table.columns), dict(table.told)
    for key, feature in features.items():
        names = _class_names(feature)
        if names is not None and key in columns:
            columns[key] = [_named(v, names) for v in columns[key]]
            told[key] = f"numbers of column {key!r} read as the names of its ClassLabel ({listing(names, 4)})"
    return replace(table, columns=columns, told=told)


def _class_names(feature: Any) -> Sequence[str] | None:
    """The names of a ``ClassLabel``, or of a list of them."""
    inner = getattr(feature, "feature", feature)
    names: Iterable[str] | None = getattr(inner, "names", None)
    return None if names is None else list(names)


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list | tuple):
        return [_named(v, names) for v in value]
    if type(value) is int:
        return names[value] if 0 <= value < len(names) else None
    return value
