"""Rows for a learner: read, checked, split, and compared, before any model is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nlptl.data.examples import Examples
from nlptl.data.labels import Label, LabelSpace
from nlptl.data.sources import read, shared_rows, split
from nlptl.errors import NlptlWarning, OptionError
from nlptl.report import Record
from nlptl.tasks.base import Array, Task


@dataclass(frozen=True)
class Rows:
    """Training rows and the ones held out, with their labels as numbers."""

    train: Examples
    held: Examples | None
    space: LabelSpace
    gold: list[Array]
    held_gold: list[Array] = field(default_factory=list)


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
    train = read(X, y, schema=task.schema, columns=columns, sample_weight=sample_weight, split="train", name="X")
    train, held = _hold_out(task, train, eval, columns, seed)
    space, notes = task.learn(train, labels)
    gold, counts = task.gold(train, space)
    record.note(*train.notes, *notes)
    for name, number in counts.items():
        record.count(name, number)
    record.data = {
        "train": train.origin.name,
        "rows": len(train),
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


def plain_names(named: Any) -> Any:
    """One column's name, or several, as JSON keeps them."""
    return named if isinstance(named, str) else list(named)


def remembered(record: Record, *, targets: bool) -> dict[str, Any] | None:
    """The columns that were named at `fit`, for later rows of the same make; None where none were."""
    named = record.data.get("named_columns", {})
    kept = {role: name for role, name in named.items() if targets or role in ("text", "text_pair", "tokens")}
    return kept or None


def _hold_out(task: Task, train: Examples, eval: Any, columns: Any, seed: int) -> tuple[Examples, Examples | None]:
    if eval is None:
        return train, None
    if isinstance(eval, float):
        if not 0 < eval < 1:
            raise OptionError(f"eval={eval}: received a number; expected a fraction between 0 and 1; 0.1 is usual")
        by = train.targets if train.target_form == "scalar" else None
        return split(train, eval, seed=seed, stratify=by)
    if isinstance(eval, int):
        raise OptionError(
            f"eval={eval!r}: received a whole number; expected a fraction such as 0.1, a source, or (X, y); give one"
        )
    X, y = eval if isinstance(eval, tuple) and len(eval) == 2 else (eval, None)
    return train, read(X, y, schema=task.schema, columns=columns, split="validation", name="eval")


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
