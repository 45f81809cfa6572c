"""The options of a dataclass, as recipes and help pages need them: name, kind, default, and what it is for."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

#: What `converted` answers for a value of the wrong kind; None is a value like another.
WRONG: Any = object()


@dataclass(frozen=True)
class Option:
    """One option: `kind` is its type hint."""

    name: str
    kind: Any
    default: Any
    help: str


def options_of(owner: type) -> dict[str, Option]:
    """The options that a dataclass has, those it inherits included, by name."""
    hints, told = get_type_hints(owner), _told(owner)
    return {
        f.name: Option(f.name, hints[f.name], f.default if f.default is not MISSING else None, told.get(f.name, ""))
        for f in fields(owner)
        if f.init
    }


def converted(value: Any, kind: Any) -> Any:
    """The value as that kind has it (a list becomes a tuple where one is wanted), or `WRONG`."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return next((c for c in (converted(value, part) for part in inside) if c is not WRONG), WRONG)
    if origin is Literal:
        return value if any(value == a and type(value) is type(a) for a in inside) else WRONG
    if kind in (None, type(None)):
        return None if value is None else WRONG
    if kind is float:
        kind = (int, float)
    if isinstance(value, bool) and kind is not bool:
        return WRONG
    if origin in (tuple, list, Sequence):
        return _listed(value, origin, inside)
    if origin is Mapping:
        fits = isinstance(value, dict) and all(converted(v, inside[1]) is not WRONG for v in value.values())
        return value if fits else WRONG
    return value if isinstance(value, kind) else WRONG


def from_text(text: str, kind: Any) -> Any:
    """What a word of the command line means for an option of that kind, or `WRONG`."""
    from nlptl.recipe.entries import scalar

    if text.casefold() in ("none", "null") and converted(None, kind) is None:
        return None
    for meant in (scalar(text), text, [part.strip() for part in text.split(",")]):
        found = converted(meant, kind)
        if found is not WRONG:
            return found
    return WRONG


def described(kind: Any) -> str:
    """A kind in words: ``a whole number or null``."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(part) for part in inside))
    if origin is Literal:
        return " or ".join(repr(a) for a in inside)
    if origin in (tuple, list, Sequence):
        return "a list"
    if origin is Mapping:
        return "a mapping"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    names[Path] = "a path"
    return names.get(kind, "a value")


def _listed(value: Any, origin: Any, inside: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return WRONG
    members = [converted(v, inside[0]) for v in value]
    if any(m is WRONG for m in members):
        return WRONG
    return tuple(members) if origin is tuple else members


def _told(owner: type) -> dict[str, str]:
    """The help of each option, from the numpydoc lines ``name : help`` of the class and of those it inherits from."""
    told: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n|\Z)", inspect.cleandoc(base.__doc__ or ""), re.M | re.S)
        names: list[str] = []
        for line in section[1].splitlines() if section else ():
            entry = re.match(r"(\w+(?:, \w+)*) : (.*)", line)
            if entry:
                names = entry[1].split(", ")
                told.update(dict.fromkeys(names, entry[2]))
            elif line.startswith(" "):
                told.update({name: f"{told[name]} {line.strip()}" for name in names})
    return told
