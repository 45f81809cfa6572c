"""How the command line speaks: results on stdout, everything said on the way on stderr, one line each."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from nlptl.errors import NlptlError, NlptlWarning
from nlptl.recipe import complains, is_main

FAULT, STOPPED = 2, 130


def note(text: str) -> None:
    """One line of what was chosen or inferred."""
    if is_main():
        print(f"· {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def notes_and_warnings() -> Iterator[None]:
    """The library's notes and warnings as single lines, from the main process only."""
    log, handler = logging.getLogger("nlptl"), _Notes()
    level, propagate, show = log.level, log.propagate, warnings.showwarning

    def shown(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if not issubclass(category, NlptlWarning):
            show(message, category, *where, **more)
        elif is_main():
            print(f"warning: {message}", file=sys.stderr, flush=True)

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another, and goes on
    with warnings.catch_warnings():
        warnings.simplefilter("always", NlptlWarning)
        warnings.showwarning = shown
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate


def failed(error: NlptlError) -> int:
    """Say what is wrong, in one message without a traceback."""
    if complains():
        print(f"nlptl: {error}", file=sys.stderr, flush=True)
    return FAULT


def stopped(command: str, told: str = "") -> int:
    """Say that Ctrl-C was heard, and what a run that wrote a checkpoint said of it."""
    if complains():
        more = " (in mode full or lora, --resume goes on from the last checkpoint)" if command == "fit" else ""
        print(f"nlptl: {told or 'stopped' + more}", file=sys.stderr)
    return STOPPED


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())
