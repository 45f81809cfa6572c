"""Where a bundle is put: one step from the former to the new, so that whoever comes by finds the one or the other.

Linux exchanges two folders in one step (`renameat2`). Where that is not to be had, the former is renamed aside first:
a process killed between the two renames leaves the former as ``.NAME.PID.old``, which `standing` finds, and which the
next `put` moves back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nlptl.bundle.files import MANIFEST
from nlptl.engine.checkpoint import flush
from nlptl.errors import BundleError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def check_place(folder: Path, mark: str = MANIFEST) -> None:
    """Refuse a place that cannot be written, or that holds something that is no bundle."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tried = _beside(folder)
        tried.mkdir(exist_ok=True)
        tried.rmdir()
    except OSError as error:
        raise BundleError(
            f"{folder}: received a place that cannot be written to ({error.strerror}); expected a folder that can; "
            "choose another"
        ) from None
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file()):
        raise BundleError(
            f"{folder}: received a place that holds something else; expected a new name, an empty folder, or a bundle "
            "to replace; choose another name"
        )


@contextlib.contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` to write into; gone at the end, whatever happens."""
    _tidy(folder)
    made = _beside(folder)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def put(made: Path, folder: Path) -> None:
    """Everything flushed, then into its place; a former bundle goes only when the new one stands."""
    for path in made.rglob("*"):
        flush(path)
    flush(made)
    if not folder.exists() or not any(folder.iterdir()):
        os.replace(made, folder)
    elif not _exchange(made, folder):
        former = folder.parent / f".{folder.name}.{os.getpid()}.old"
        os.replace(folder, former)
        os.replace(made, folder)
        made = former
    flush(folder.parent)
    shutil.rmtree(made, ignore_errors=True)


def standing(folder: Path) -> Path:
    """The folder itself, or what a save that was killed between two renames left of the former one."""
    if folder.exists():
        return folder
    return next((former for former, _ in _left(folder, "old") if (former / MANIFEST).is_file()), folder)


def _beside(folder: Path) -> Path:
    """Where this process writes aside."""
    return folder.parent / f".{folder.name}.{os.getpid()}.tmp"


def _tidy(folder: Path) -> None:
    """Put back or remove what processes that are gone have left beside a folder."""
    for former, process in _left(folder, "old"):
        if not folder.exists() and (former / MANIFEST).is_file() and not _alive(process):
            os.replace(former, folder)
    for kind in ("tmp", "old"):
        for path, process in _left(folder, kind):
            if not _alive(process):
                shutil.rmtree(path, ignore_errors=True)


def _left(folder: Path, kind: str) -> list[tuple[Path, int]]:
    if not folder.parent.is_dir():
        return []
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)\.{kind}")
    found = [(pattern.fullmatch(path.name), path) for path in sorted(folder.parent.iterdir())]
    return [(path, int(match[1])) for match, path in found if match]


def _alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # where signal 0 would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Both names change places in one step; False where the system cannot do that."""
    call = _renameat2()
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False  # a file system or a kernel without it
    raise OSError(number, os.strerror(number), str(other))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    found: Callable[..., int] = call
    return found
