"""pandas, datasets, pyarrow and the Hub: recognised without importing any of them first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nlptl.data.examples import Origin
from nlptl.data.files import near_files
from nlptl.data.table import Table, cell
from nlptl.errors import DataError, Fault, did_you_mean, listing

# A split of another name is taken only for one that means the same.
_SAME_SPLIT = {"validation": ("validation", "valid", "val", "dev", "eval"), "test": ("test",), "train": ("train",)}


def is_a(value: Any, library: str, *classes: str) -> bool:
    """Whether a value is of a library's class; what was never imported made no value."""
    module = sys.modules.get(library)
    return module is not None and isinstance(value, tuple(c for c in (getattr(module, n, None) for n in classes) if c))


def from_pandas(frame: Any, name: str) -> Table:
    """A DataFrame; places are told as positions, whatever its index says."""
    columns = {str(key): [cell(v) for v in frame.iloc[:, i].tolist()] for i, key in enumerate(frame.columns)}
    if len(columns) < frame.shape[1]:
        names = [str(key) for key in frame.columns]
        doubled = sorted({n for n in names if names.count(n) > 1})
        raise DataError(Fault(f"the column {listing(doubled)} twice", "each name once", "rename one of them", name))
    return Table(columns, Origin(name, range(len(frame)), "{name}.iloc[{row}]"))


def from_dataset(dataset: Any, name: str) -> Table:
    """A ``Dataset`` or an ``IterableDataset``, whose class numbers become names."""
    if is_a(dataset, "datasets", "IterableDataset"):
        rows = list(dataset)
        names = dict.fromkeys(dataset.features or (key for row in rows for key in row))
        columns = {key: [cell(row.get(key)) for row in rows] for key in names}
        count = len(rows)
    else:
        plain = dataset.with_format(None)
        columns = {key: [cell(v) for v in plain[key]] for key in plain.column_names}
        count = len(plain)
    table = Table(columns, Origin(name, range(count)))
    return _with_names(table, dataset.features or {})


def pick_split(splits: Any, split: str | None, name: str) -> Table:
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
    table = from_dataset(splits[taken], f"{name}[{taken!r}]")
    if taken != split:
        table = replace(table, notes=(*table.notes, f"the split '{taken}' of {name} taken"))
    return table


def from_arrow_file(path: Path) -> Table:
    """A Parquet file, or an Arrow file or stream; datasets' class numbers become names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            arrow = pq.read_table(path)
        else:
            with pa.memory_map(str(path)) as source:
                arrow = _arrow_reader(pa, source).read_all()
    except pa.ArrowInvalid as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            Fault(f"a file that pyarrow cannot read ({reason})", f"a {path.suffix} file", "write it again", path.name)
        ) from error
    columns = {key: [cell(v) for v in arrow[key].to_pylist()] for key in arrow.column_names}
    table = Table(columns, Origin(path.name, range(1, arrow.num_rows + 1), "{name}, row {row}"))
    if b"huggingface" not in (arrow.schema.metadata or {}):
        return table
    from datasets import Features

    return _with_names(table, Features.from_arrow_schema(arrow.schema))


def from_folder(path: Path, split: str | None) -> Table | None:
    """A folder that datasets' ``save_to_disk`` wrote; None where it is none."""
    if not any((path / file).is_file() for file in ("state.json", "dataset_dict.json")):
        return None
    from datasets import load_from_disk

    return from_datasets(load_from_disk(str(path)), split, path.name)


def from_datasets(data: Any, split: str | None, name: str) -> Table:
    """Any class of datasets that has columns."""
    many = is_a(data, "datasets", "DatasetDict", "IterableDatasetDict")
    return pick_split(data, split, name) if many else from_dataset(data, name)


def from_hub(name: str, split: str | None) -> Table:
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
    return from_datasets(data, split, name)


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
