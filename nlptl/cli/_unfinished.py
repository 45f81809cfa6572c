"""A file of results while it grows: beside its place, flushed part by part, and gone on with after any end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nlptl.errors import OptionError


class Unfinished:
    """Lines on their way into a file, which has its name only when it is whole.

    They are appended to ``NAME.part``; ``NAME.part.json`` tells of what run they are.

    Parameters
    ----------
    path : the file that is to be
    run : what the results depend on, as JSON keeps it
    resume : go on after the last whole line that a run of the same kind left
    """

    def __init__(self, path: Path, run: dict[str, Any], resume: bool) -> None:
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._told = path.with_name(f"{path.name}.part.json")
        self.rows = 0
        with self._writing():
            there = self.part.exists() and self.part.stat().st_size > 0
            if there and not resume:
                raise OptionError(
                    f"--output: received {str(path)!r}, of which an unfinished run has left {self.part.name}; expected "
                    "to go on with it; add --resume, or remove it to start afresh"
                )
            if there:
                self._check(run)
            else:
                self._tell(run)
            self._lines = self.part.open("a", encoding="utf-8", newline="\n")
            self._lock()
            self.rows = _cut_after_last_line(self.part)

    def write(self, lines: Iterable[str], every: int) -> int:
        """Append lines, see every so many of them safely on the disk, and the last of all; how many there are now."""
        try:
            for line in lines:
                with self._writing():
                    self._lines.write(line + "\n")
                    self.rows += 1
                    if self.rows % every == 0:
                        self._flush()
            with self._writing():
                self._flush()
                os.replace(self.part, self.path)
                self._told.unlink()
                _flush_folder(self.path.parent)
        finally:
            with suppress(OSError):  # a full disk has been told already
                self._lines.close()
        return self.rows

    def _lock(self) -> None:
        """Two processes that go on with one file would write each row twice."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lines.close()
            raise OptionError(
                f"--output: received {str(self.path)!r}, which another process is writing; expected one at a time; "
                "wait for it, or end it"
            ) from None

    def _flush(self) -> None:
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def _tell(self, run: dict[str, Any]) -> None:
        aside = self._told.with_name(f".{self._told.name}.{os.getpid()}.tmp")
        try:
            with aside.open("w", encoding="utf-8") as file:
                json.dump(run, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self._told)
        finally:
            aside.unlink(missing_ok=True)
        _flush_folder(self.path.parent)

    def _check(self, run: dict[str, Any]) -> None:
        """Refuse to go on with rows of another input, another bundle, or another way of computing them."""
        try:
            told = json.loads(self._told.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            told = None
        if not isinstance(told, dict):
            raise OptionError(
                f"--resume: received {self.part.name} without a {self._told.name} that tells of what run it is; "
                "expected both; remove it to start afresh"
            )
        differing = [
            f"{key} was {told.get(key)!r} and is {run.get(key)!r}"
            for key in sorted({*told, *run})
            if told.get(key) != run.get(key)
        ]
        if differing:
            raise OptionError(
                f"--resume: received {self.part.name}, rows of another run: {'; '.join(differing)}; expected the same; "
                "run it as before, or remove the file to start afresh"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = "; what is whole in it is kept, and --resume goes on from there" if self.rows else ""
            raise OptionError(
                f"--output: received {str(self.path)!r}, which cannot be written ({error.strerror}); expected a file "
                f"in a folder that is there, with room on its disk; name another, or make room{kept}"
            ) from None


def digest(path: str) -> str:
    """What tells an input from any other: of a file its content, of a folder its files, of an id its name."""
    place = Path(path).expanduser()
    if place.is_file():
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else []
    told = [(str(p.relative_to(place)), p.stat().st_size, p.stat().st_mtime_ns) for p in files] or path
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _cut_after_last_line(part: Path) -> int:
    """How many whole lines there are; what a killed process wrote of the next one is cut off."""
    rows = whole = 0
    with part.open("r+b") as file:
        for line in file:
            if not _is_whole(line):  # a disk that lost its power may also have left zeros
                break
            rows, whole = rows + 1, whole + len(line)
        file.truncate(whole)
        os.fsync(file.fileno())
    return rows


def _is_whole(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}\n")


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
