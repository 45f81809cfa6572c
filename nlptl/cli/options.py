"""Every option of every task and mode, with its default and what it is for."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping

from nlptl.errors import OptionError, did_you_mean, listing
from nlptl.recipe import tell
from nlptl.recipe.options import described, options_of

HELP = "list every option of every task and mode, with its default and what it is for"
EXAMPLES = """\
  nlptl options
  nlptl options lora compute"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help="a task, a mode, or compute; all of them where none is named"
    )


def run(given: argparse.Namespace) -> None:
    from nlptl import modes, registry, tasks
    from nlptl.engine.compute import Compute
    from nlptl.tasks.base import Task

    known: dict[str, tuple[str, type]] = {}
    groups: dict[str, Mapping[str, type]] = {
        "task": registry.named_classes(tasks, Task),  # type: ignore[type-abstract]
        "mode": modes.classes(),
        "compute": {"compute": Compute},
    }
    for section, classes in groups.items():
        known |= {name: (section, owner) for name, owner in classes.items()}
    for name in given.name:
        if name not in known:
            hint = did_you_mean(name, known)
            given.faults.add(repr(name), f"one of {listing(known)}", f"choose one.{hint}", "nlptl options")
    for entry in given.dotted.values():
        given.faults.add(f"the flag {entry.place}", "names only", "leave it out", "nlptl options")
    given.faults.raise_if_any(OptionError)
    tell("\n\n".join(_page(name, *known[name]) for name in given.name or known))


def _page(name: str, section: str, owner: type) -> str:
    about = (owner.__doc__ or "").strip().splitlines()[0]
    lines = [f"{section} {name}: {about}" if section != name else f"{name}: {about}"]
    for option in options_of(owner).values():
        lines.append(f"  --{section}.{option.name}  ({described(option.kind)}; default {option.default!r})")
        lines += textwrap.wrap(option.help, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines if len(lines) > 1 else [*lines, "  no options"])
