"""What a YAML file or a command line says, as flat entries (``mode.rank``) that know where they were said."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nlptl.errors import Faults, did_you_mean

#: Sections that hold options of their own; ``name`` inside the first two is the section's name itself.
NAMED = ("task", "mode")
SECTIONS = (*NAMED, "compute", "columns")


@dataclass(frozen=True)
class Entry:
    """A value and its place; of a flag the value is the word as it was typed."""

    value: Any
    place: str
    is_text: bool = False


@cache
def loader() -> Any:
    """A SafeLoader that reads scalars as YAML 1.2 does.

    YAML 1.1 makes booleans of ``no`` and ``on``, octal numbers of ``01`` and text of ``1e-3``: none is what a person
    means who writes a label or a learning rate.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {}
    for kind, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", "~nN\0"),
        ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?((0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(0|[1-9][0-9]*)[eE][-+]?[0-9]+",
         "-+.0123456789"),
        ("merge", r"<<", "<"),
    ):  # fmt: skip
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"^(?:{pattern})$"), list(first))
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
    return Loader


def scalar(text: str) -> Any:
    """A word of the command line as YAML would read it; what is no YAML is text."""
    import yaml

    try:
        return yaml.load(text, loader())  # a SafeLoader, see above
    except yaml.YAMLError:
        return text


def from_file(path: str | Path, known: Iterable[str], faults: Faults) -> dict[str, Entry]:
    """The entries of a recipe file; what is wrong with it is added to the faults."""
    import yaml

    text = _text(Path(path), faults)
    reader = loader()(text)
    try:
        root = reader.get_single_node()
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            faults.add("no 'key: value' at the top", "one such line an option", "write 'task: sentiment'", str(path))
            return {}
        return _entries(reader, root, str(path), list(known), faults)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        faults.add(f"what YAML cannot read ({reason})", "plain YAML", "correct the line", where)
        return {}
    finally:
        reader.dispose()


def _entries(reader: Any, root: Any, file: str, known: list[str], faults: Faults) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for key, node, place in _pairs(reader, root, file, faults):
        if key not in known:
            faults.add(
                f"the unknown key {key!r}", f"one of {', '.join(known)}",
                f"correct it; options of a mode go under mode:, those of a task under task:.{did_you_mean(key, known)}",
                place,
            )  # fmt: skip
        elif key in SECTIONS and hasattr(node, "value") and node.id == "mapping":
            for inner, leaf, there in _pairs(reader, node, file, faults):
                name = key if key in NAMED and inner == "name" else f"{key}.{inner}"
                entries[name] = Entry(reader.construct_object(leaf, deep=True), there)
        else:
            value = reader.construct_object(node, deep=True)
            if value is not None:  # a key without a value says nothing
                entries[key] = Entry(value, place)
    return entries


def _pairs(reader: Any, node: Any, file: str, faults: Faults) -> list[tuple[str, Any, str]]:
    """Key, value and place of a mapping's lines; a key that comes twice is a fault, where YAML would keep the last."""
    reader.flatten_mapping(node)
    found: dict[str, tuple[str, Any, str]] = {}
    for key_node, value_node in node.value:
        key = str(reader.construct_object(key_node, deep=True))
        place = f"{file}, line {key_node.start_mark.line + 1}"
        if key in found:
            faults.add(f"{key!r} a second time", "each key once", f"leave one out (the other: {found[key][2]})", place)
        found[key] = key, value_node, place
    return list(found.values())


def _text(path: Path, faults: Faults) -> str:
    """The file's text; of one that cannot be read nothing, and a fault beside the others."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        received = f"bytes that are no UTF-8 (at byte {error.start})"
        faults.add(received, "a recipe in UTF-8", "save it as such", str(path))
    except OSError as error:
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        received = f"a recipe that cannot be read ({error.strerror})"
        faults.add(received, "a YAML file", f"correct the path.{did_you_mean(path.name, near)}", str(path))
    return ""
