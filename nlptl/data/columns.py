"""Which column plays which role: as the user says, or inferred from its name and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nlptl.data.examples import Level
from nlptl.errors import Faults, did_you_mean, listing

Need = Literal["required", "optional", "none"]
Role = Literal["text", "text_pair", "label", "tokens", "tags", "spans", "weight"]

# `weight` has no other names, and is never inferred: a column of that name may well hold kilograms.
ALIASES: dict[Role, tuple[str, ...]] = {
    "text": ("sentence", "review", "content", "message", "document", "comment", "tweet", "question", "body"),
    "text_pair": (),
    "label": (
        *("labels", "class", "category", "target", "sentiment"),
        *("stars", "rating", "intent", "topic"),
    ),
    "tokens": ("words",),
    "tags": ("ner_tags", "labels"),
    "spans": ("entities",),
    "weight": (),
}
ROLES: dict[Level, tuple[Role, ...]] = {
    "sequence": ("text", "text_pair", "label", "weight"),
    "token": ("text", "tokens", "tags", "spans", "weight"),
}
PAIRS = (("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"))


@dataclass
class Roles:
    """The columns found, and what there is to say about how they were."""

    names: Sequence[str]
    given: Mapping[str, str | Sequence[str]]
    where: str
    faults: Faults
    found: dict[str, str | list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __contains__(self, role: str) -> bool:
        return role in self.found

    def look(self, role: Role) -> None:
        """Find a role's column if there is one; several that could be it are a fault."""
        if role in self.found:
            return
        if role in self.given:
            self._take_given(role, self.given[role])
            return
        matches = self._named(role) or [n for n in self._free() if n.strip().casefold() in ALIASES[role]]
        if len(matches) == 1:
            self._take(role, matches[0])
        elif matches:
            self.faults.add(
                f"the columns {listing(matches)}, each of which could be the {role}",
                "one of them",
                f"say which: columns={{'{role}': {matches[0]!r}}}",
                self.where,
            )
            self.found[role] = matches[0]  # told already: not to be told again as missing

    def require(self, role: Role) -> None:
        """Find a role's column, or say that it is missing."""
        self.look(role)
        if role in self.found or role in self.given:
            return
        usual = (role, *ALIASES[role])
        # A column that goes by the name of another role is never what was meant.
        others = {name for other in ALIASES if other != role for name in (other, *ALIASES[other])} - set(usual)
        free = [name for name in self._free() if name.strip().casefold() not in others]
        near = next(filter(None, (did_you_mean(name, free) for name in usual)), "")
        expected = f"a column '{role}'" + (f" (or {', '.join(ALIASES[role])})" if ALIASES[role] else "")
        self.faults.add(
            f"no column for the {role} among {listing(self.names)}",
            expected,
            f"rename it, or name it: columns={{'{role}': '…'}}.{near}",
            self.where,
        )

    def look_pair(self) -> None:
        """A second text, only where both columns bear one of the usual pairs of names."""
        if "text" in self.given or "text_pair" in self.given:
            if "text_pair" in self.given:
                self.look("text_pair")
            return
        folded = {n.strip().casefold(): n for n in self._free()}
        both = [(folded[a], folded[b]) for a, b in PAIRS if a in folded and b in folded]
        if len(both) == 1:
            first, second = both[0]
            self.found |= {"text": first, "text_pair": second}
            self.notes.append(f"text pairs taken from columns {first!r} and {second!r}")

    def _named(self, role: str) -> list[str]:
        exact = [n for n in self._free() if n == role]
        return exact or [n for n in self._free() if n.strip().casefold() == role]

    def _free(self) -> list[str]:
        """The columns that the user has not given another role."""
        taken = {n for v in self.given.values() for n in ([v] if isinstance(v, str) else v)}
        return [n for n in self.names if n not in taken]

    def _take(self, role: Role, name: str) -> None:
        self.found[role] = name
        if name != role:
            self.notes.append(f"{role} taken from column {name!r}")

    def _take_given(self, role: Role, given: str | Sequence[str]) -> None:
        wanted = [given] if isinstance(given, str) else list(given)
        for name in wanted:
            if name not in self.names:
                self.faults.add(
                    f"columns={{'{role}': {name!r}}}, where there is no such column",
                    f"one of the columns {listing(self.names)}",
                    f"correct the name.{did_you_mean(str(name), self.names)}",
                    self.where,
                )
        self.found[role] = given if isinstance(given, str) else wanted


def find(
    names: Sequence[str],
    given: Mapping[str, str | Sequence[str]],
    *,
    level: Level,
    targets: Need,
    where: str,
    faults: Faults,
) -> Roles:
    """The column of every role that a task of this level needs."""
    roles = Roles(names, given, where, faults)
    _check_given(given, names, level, where, faults)
    if faults:  # what else would be missed follows from these
        return roles
    if level == "sequence":
        roles.look_pair()
        roles.require("text")
        if targets != "none":
            _seek(roles, "label", targets)
    else:
        _find_token_level(roles, targets)
    if "weight" in given:
        roles.look("weight")
    return roles


def _find_token_level(roles: Roles, targets: Need) -> None:
    """Words with their tags, or a text with its spans: whichever is there."""
    sides: tuple[tuple[Role, Role], ...] = (("tokens", "tags"), ("text", "spans"))
    chosen = [side for side in sides if side[0] in roles.given or side[1] in roles.given]
    if not chosen:
        chosen = [side for side in sides if _is_there(roles, side[0]) and _is_there(roles, side[1])]
        if targets == "none" or not chosen:
            chosen = [side for side in sides if _is_there(roles, side[0])]
    if len(chosen) > 1 and targets != "none":
        roles.faults.add(
            "both words and texts, and tags or spans that could belong to either",
            "words and tags, or a text and spans",
            "say which: columns={'tokens': …, 'tags': …} or columns={'text': …, 'spans': …}",
            roles.where,
        )
        return
    inputs, wanted = chosen[0] if chosen else sides[0]
    roles.require(inputs)
    if len(chosen) > 1:
        roles.notes.append(
            f"of the columns with words and with texts, the words were taken ({roles.found['tokens']!r})"
        )
    if targets != "none":
        _seek(roles, wanted, targets)


def _is_there(roles: Roles, role: Role) -> bool:
    probe = Roles(roles.names, roles.given, "", Faults())
    probe.look(role)
    return role in probe


def _seek(roles: Roles, role: Role, need: Need) -> None:
    if need == "required":
        roles.require(role)
    else:
        roles.look(role)


def _check_given(
    given: Mapping[str, str | Sequence[str]], names: Sequence[str], level: Level, where: str, faults: Faults
) -> None:
    for role, name in given.items():
        if role not in ROLES[level]:
            faults.add(
                f"columns={{{role!r}: {name!r}}}",
                f"roles among {listing(ROLES[level])}",
                f"name a role, then its column.{did_you_mean(role, ROLES[level])}",
                where,
            )
        elif not all(isinstance(n, str) for n in (name if isinstance(name, list | tuple) else [name])):
            faults.add(
                f"columns={{{role!r}: {name!r}}}",
                f"the name of a column as text, among {listing(names)}",
                "write the name in quotes",
                where,
            )
        elif not name:
            faults.add(
                f"columns={{{role!r}: {name!r}}}", "at least one column", "name it, or leave the role out", where
            )
        elif not isinstance(name, str) and role != "label":
            faults.add(
                f"columns={{{role!r}: {name!r}}}",
                "one column name (only 'label' may have several, of 0 and 1)",
                "name one column",
                where,
            )
