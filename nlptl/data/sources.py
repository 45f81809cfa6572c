"""Any input to checked rows: lists, arrays, frames, datasets, files, Hub ids."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nlptl.data.checks import check_inputs, check_targets, check_weights, spans_of
from nlptl.data.columns import Roles, assign
from nlptl.data.examples import Examples, Level, Origin, Schema, TargetForm
from nlptl.data.files import READERS, absent, read_file
from nlptl.data.spans import Span
from nlptl.data.tables import Table, from_dataset, from_frame, from_mapping, in_memory
from nlptl.errors import DataError, Fault, Faults, OptionError

Need = Literal["required", "optional", "none"]
Columns = Mapping[str, str | Sequence[str]]

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


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
    """Rows from whatever holds them, every fault of theirs told at once.

    Parameters
    ----------
    source : texts, pairs, lists of words; a frame, a dict of columns, a dataset; the path of a file, or a Hub id
    y : targets, where the source does not hold them
    schema : what the task needs of a row
    columns : role -> column
    sample_weight : one weight a row
    targets : whether the rows must have targets, may, or have none to be looked at
    split : of a source that holds several
    name : the argument's name, for the messages
    """
    table = _table(source, name, split)
    if table is None:
        if columns:
            raise OptionError(f"columns={dict(columns)!r}: received names for rows without columns; leave it out")
        inputs = _plain_inputs(source, schema.level, name)
        return _checked(inputs, y, None, sample_weight, in_memory(name, len(inputs)), schema, targets)
    roles = assign(table, schema.level, columns, targets="none" if y is not None else targets)
    inputs = _inputs_of(table, roles, schema.level)
    held: tuple[Any, TargetForm] | None = None
    if y is None and targets != "none":
        held = _targets_of(table, roles)
    weights = sample_weight
    if weights is None and "weight" in roles.chosen and targets != "none":
        weights = table.columns[roles.chosen["weight"]]
    return _checked(inputs, y, held, weights, table.origin, schema, targets, table, roles)


def split(
    examples: Examples, fraction: float, *, seed: int, stratify: Sequence[Any] | None
) -> tuple[Examples, Examples]:
    """Rows to learn from and rows held out; stratified, a label of one row stays where it is learnt from."""
    draw = np.random.default_rng(seed)
    n = len(examples)
    wanted = max(1, round(fraction * n))
    held = draw.permutation(n)[:wanted].tolist() if stratify is None else _stratified(stratify, wanted, draw)
    if not held or len(held) >= n:
        raise DataError(
            Fault(
                f"{n} rows, of which {fraction:g} are to be held out",
                "enough rows for both parts",
                "give a separate eval, or leave it out",
                examples.origin.name,
            )
        )
    out = set(held)
    return examples.take([i for i in range(n) if i not in out]), examples.take(sorted(held))


def shared_rows(train: Examples, held: Examples) -> int:
    """How many held-out inputs are training inputs too."""
    known = {_hashable(given) for given in train.inputs}
    return sum(_hashable(given) in known for given in held.inputs)


def _stratified(labels: Sequence[Any], wanted: int, draw: np.random.Generator) -> list[int]:
    """As many rows of each label as its share asks for, rounded so that the sum comes out."""
    by_label: dict[Any, list[int]] = {}
    for i, label in enumerate(labels):
        by_label.setdefault(label, []).append(i)
    shares = {label: wanted * len(rows) / len(labels) for label, rows in by_label.items()}
    counts = {label: min(int(share), len(by_label[label]) - 1) for label, share in shares.items()}
    left = sorted(shares, key=lambda label: (counts[label] - shares[label], str(label)))
    for label in left:
        if sum(counts.values()) >= wanted:
            break
        if counts[label] < len(by_label[label]) - 1:
            counts[label] += 1
    return [int(i) for label, rows in by_label.items() for i in draw.permutation(rows)[: counts[label]]]


def _table(source: Any, name: str, split: str | None) -> Table | None:
    """Named columns, where the source has them; None where it is a plain list of inputs."""
    if isinstance(source, str | os.PathLike):
        return _named_source(source, split)
    if isinstance(source, Mapping) and not _is_dataset(source):
        return from_mapping(source, name)
    if type(source).__module__.startswith("pandas") and hasattr(source, "columns"):
        return from_frame(source, name)
    return from_dataset(source, name, split) if _is_dataset(source) else None


def _is_dataset(source: Any) -> bool:
    kinds = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return type(source).__module__.startswith("datasets") and type(source).__name__ in kinds


def _named_source(source: str | os.PathLike[str], split: str | None) -> Table:
    """A path, or a Hub id. A bare string is never a text."""
    path = Path(source).expanduser()
    if path.exists():
        return read_file(path, split)
    said = os.fspath(source)
    if isinstance(source, str) and HUB_ID.fullmatch(said) and path.suffix.lower() not in READERS:
        return _from_hub(said, split)
    if any(c.isspace() for c in said) and not path.suffix:
        raise DataError(
            Fault(
                f"the string {said[:60]!r}",
                "a path, a Hub id, or a list of texts",
                "put a single text into a list: [text]",
            )
        )
    raise DataError(absent(path))


def _from_hub(name: str, split: str | None) -> Table:
    import datasets

    try:
        return from_dataset(datasets.load_dataset(name), name, split)
    except Exception as error:
        # datasets, its readers and the Hub client each raise their own; whoever asked wants to hear one line of it.
        beside = absent(Path(name))
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(
            Fault(
                f"{name!r}, which is no path here and could not be had from the Hub ({reason})",
                "a file of rows, or a dataset's id on the Hub",
                f"{beside.remedy} For a Hub id: check the name and the network",
            )
        ) from error


def _plain_inputs(source: Any, level: Level, name: str) -> list[Any]:
    if hasattr(source, "tolist"):
        source = source.tolist()
    try:
        inputs = list(source)
    except TypeError:
        raise DataError(
            Fault(
                f"{name} of type {type(source).__name__}",
                "a list of texts, a frame, a dataset, or the path of a file",
                "put a single row into a list",
            )
        ) from None
    if level == "sequence" and inputs and isinstance(inputs[0], list) and len(inputs[0]) == 2:
        return [tuple(row) if isinstance(row, list) else row for row in inputs]
    return inputs


def _inputs_of(table: Table, roles: Roles, level: Level) -> list[Any]:
    if level == "token" and "tokens" in roles.chosen:
        return [list(row) if not isinstance(row, str | None) else row for row in table.columns[roles.chosen["tokens"]]]
    texts = list(table.columns[roles.chosen["text"]])
    if "text_pair" in roles.chosen:
        return list(zip(texts, table.columns[roles.chosen["text_pair"]], strict=True))
    return texts


def _targets_of(table: Table, roles: Roles) -> tuple[Any, TargetForm] | None:
    if roles.label_columns:
        columns = [table.columns[name] for name in roles.label_columns]
        return [[_zero_one(v) for v in row] for row in zip(*columns, strict=True)], "indicator"
    for role in ("label", "tags", "spans"):
        if role in roles.chosen:
            found = list(table.columns[roles.chosen[role]])
            return found, _form(found, role)
    return None


def _checked(
    inputs: list[Any],
    y: Any,
    held: tuple[Any, TargetForm] | None,
    weights: Any,
    origin: Origin,
    schema: Schema,
    need: Need,
    table: Table | None = None,
    roles: Roles | None = None,
) -> Examples:
    faults = Faults()
    names: tuple[str, ...] | None = roles.label_columns or None if roles else None
    if not inputs:
        faults.add("no rows", "at least one row", "check that the source is the right one", origin.name)
    if y is not None and need != "none":
        names = tuple(map(str, y.columns)) if hasattr(y, "columns") else names
        found = _as_list(y)
        held = found, _form(found, "tags" if schema.level == "token" else "label", indicator=_is_matrix(y))
    if held is None and need == "required":
        faults.add("no targets", "a target for each row", "give y, or a column of them", origin.name)
    check_inputs(inputs, schema.level, origin, faults)
    values: Any = None
    form: TargetForm = "none"
    if held is not None:
        values, form = held
    if values is not None and len(values) != len(inputs):
        faults.add(
            f"{len(inputs)} rows and {len(values)} targets", "one target a row", "make them equally long", origin.name
        )
    elif values is not None:
        if form == "spans":
            values = [spans_of(row, origin.where(i), faults) for i, row in enumerate(values)]
        elif form in ("tags", "lists", "indicator"):
            values = _rows_of(values, form, origin, faults)
        if len(faults) == 0 or form != "spans":
            check_targets(inputs, values, form, origin, faults)
    numbers = None if weights is None else check_weights(_as_list(weights), len(inputs), origin, faults)
    faults.raise_if_any(DataError)
    return Examples(
        inputs=inputs,
        targets=values,
        weights=numbers,
        origin=origin,
        columns=dict(roles.chosen) if roles else {},
        notes=(*(table.notes if table else ()), *(roles.notes if roles else ())),
        target_form=form,
        target_names=names if form == "indicator" else None,
    )


def _rows_of(values: Sequence[Any], form: TargetForm, origin: Origin, faults: Faults) -> list[list[Any]]:
    rows = []
    for i, row in enumerate(values):
        if isinstance(row, list | tuple | np.ndarray):
            rows.append(list(row))
        else:
            faults.add(
                f"{row!r} ({type(row).__name__})",
                "a list, as in the first row",
                "give a list in every row",
                origin.where(i),
            )
            rows.append([])
    return rows


def _form(values: Sequence[Any], role: str, *, indicator: bool = False) -> TargetForm:
    """What the targets are, from the first row that shows it."""
    if indicator:
        return "indicator"
    lists = [v for v in values if isinstance(v, list | tuple | np.ndarray)]
    if role == "spans" or any(len(row) and isinstance(row[0], Mapping | Span | tuple) for row in lists):
        return "spans"
    if role == "tags":
        return "tags"
    return "lists" if lists else "scalar"


def _is_matrix(y: Any) -> bool:
    """A two-dimensional array or a frame of numbers: one column of 0/1 a label."""
    return getattr(y, "ndim", 1) == 2


def _as_list(values: Any) -> list[Any]:
    if hasattr(values, "columns") and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _zero_one(value: Any) -> Any:
    """CSV says 0 and 1 as text."""
    return {"0": 0, "1": 1, "false": 0, "true": 1}.get(str(value).strip().casefold(), value)


def _hashable(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given
