"""The one way in: whatever the user gives becomes checked rows, or one message with every fault."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nlptl.data import frames
from nlptl.data.checks import Kind, check_inputs, check_weights, short
from nlptl.data.columns import Need, Roles, find
from nlptl.data.examples import Examples, Level, Origin, Schema, TargetForm
from nlptl.data.files import folder_fault, locate, read_file
from nlptl.data.splitting import draw, labels_of
from nlptl.data.table import Table, cell, from_columns, from_records
from nlptl.data.targets import check_targets
from nlptl.errors import DataError, Fault, Faults, OptionError

__all__ = ["Examples", "Level", "Origin", "Schema", "TargetForm", "read", "shared_rows", "split"]

Columns = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class _Targets:
    """Targets as given, before they are checked."""

    rows: list[Any]
    names: tuple[str, ...] | None = None
    is_matrix: bool = False
    """Whether they are known to be rows of 0 and 1."""


@dataclass(frozen=True)
class _Found:
    """What a source holds, before it is checked."""

    rows: list[Any]
    kind: Kind | None
    origin: Origin
    targets: _Targets | None = None
    weights: list[Any] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(
    source: Any,
    y: Any = None,
    *,
    schema: Schema,
    columns: Columns | None = None,
    sample_weight: Any = None,
    targets: Need = "required",
    split: str | None = None,
    name: str = "X",
) -> Examples:
    """Rows from anything, checked.

    Parameters
    ----------
    source : texts, pairs, lists of words, a frame, a data set, columns, a path, or a Hub id
    y : targets, where they are not in the source; they are taken as given
    schema : what the task needs of a row
    columns : role -> column; the roles are text, text_pair, label, tokens, tags, spans, weight
    sample_weight : one weight a row
    targets : whether targets must be there, may be, or are not looked for
    split : which split of a ``DatasetDict`` or a Hub data set
    name : what messages call a source that has no name of its own

    Raises
    ------
    DataError
        With every fault found, each with its place.
    """
    faults = Faults()
    found = _find_rows(
        _open(source, split, name), columns or {}, schema.level, "none" if y is not None else targets, name
    )
    origin, count = found.origin, len(found.rows)
    inputs = check_inputs(found.rows, schema.level, origin.where, faults, found.kind)
    given = None if targets == "none" else found.targets if y is None else _given_targets(y, name)
    wanted: list[Any] | None = None
    form: TargetForm = "none"
    if given is None and targets == "required":
        faults.add("rows without targets", "a target a row", "give them as y", origin.name)
    elif given is not None and len(given.rows) != count:
        told = f"{count} rows and {len(given.rows)} targets"
        faults.add(told, "one target a row", "give as many of both", origin.name)
    elif given is not None:
        wanted, form = check_targets(given.rows, inputs, schema.level, origin.where, faults, indicator=given.is_matrix)
    weights = found.weights if sample_weight is None else sample_weight
    checked = None if weights is None else check_weights(weights, count, origin.where, faults)
    faults.raise_if_any(DataError)
    names = given.names if given else None
    return Examples(inputs, wanted, checked, origin, found.columns, found.notes, form, names)


def split(
    examples: Examples, fraction: float, *, seed: int, stratify: Sequence[Any] | None
) -> tuple[Examples, Examples]:
    """Two parts, the second with ``fraction`` of the rows; both keep the rows' order.

    Parameters
    ----------
    examples : at least two rows
    fraction : of the rows, between 0 and 1
    seed : the same seed draws the same rows
    stratify : one label a row, whose shares both parts keep; no label's last row leaves the first part
    """
    labels = labels_of(examples.targets, examples.target_form)
    held, note = draw(len(examples), fraction, seed=seed, stratify=stratify, labels=labels)
    chosen = set(held)
    train = examples.take([i for i in range(len(examples)) if i not in chosen])
    return replace(train, notes=(*train.notes, note)), examples.take(held)


def shared_rows(train: Examples, held: Examples) -> int:
    """How many inputs of the second are in the first too."""
    known = {tuple(row) if isinstance(row, list) else row for row in train.inputs}
    return sum((tuple(row) if isinstance(row, list) else row) in known for row in held.inputs)


def _open(source: Any, split: str | None, name: str) -> Table | list[Any]:
    """A table where the source has columns, else a list of rows."""
    if isinstance(source, str | os.PathLike):
        return _open_path(source, split)
    if frames.is_a(source, "pandas", "DataFrame"):
        return frames.from_pandas(source, name)
    if frames.is_a(source, "datasets", "Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict"):
        return frames.from_datasets(source, split, name)
    if isinstance(source, Mapping):
        for key, column in source.items():
            if isinstance(column, str | bytes) or _is_single(column):
                raise DataError(
                    Fault(f"{short(column)} as column {key!r}", "a list a column", "give {'text': [...], …}", name)
                )
        return from_columns(source, name)
    if source is None or isinstance(source, bytes) or _is_single(source):
        raise DataError(
            Fault(
                f"{short(source)}, of type {type(source).__name__}",
                "rows, a path, or a Hub id",
                "give a list of texts",
                name,
            )
        )
    rows = [cell(row) for row in source]
    if rows and all(isinstance(row, Mapping) for row in rows):
        return from_records(rows, Origin(name, range(len(rows))))
    return rows


def _open_path(source: str | os.PathLike[str], split: str | None) -> Table:
    path = locate(source)
    if path is None:
        return frames.from_hub(str(source), split)
    if not path.is_dir():
        return read_file(path)
    saved = frames.from_folder(path, split)
    if saved is None:
        raise DataError(folder_fault(path))
    return saved


def _find_rows(opened: Table | list[Any], columns: Columns, level: Level, need: Need, name: str) -> _Found:
    """Inputs, targets and weights out of a table's columns; a list is all inputs."""
    if not isinstance(columns, Mapping):
        raise OptionError(
            Fault(f"columns={short(columns)}", "role -> column", f"write columns={{'text': {short(columns)}, …}}")
        )
    if isinstance(opened, list):
        notes = (f"columns= not used for {name}, a list",) if columns else ()
        found = _Found(opened, None, Origin(name, range(len(opened))), notes=notes)
    elif opened.origin.rows:
        faults = Faults()
        names, where = list(opened.columns), opened.origin.name
        roles = find(names, columns, level=level, targets=need, where=where, faults=faults)
        faults.raise_if_any(DataError)
        found = _from_table(opened, roles)
    else:
        found = _Found([], None, opened.origin)
    if not found.rows:
        raise DataError(Fault("no rows", "one row or more", "check the source, and its split", found.origin.name))
    return found


