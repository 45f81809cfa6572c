"""Which column is the text and which the label: as the user says, or by a name that leaves no doubt, and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nlptl.data.examples import Level
from nlptl.data.tables import Table
from nlptl.errors import DataError, Faults, OptionError, did_you_mean, listing

#: role -> further names that a column of it goes by
ALIASES: dict[str, tuple[str, ...]] = {
    "text": ("sentence", "review", "content", "message", "document", "comment", "tweet", "question", "body"),
    "text_pair": (),
    "label": ("labels", "class", "category", "target", "sentiment", "stars", "rating", "intent", "topic"),
    "tokens": ("words",),
    "tags": ("ner_tags", "labels"),
    "spans": ("entities",),
    "weight": ("sample_weight",),
}

#: Pairs of names that say by themselves that two texts belong together.
PAIRS = (("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"))

ROLES: dict[Level, tuple[str, ...]] = {
    "sequence": ("text", "text_pair", "label", "weight"),
    "token": ("text", "tokens", "tags", "spans", "weight"),
}


@dataclass(frozen=True)
class Roles:
    """Role -> column; the label may be several columns of 0/1."""

    chosen: Mapping[str, str]
    label_columns: tuple[str, ...]
    notes: tuple[str, ...]


def assign(table: Table, level: Level, given: Mapping[str, str | Sequence[str]] | None, *, targets: str) -> Roles:
    """Give each role its column; everything that is missing or doubtful is told at once."""
    faults, notes = Faults(), list[str]()
    chosen: dict[str, str] = {}
    label_columns: tuple[str, ...] = ()
    for role, column in _checked(given, level).items():
        names = (column,) if isinstance(column, str) else tuple(column)
        for name in names:
            if name not in table.columns:
                faults.add(
                    f"columns={{{role!r}: {name!r}}}, a column that is not there",
                    f"one of {listing(table.columns)}",
                    f"correct the name.{did_you_mean(name, table.columns)}",
                    table.origin.name,
                )
        if role == "label" and not isinstance(column, str):
            label_columns = names
        else:
            chosen[role] = names[0]
    faults.raise_if_any(DataError)
    _infer_inputs(table, level, chosen, notes, faults)
    if targets != "none":
        _infer_targets(table, level, chosen, label_columns, notes, faults, required=targets == "required")
    if "weight" in table.columns and "weight" not in chosen:
        chosen["weight"] = "weight"
        notes.append(f"{table.origin.name}: weights taken from column 'weight'")
    faults.raise_if_any(DataError)
    return Roles(chosen, label_columns, tuple(notes))


def _checked(given: Mapping[str, str | Sequence[str]] | None, level: Level) -> Mapping[str, str | Sequence[str]]:
    faults = Faults()
    for role in given or {}:
        if role not in ROLES[level]:
            faults.add(
                f"columns={{{role!r}: …}}, a role that is none here",
                f"one of {listing(ROLES[level])}",
                f"write role -> column, such as columns={{'text': 'review'}}.{did_you_mean(role, ROLES[level])}",
            )
    faults.raise_if_any(OptionError)
    return given or {}


def _infer_inputs(table: Table, level: Level, chosen: dict[str, str], notes: list[str], faults: Faults) -> None:
    if level == "token":
        if "tokens" in chosen or "text" in chosen:
            return
        if _take(table, "tokens", chosen, notes, faults, missing_is_fault=False) or len(faults):
            return
        _take(table, "text", chosen, notes, faults, wanted="tokens' or 'text")
        return
    if "text" not in chosen and "text_pair" not in chosen:
        for first, second in PAIRS:
            if first in table.columns and second in table.columns:
                chosen |= {"text": first, "text_pair": second}
                notes.append(f"{table.origin.name}: pairs of texts taken from columns {first!r} and {second!r}")
                return
    if "text" not in chosen:
        _take(table, "text", chosen, notes, faults)


def _infer_targets(
    table: Table,
    level: Level,
    chosen: dict[str, str],
    label_columns: tuple[str, ...],
    notes: list[str],
    faults: Faults,
    *,
    required: bool,
) -> None:
    if level == "sequence":
        if "label" not in chosen and not label_columns:
            _take(table, "label", chosen, notes, faults, missing_is_fault=required)
        return
    if "tags" in chosen or "spans" in chosen:
        return
    role = "tags" if "tokens" in chosen else "spans"
    _take(table, role, chosen, notes, faults, missing_is_fault=required)


def _take(
    table: Table,
    role: str,
    chosen: dict[str, str],
    notes: list[str],
    faults: Faults,
    *,
    missing_is_fault: bool = True,
    wanted: str | None = None,
) -> bool:
    """Find the column of one role by its name, or by the one alias that is there."""
    free = [name for name in table.columns if name not in chosen.values()]
    if role in free:
        chosen[role] = role
        return True
    folded = {name.strip().casefold(): name for name in free}
    found = [folded[alias] for alias in (role, *ALIASES[role]) if alias in folded]
    if len(found) == 1:
        chosen[role] = found[0]
        notes.append(f"{table.origin.name}: {role} taken from column {found[0]!r}")
        return True
    if found:
        faults.add(
            f"the columns {listing(found)}, each of which could be the {role}",
            "one of them",
            f"say which with columns={{{role!r}: {found[0]!r}}}",
            table.origin.name,
        )
    elif missing_is_fault:
        faults.add(
            f"the columns {listing(free)}",
            f"one called {(wanted or role)!r}, or one of its usual names",
            f"say which it is with columns={{{role!r}: …}}.{did_you_mean(role, free)}",
            table.origin.name,
        )
    return False
