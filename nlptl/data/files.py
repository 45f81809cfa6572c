"""Files: found by what names them, and read by their suffix, whole or in parts, with the place of every row."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from nlptl.data.conll import read_conll
from nlptl.data.decoding import open_text
from nlptl.data.delimited import read_delimited
from nlptl.data.examples import Origin
from nlptl.data.jsonfiles import read_json, read_json_lines
from nlptl.data.table import Table, chunks
from nlptl.errors import DataError, Fault, did_you_mean, listing

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LONGEST_ID = 193  # a name of 96 characters for the user and one for the data set


def locate(source: str | os.PathLike[str]) -> Path | None:
    """The path that a source names; None where it can only be the id of a Hub data set."""
    text = os.fspath(source)
    path = Path(text).expanduser()
    if os.path.exists(path):
        return path
    is_path = not isinstance(source, str) or path.suffix in SUFFIXES or text[:1] in ("/", ".", "~")
    if not is_path and _HUB_ID.fullmatch(text) and len(text) <= _LONGEST_ID:
        return None
    if not is_path and (any(c.isspace() for c in text) or len(text) > _LONGEST_ID):
        shown = text if len(text) <= 60 else text[:57] + "…"
        raise DataError(
            Fault(f"the text {shown!r} by itself", "a list of texts, or a path", "put the text into a list: [text]")
        )
    raise DataError(
        Fault(
            f"the path {text!r}, where there is nothing",
            f"a file ({' '.join(SUFFIXES)}), a folder that datasets saved, or a Hub data set as 'user/name'",
            f"correct the path.{near_files(path)}",
        )
    )


def near_files(path: Path) -> str:
    """A sentence that offers the file of the same folder whose name is nearest."""
    if not path.parent.is_dir():
        return f" The folder '{path.parent}' is not there either."
    return did_you_mean(path.name, sorted(os.listdir(path.parent)))


def read_file(path: Path, size: int | None) -> Iterator[Table]:
    """The rows of a file, by its suffix, in tables of `size` rows or in one; the first table is there at any rate."""
    reader = SUFFIXES.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            Fault(
                f"a file of suffix {path.suffix!r}",
                f"one of {' '.join(SUFFIXES)}",
                "rename it after what it holds, or save it in one of these formats",
                str(path),
            )
        )
    try:
        yield from reader(path, size)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            Fault(f"a file that cannot be read ({reason})", "a readable file", "check it", str(path))
        ) from error


def _read_json_lines(path: Path, size: int | None) -> Iterator[Table]:
    with open_text(path) as lines:
        yield from read_json_lines(lines, path.name, size)


def _read_json(path: Path, size: int | None) -> Iterator[Table]:
    """One value, and so read whole; only then are its rows handed on in parts."""
    with open_text(path) as lines:
        table = read_json(lines.read(), path.name)
    yield from table.parts(size)


def _read_text(path: Path, size: int | None) -> Iterator[Table]:
    first = 1
    with open_text(path) as lines:
        for part in chunks((line.removesuffix("\n").removesuffix("\r") for line in lines), size):
            yield Table({"text": part}, Origin(path.name, range(first, first + len(part)), "{name}, line {row}"))
            first += len(part)


def _read_arrow(path: Path, size: int | None) -> Iterator[Table]:
    from nlptl.data.frames import from_arrow_file  # pyarrow: only where it is needed

    return from_arrow_file(path, size)


def _read_conll(path: Path, size: int | None) -> Iterator[Table]:
    with open_text(path) as lines:
        yield from read_conll(lines, path.name, size)


def folder_fault(path: Path) -> Fault:
    """What to say of a folder that is no saved data set."""
    files = sorted(f.name for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    return Fault(
        f"a folder, with the files {listing(files)}",
        "a file, or a folder that datasets' save_to_disk wrote",
        "name the file",
        str(path),
    )


SUFFIXES: dict[str, Callable[[Path, int | None], Iterator[Table]]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_arrow,
    ".arrow": _read_arrow,
    ".conll": _read_conll,
    ".txt": _read_text,
}
