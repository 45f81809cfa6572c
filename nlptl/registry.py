"""The folder is the registry: a module in it that defines a named thing adds that thing.

Used for tasks, modes and backbone families alike, so that adding one means writing one file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeVar

from nlptl.errors import OptionError, did_you_mean, listing

T = TypeVar("T")


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """Every public module of a package, in the order of their names."""
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if not found.name.startswith("_"):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def named_classes(package: ModuleType, base: type[T]) -> dict[str, type[T]]:
    """The subclasses of `base` that a package's modules define, by their `name`; the abstract ones have none."""
    found: dict[str, type[T]] = {}
    for module in modules(package):
        for thing in vars(module).values():
            defined_here = isinstance(thing, type) and thing.__module__ == module.__name__
            if defined_here and issubclass(thing, base) and "name" in vars(thing):
                found[vars(thing)["name"]] = thing
    return found


def resolve(given: Any, package: ModuleType, base: type[T], argument: str) -> T:
    """An object as it was given, or the defaults of the one with this name."""
    if isinstance(given, base):
        return given
    known = named_classes(package, base)
    if isinstance(given, str) and given in known:
        return known[given]()
    if isinstance(given, type) and issubclass(given, base):
        raise OptionError(
            f"{argument}=…: received the class {given.__name__}; expected an object of it, or a name; "
            f"write {given.__name__}()"
        )
    hint = did_you_mean(given, known) if isinstance(given, str) else ""
    raise OptionError(
        f"{argument}=…: received {given!r}; expected one of {listing(known)}, or an object made by "
        f"{', '.join(c.__name__ + '(…)' for c in known.values())}; choose one.{hint}"
    )
