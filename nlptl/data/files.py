"""Files as tables. Text stays text: a cell that says NA is a text, a label that says 01 keeps its zero."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlptl.data.examples import Origin
from nlptl.data.tables import Table, from_dataset
from nlptl.errors import DataError, Fault, Faults, did_you_mean, listing

ROW = "{name}, row {row}"


def read_file(path: Path, split: str | None) -> Table:
    """The table in a file, by its suffix; a folder is a dataset that `save_to_disk` wrote."""
    if path.is_dir():
        return _saved_dataset(path, split)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            Fault(
                f"a file of the kind {path.suffix or '(no suffix)'!r}",
                f"one of {listing(READERS, 20)}",
                f"save it as one of these.{did_you_mean(path.suffix, READERS)}",
                str(path),
            )
        )
    if path.stat().st_size == 0:
        raise DataError(Fault("an empty file", "rows to read", "check that it was written", str(path)))
    return reader(path)


def absent(path: Path) -> Fault:
    """What to say of a path that is not there."""
    folder = path.parent
    if not folder.is_dir():
        hint = f"the folder {str(folder)!r} is not there either"
        return Fault("a path that is not there", "a file of rows", f"check the path: {hint}", str(path))
    beside = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in READERS)
    hint = did_you_mean(path.name, beside) or f" Beside it there: {listing(beside)}."
    return Fault("a path that is not there", "a file of rows", f"check the path.{hint}", str(path))


def _text(path: Path) -> str:
    """The whole file as text; a byte that is no UTF-8 is told with its line."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            Fault(
                f"the byte 0x{data[error.start]:02x} at position {error.start}, which is not UTF-8",
                "a text file in UTF-8",
                "save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'; on a command line: iconv -f latin1 -t utf-8)",
                f"{path.name}, row {line}",
            )
        ) from None


def _csv(path: Path, delimiter: str = ",") -> Table:
    text = _text(path)
    head = text.partition("\n")[0]
    notes: tuple[str, ...] = ()
    if delimiter == "," and "," not in head and ";" in head:
        delimiter, notes = ";", (f"{path.name}: columns separated by ';'",)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    faults = Faults()
    start = 1
    try:
        header = [name.strip() for name in next(reader)]
        start = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                faults.add(
                    f"{len(row)} cells",
                    f"{len(header)}, as the header has",
                    "put quotes around cells that hold the separator or a line break",
                    f"{path.name}, row {start}",
                )
            elif row:
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        faults.add(
            f"a row that cannot be read ({error})", "well-formed CSV", "close its quotes", f"{path.name}, row {start}"
        )
    faults.raise_if_any(DataError)
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DataError(
            Fault(f"the column {doubled[0]!r} twice", "each name once", "rename one of them", f"{path.name}, row 1")
        )
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    return Table(columns, Origin(path.name, lines, ROW), notes)


def _tsv(path: Path) -> Table:
    return _csv(path, "\t")


def _jsonl(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    faults = Faults()
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}, row {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            faults.add(f"a line that is no JSON ({error})", "one JSON object a line", "mend or drop the line", where)
            continue
        if not isinstance(row, dict):
            faults.add(f"a JSON {type(row).__name__}", "one JSON object a line", "write {…} with named values", where)
            continue
        rows.append(row)
        lines.append(number)
    faults.raise_if_any(DataError)
    return _from_rows(rows, Origin(path.name, lines, ROW))


def _json(path: Path) -> Table:
    try:
        rows = json.loads(_text(path))
    except ValueError as error:
        raise DataError(
            Fault(f"a file that is no JSON ({error})", "a list of objects", "mend it, or use .jsonl", path.name)
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            Fault("JSON that is no list of objects", "[{…}, {…}]", "write one object a row, or use .jsonl", path.name)
        )
    return _from_rows(rows, Origin(path.name, range(1, len(rows) + 1), ROW))


def _parquet(path: Path) -> Table:
    from pyarrow import parquet

    return _arrow_table(path, lambda: parquet.read_table(path))


def _arrow(path: Path) -> Table:
    from pyarrow import ipc

    def read() -> Any:
        with path.open("rb") as handle:
            magic = handle.read(6)
        opener = ipc.open_file if magic == b"ARROW1" else ipc.open_stream
        with path.open("rb") as handle:
            return opener(handle).read_all()

    return _arrow_table(path, read)


def _arrow_table(path: Path, read: Callable[[], Any]) -> Table:
    import pyarrow as pa

    try:
        table = read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            Fault(f"a file that cannot be read ({reason})", f"a whole {path.suffix} file", "write it again", path.name)
        ) from None
    return Table(table.to_pydict(), Origin(path.name, range(1, table.num_rows + 1), ROW))


def _conll(path: Path) -> Table:
    """The first column the word, the last the tag; an empty line ends a sentence."""
    tokens: list[list[str]] = []
    tags: list[list[str]] = []
    lines: list[int] = []
    faults = Faults()
    open_sentence = False
    for number, line in enumerate(_text(path).splitlines(), 1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or cells[0] == "-DOCSTART-" or (line.startswith("# ") and "=" in line):
            open_sentence = False
            continue
        if len(cells) < 2:
            faults.add(f"the line {line!r}", "a word and its tag", "give each word a tag", f"{path.name}, row {number}")
            continue
        if not open_sentence:
            tokens.append([])
            tags.append([])
            lines.append(number)
            open_sentence = True
        tokens[-1].append(cells[0])
        tags[-1].append(cells[-1].strip())
    faults.raise_if_any(DataError)
    return Table({"tokens": tokens, "tags": tags}, Origin(path.name, lines, ROW))


def _lines(path: Path) -> Table:
    numbered = [(n, line) for n, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    return Table({"text": [line for _, line in numbered]}, Origin(path.name, [n for n, _ in numbered], ROW))


def _saved_dataset(path: Path, split: str | None) -> Table:
    import datasets

    try:
        dataset = datasets.load_from_disk(str(path))
    except (FileNotFoundError, ValueError):
        raise DataError(
            Fault("a folder", "a file, or a folder that datasets' save_to_disk wrote", "name a file in it", str(path))
        ) from None
    return from_dataset(dataset, path.name, split)


def _from_rows(rows: list[dict[str, Any]], origin: Origin) -> Table:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return Table({key: [row.get(key) for row in rows] for key in keys}, origin)


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".conll": _conll,
    ".txt": _lines,
}
