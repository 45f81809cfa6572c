"""Text files as lines, which must be UTF-8; where they are not, every broken line is told with its byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from nlptl.errors import DataError, Faults


@contextmanager
def open_text(path: Path, newline: str = "\n") -> Iterator[TextIO]:
    """A file's lines, decoded as they are read; only "\\n" ends one, for U+2028 may stand in a text."""
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as lines:
            yield lines
    except UnicodeDecodeError:
        raise DataError(*_broken(path)) from None


def _broken(path: Path) -> Faults:
    faults = Faults()
    with path.open("rb") as data:
        if data.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            faults.add("a file in UTF-16", "UTF-8", "save it as UTF-8", path.name)
            return faults
        data.seek(0)
        for number, line in enumerate(data, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                faults.add(
                    f"the byte 0x{line[error.start]:02x}, which is not UTF-8 here",
                    "text in UTF-8",
                    "save the file as UTF-8 (what was saved on Windows is often in cp1252)",
                    f"{path.name}, line {number}, byte {error.start + 1}",
                )
    return faults
