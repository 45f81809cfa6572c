"""The one way in: whatever the user gives becomes checked rows, or one message with every fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nlptl.data import frames
from nlptl.data.checks import Kind, check_inputs, check_weights, kind_of, short
from nlptl.data.columns import Need, Roles, find
from nlptl.data.examples import Examples, Level, Origin, Schema, TargetForm
from nlptl.data.opening import Rows, is_single, open_source
from nlptl.data.splitting import draw, labels_of
from nlptl.data.table import Table, cell
from nlptl.data.targets import check_targets
from nlptl.errors import DataError, Fault, Faults, OptionError

__all__ = ["Examples", "Level", "Origin", "Schema", "TargetForm", "read", "shared_rows", "split", "stream"]

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
    (opened,) = open_source(source, split, name, None)
    found = _Finder(columns or {}, schema.level, "none" if y is not None else targets).find(opened)
    if not found.rows:
        raise DataError(_nothing(found.origin))
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


def stream(
    source: Any,
    *,
    schema: Schema,
    size: int,
    columns: Columns | None = None,
    split: str | None = None,
    name: str = "X",
    faults: Faults | None = None,
) -> Iterator[Examples]:
    """The inputs that `read` finds, `size` rows at a time: of a file or a data set no more than that is in memory.

    What is inferred (which column is what; texts, pairs or words) is inferred from the first rows and holds for all.
    It is told in the notes of the first part. JSON is one value, and so read whole; JSON Lines is not.

    Parameters
    ----------
    source, schema, columns, split, name : as in `read`; any iterable will do, and is gone through once
    size : rows a part; the last one may have fewer. Nothing comes of an iterable without rows; an empty file is a fault
    faults : gathers those of rows; None raises those of a part in its place
    """
    finder = _Finder(columns or {}, schema.level, "none")
    for number, opened in enumerate(open_source(source, split, name, size)):
        found = finder.find(opened)
        if not found.rows and isinstance(opened, Table):
            raise DataError(_nothing(found.origin))
        if not found.rows:
            return
        told = Faults()
        inputs = check_inputs(found.rows, schema.level, found.origin.where, told, found.kind)
        if faults is None:
            told.raise_if_any(DataError)
        else:
            faults.extend(told)
        yield Examples(inputs, None, None, found.origin, found.columns, () if number else found.notes)


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


class _Finder:
    """Finds inputs, targets and weights in what was opened; the first part decides for those that follow."""

    def __init__(self, columns: Columns, level: Level, need: Need) -> None:
        if not isinstance(columns, Mapping):
            raise OptionError(
                Fault(f"columns={short(columns)}", "role -> column", f"write columns={{'text': {short(columns)}, …}}")
            )
        self.columns, self.level, self.need = columns, level, need
        self.roles: Roles | None = None
        self.kind: Kind | None = None

    def find(self, opened: Table | Rows) -> _Found:
        if isinstance(opened, Rows):
            notes = (f"columns= not used for {opened.origin.name}, a list",) if self.columns else ()
            self.kind = self.kind or kind_of(opened.rows, self.level)
            return _Found(opened.rows, self.kind, opened.origin, notes=notes)
        if not opened.origin.rows:
            return _Found([], None, opened.origin)
        if self.roles is None:
            faults = Faults()
            names, where = list(opened.columns), opened.origin.name
            self.roles = find(names, self.columns, level=self.level, targets=self.need, where=where, faults=faults)
            faults.raise_if_any(DataError)
        return _from_table(opened, self.roles)


def _nothing(origin: Origin) -> Fault:
    return Fault("no rows", "one row or more", "check the source, and its split", origin.name)


def _from_table(table: Table, roles: Roles) -> _Found:
    def named(name: str) -> list[Any]:
        # Rows further on may all be without what the first ones had.
        return table.columns.get(name) or [None] * len(table.origin.rows)

    def column(role: str) -> list[Any]:
        return named(str(roles.found[role]))

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
        matrix = zip(*(named(c) for c in used[aim]), strict=True)
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
    if isinstance(y, str | bytes | Mapping) or is_single(y):
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
