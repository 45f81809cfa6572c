"""Files: found, decoded, and read row by row, with the place of every row."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlptl.data.delimited import read_delimited
from nlptl.data.examples import Origin
from nlptl.data.jsonfiles import read_json, read_json_lines
from nlptl.data.table import Table
from nlptl.errors import DataError, Fault, Faults, did_you_mean, listing

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LONGEST_ID = 193  # a name of 96 characters for the user and one for the data set
_TAG = re.compile(r"O|[BIESLU]-\S+")


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


def read_file(path: Path) -> Table:
    """The rows of a file, by its suffix."""
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
        return reader(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            Fault(f"a file that cannot be read ({reason})", "a readable file", "check it", str(path))
        ) from error


def decode(path: Path) -> str:
    """The text of a file, which must be UTF-8; every broken line is told with its byte."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        faults = Faults()
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            faults.add("a file in UTF-16", "UTF-8", "save it as UTF-8", path.name)
            faults.raise_if_any(DataError)
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                faults.add(
                    f"the byte 0x{line[error.start]:02x}, which is not UTF-8 here",
                    "text in UTF-8",
                    "save the file as UTF-8 (what was saved on Windows is often in cp1252)",
                    f"{path.name}, line {number}, byte {error.start + 1}",
                )
        raise DataError(*faults) from None


def _read_delimited(path: Path) -> Table:
    return read_delimited(decode(path), path.name, tab=path.suffix.lower() == ".tsv")


def _read_json_lines(path: Path) -> Table:
    return read_json_lines(decode(path), path.name)


def _read_json(path: Path) -> Table:
    return read_json(decode(path), path.name)


def _read_text(path: Path) -> Table:
    lines = decode(path).removesuffix("\n").split("\n")  # not splitlines: U+2028 may stand in a text
    texts = [line.removesuffix("\r") for line in lines] if lines != [""] else []
    return Table({"text": texts}, Origin(path.name, range(1, len(texts) + 1), "{name}, line {row}"))


def _read_arrow(path: Path) -> Table:
    from nlptl.data.frames import from_arrow_file  # pyarrow: only where it is needed

    return from_arrow_file(path)


def _read_conll(path: Path) -> Table:
    """One word a line, its tag in the last column; an empty line ends a sentence."""
    tokens: list[list[str]] = []
    tags: list[list[str]] = []
    rows: list[int] = []
    faults = Faults()
    widths: set[bool] = set()  # whether lines have tags
    in_sentence = False
    for number, line in enumerate(decode(path).split("\n"), 1):
        parts = _conll_cells(line)
        if not parts or parts[0] == "-DOCSTART-" or (parts[0].startswith("#") and not _TAG.fullmatch(parts[-1])):
            in_sentence = in_sentence and bool(parts) and parts[0] != "-DOCSTART-"
            continue
        if not in_sentence:
            tokens.append([])
            tags.append([])
            rows.append(number)
            in_sentence = True
        widths.add(len(parts) > 1)
        if len(widths) > 1:
            faults.add(
                f"the line {line.strip()!r}",
                "as many columns as in the other lines: a word first, its tag last",
                "add the tag, or empty the line if a sentence ends here",
                f"{path.name}, line {number}",
            )
            widths.discard(len(parts) > 1)
        tokens[-1].append(parts[0])
        tags[-1].append(parts[-1] if len(parts) > 1 else "")
    faults.raise_if_any(DataError)
    columns: dict[str, list[Any]] = {"tokens": tokens} if widths == {False} else {"tokens": tokens, "tags": tags}
    return Table(columns, Origin(path.name, rows, "{name}, line {row}"))


def _conll_cells(line: str) -> list[str]:
    """The columns of a line; of white space only tabs and spaces part them, for others may stand in a word."""
    bare = line.strip(" \t\r") if line.strip() else ""
    return bare.split("\t") if "\t" in bare else [cell for cell in bare.split(" ") if cell]


def folder_fault(path: Path) -> Fault:
    """What to say of a folder that is no saved data set."""
    files = sorted(f.name for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    return Fault(
        f"a folder, with the files {listing(files)}",
        "a file, or a folder that datasets' save_to_disk wrote",
        "name the file",
        str(path),
    )


SUFFIXES: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_arrow,
    ".arrow": _read_arrow,
    ".conll": _read_conll,
    ".txt": _read_text,
}