def _from_table(table: Table, roles: Roles) -> _Found:
    def column(role: str) -> list[Any]:
        return table.columns[str(roles.found[role])]

    rows: list[Any]
    kind: Kind
    if "tokens" in roles:
        rows, kind = column("tokens"), "words"
    elif "text_pair" in roles:
        rows, kind = list(zip(column("text"), column("text_pair"), strict=True)), "pair"
    else:
        rows, kind = column("text"), "text"
    used = {role: [c] if isinstance(c, str) else c for role, c in roles.found.items()}
    told = (table.told[c] for names in used.values() for c in names if c in table.told)
    aim = next((role for role in ("label", "tags", "spans") if role in roles), None)
    targets = None
    if aim is not None and isinstance(roles.found[aim], str):
        targets = _Targets(column(aim))
    elif aim is not None:
        matrix = zip(*(table.columns[c] for c in used[aim]), strict=True)
        targets = _Targets([list(row) for row in matrix], tuple(used[aim]), is_matrix=True)
    return _Found(
        rows,
        kind,
        table.origin,
        targets,
        column("weight") if "weight" in roles else None,
        {role: ", ".join(names) for role, names in used.items()},
        (*table.notes, *roles.notes, *told),
    )


def _given_targets(y: Any, name: str) -> _Targets:
    if isinstance(y, str | bytes | Mapping) or _is_single(y):
        raise DataError(
            Fault(f"y={short(y)}", "one target a row", "give a list; a column is named by columns={'label': …}", name)
        )
    if frames.is_a(y, "pandas", "DataFrame"):
        names = tuple(str(key) for key in y.columns)
        rows = [[cell(v) for v in row] for row in y.itertuples(index=False, name=None)]
        return _Targets([row[0] for row in rows]) if len(names) == 1 else _Targets(rows, names, is_matrix=True)
    if hasattr(y, "toarray"):  # scipy's sparse matrices, which MultiLabelBinarizer makes
        y = y.toarray()
    if isinstance(y, np.ndarray) and y.ndim == 2 and (y.dtype != object or y.shape[1] == 1):
        rows = [cell(row) for row in y]
        return _Targets([row[0] for row in rows]) if y.shape[1] == 1 else _Targets(rows, is_matrix=True)
    return _Targets([cell(v) for v in y])


def _is_single(value: Any) -> bool:
    """Whether there is nothing to go through: no iterable, or an array without axes."""
    return not hasattr(value, "__iter__") or getattr(value, "ndim", 1) == 0
