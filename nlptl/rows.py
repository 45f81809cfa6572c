"""Rows for a learner: read, checked, split, and compared, before any model is loaded."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nlptl.data.examples import Examples
from nlptl.data.labels import Label, LabelSpace
from nlptl.data.sources import read, shared_rows, split
from nlptl.errors import DataError, Fault, NlptlWarning, OptionError
from nlptl.report import Record
from nlptl.tasks.base import Array, Task

#: Counts that mean something was lost or changed, and so are warned of when they are not zero.
WARNED = ("truncated", "repaired_tags", "snapped_spans", "other_scheme", "words_without_token")


@dataclass(frozen=True)
class Rows:
    """Training rows and the ones held out, with their labels as numbers."""

    train: Examples
    held: Examples | None
    space: LabelSpace
    gold: list[Array]
    held_gold: list[Array] = field(default_factory=list)

    def digest(self) -> str:
        """What tells these rows from any others, for a run that is to go on with the same ones."""
        found = hashlib.sha256()
        for part in (self.train, self.held):
            told = () if part is None else (part.inputs, part.targets, part.weights)
            found.update(repr(told).encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def gather(
    task: Task,
    X: Any,
    y: Any,
    *,
    eval: Any,
    columns: Any,
    labels: Sequence[Label] | None,
    sample_weight: Any,
    seed: int,
    record: Record,
) -> Rows:
    """Everything that `fit` was given, checked; what was found goes into the record."""

    def read_rows(source: Any, targets: Any, part: str, name: str, weight: Any = None) -> Examples:
        return read(source, targets, schema=task.schema, columns=columns, sample_weight=weight, split=part, name=name)

    train, held = _both(
        lambda: read_rows(X, y, "train", "X", sample_weight),
        lambda: _separate(eval, read_rows),
    )
    if isinstance(eval, float | np.floating):
        train, held = split(train, float(eval), seed=seed, stratify=_strata(train))
    space, notes = task.learn(train, labels)
    gold, counts = task.gold(train, space)
    record.note(*train.notes, *notes)
    for name, number in counts.items():
        record.count(name, number)
    record.data = {
        "train": train.origin.name,
        "rows": len(train),
        "inputs": kind_of(train),
        "columns": dict(train.columns),
        "named_columns": {role: plain_names(named) for role, named in (columns or {}).items()},
        "labels": list(space.reported) or list(space.names),
    }
    if held is None:
        return Rows(train, None, space, gold)
    held_gold, held_counts = task.gold(held, space)
    record.data |= {"eval": held.origin.name, "eval_rows": len(held)}
    for name, number in held_counts.items():
        record.count(f"eval_{name}", number)
    _warn_of_shared(train, held, record)
    return Rows(train, held, space, gold, held_gold)


def kind_of(examples: Examples) -> str:
    """Pairs of texts, or not: a model of the one makes nothing sensible of the other."""
    return "pairs of texts" if examples.inputs and isinstance(examples.inputs[0], tuple) else "texts or words"


def check_kind(examples: Examples, record: Record) -> None:
    """Refuse pairs where single texts were learnt from, and the other way round."""
    learnt, came = record.data.get("inputs"), kind_of(examples)
    if learnt is not None and learnt != came:
        raise DataError(
            Fault(
                f"{came} for a learner of {learnt}",
                f"{learnt}, as at fit",
                "give the same kind of rows, or name the column with columns={'text': …}",
                examples.origin.name,
            )
        )


def plain_names(named: Any) -> Any:
    """One column's name, or several, as JSON keeps them."""
    return list(named) if isinstance(named, list | tuple) else named


def remembered(record: Record, source: Any, *, targets: bool) -> dict[str, Any] | None:
    """The columns that were named at `fit`, for later rows of the same make; None where none were, or where the rows
    are a list, which has no columns: nobody has asked for any there."""
    if isinstance(source, list | tuple) and not (source and isinstance(source[0], Mapping)):
        return None
    named = record.data.get("named_columns", {})
    kept = {role: name for role, name in named.items() if targets or role in ("text", "text_pair", "tokens")}
    return kept or None


def _both(
    read_train: Callable[[], Examples], read_held: Callable[[], Examples | None]
) -> tuple[Examples, Examples | None]:
    """Both parts, with the faults of both in one message."""
    faults: list[Fault | str] = []
    train = held = None
    try:
        train = read_train()
    except DataError as error:
        faults += error.faults
    try:
        held = read_held()
    except DataError as error:
        faults += error.faults
    if faults or train is None:
        raise DataError(*faults)
    return train, held


def _separate(eval: Any, read_rows: Callable[[Any, Any, str, str], Examples]) -> Examples | None:
    """The rows held out, where they are rows of their own and no fraction of the training rows."""
    if isinstance(eval, float | np.floating) and not 0 < eval < 1:
        raise OptionError(f"eval={eval}: received a number; expected a fraction between 0 and 1; 0.1 is usual")
    if isinstance(eval, int):
        raise OptionError(
            f"eval={eval!r}: received a whole number; expected a fraction such as 0.1, a source, or (X, y); give one"
        )
    if eval is None or isinstance(eval, float | np.floating):
        return None
    X, y = eval if isinstance(eval, tuple) and len(eval) == 2 else (eval, None)
    return read_rows(X, y, "validation", "eval")


def _strata(train: Examples) -> list[Any] | None:
    return train.targets if train.target_form == "scalar" else None


def _warn_of_shared(train: Examples, held: Examples, record: Record) -> None:
    shared = shared_rows(train, held)
    record.count("rows_shared_by_train_and_eval", shared)
    if shared:
        warnings.warn(
            f"{shared} of {len(held)} eval rows are also training rows ({held.origin.name}, {train.origin.name}): the "
            "figures on them are too good; take them out of one of the two",
            NlptlWarning,
            stacklevel=4,
        )


def warn_of(counts: Mapping[str, int]) -> None:
    """One warning of all that was lost or changed, at the line that called the caller's caller."""
    told = [f"{counts[name]} {name.replace('_', ' ')}" for name in WARNED if counts.get(name)]
    if told:
        warnings.warn(f"{', '.join(told)}: the record has the counts", NlptlWarning, stacklevel=4)
