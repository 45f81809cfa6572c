"""Flags with a dot (``--mode.rank 16``), and what several commands ask alike."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptl.errors import Faults, OptionError, did_you_mean
from nlptl.recipe import Entry

if TYPE_CHECKING:
    from nlptl.learner import Learner

DOTTED = re.compile(r"--(task|mode|compute|columns)\.([\w-]+)(?:=(.*))?", re.S)


def take_dotted(words: Sequence[str], faults: Faults) -> tuple[dict[str, Entry], list[str]]:
    """The dotted flags of a command line, and the words that are left for argparse."""
    found: dict[str, Entry] = {}
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return found, [*left, word, *rest]
        match = DOTTED.fullmatch(word)
        if match is None:
            left.append(word)
            continue
        flag, value = f"--{match[1]}.{match[2]}", match[3]
        value = next(rest, None) if value is None else value
        if value is None or value.startswith("--"):
            faults.add(f"{flag} without a value", "one after it", f"write {flag} VALUE", flag)
        else:
            found[f"{match[1]}.{match[2].replace('-', '_')}"] = Entry(value, flag, is_text=True)
    return found, left


def columns_of(pairs: Sequence[str] | None, faults: Faults) -> dict[str, Entry]:
    """The entries of ``--columns text=review label=stars``."""
    found = {}
    for pair in pairs or ():
        role, _, name = pair.partition("=")
        if role and name:
            found[f"columns.{role}"] = Entry(name, "--columns", is_text=True)
        else:
            faults.add(repr(pair), "role=column", "write --columns text=review", "--columns")
    return found


def unknown_words(words: Sequence[str], parser: argparse.ArgumentParser, faults: Faults) -> None:
    """A fault for each flag that the command does not have; words behind one may be its values."""
    flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
    follows = False
    for word in words:
        if word.startswith("-"):
            hint = did_you_mean(word.partition("=")[0], flags)
            faults.add(
                f"the unknown flag {word}",
                f"one of {', '.join(flags)}",
                f"correct it or leave it out.{hint}",
                parser.prog,
            )
        elif not follows:
            faults.add(f"the word {word!r} too many", "fewer words", f"see {parser.prog} --help", parser.prog)
        follows = follows or word.startswith("-")


def add_columns(parser: argparse.ArgumentParser, help: str) -> None:
    """``--columns``, as every command has it."""
    parser.add_argument("--columns", nargs="+", action="extend", metavar="ROLE=COLUMN", help=help)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """What it takes to load a saved learner."""
    add_base(parser)
    parser.add_argument(
        "--trusted", nargs="+", default=(), metavar="TYPE", help="further types an sklearn head may hold"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def add_base(parser: argparse.ArgumentParser) -> None:
    """The folder of a bundle, and what may have to be said of its base."""
    parser.add_argument("folder", metavar="FOLDER", help="what nlptl fit or Learner.save wrote, or a Hub id")
    parser.add_argument("--revision", metavar="REVISION", help="of a Hub id: a branch, tag or commit")
    parser.add_argument("--backbone", metavar="DIR", help="where the base is, if the folder cannot say")
    parser.add_argument("--allow-base-drift", action="store_true", help="go on with a base whose weights have changed")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that the base brings along")


def refuse_dotted(dotted: dict[str, Entry], faults: Faults, command: str) -> None:
    """A fault for each dotted flag of a command that has no use for any."""
    for entry in dotted.values():
        faults.add(f"the flag {entry.place}", f"none of its kind with {command}", "leave it out", command)


def open_bundle(given: Any) -> tuple[Learner, dict[str, Any]]:
    """The learner that a command names, working as the ``--compute.…`` flags say, and the columns it is to read."""
    from nlptl import recipe

    faults: Faults = given.faults
    flags = {**given.dotted, **columns_of(given.columns, faults)}
    for key in [key for key in flags if key.startswith(("task.", "mode."))]:
        place = flags.pop(key).place
        faults.add(f"{place}", "--compute.… or --columns", "leave it out: what was learnt has its task and mode", place)
    asked = recipe.parts(flags, faults)
    faults.raise_if_any(OptionError)
    from nlptl.learner import Learner

    learner = Learner.load(
        bundle_folder(given.folder),
        backbone=given.backbone,
        revision=given.revision,
        trusted=tuple(given.trusted),
        allow_base_drift=given.allow_base_drift,
        trust_remote_code=given.trust_remote_code,
    )
    return learner.set_params(compute=asked["compute"]), asked["columns"]


def bundle_folder(folder: str) -> Path:
    """The bundle itself, also where the folder of its run is named."""
    from nlptl.bundle.manifest import NAME

    path = Path(folder).expanduser()
    inside = path / "model"
    return inside if (inside / NAME).is_file() and not (path / NAME).is_file() else path
