"""Ctrl-C and SIGTERM while a run has a step to finish and a checkpoint to write before it stops."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn

log = logging.getLogger("nlptl")

HEARD = (signal.SIGINT, signal.SIGTERM)

#: Launchers pass on a signal that the terminal has sent already; what comes later than this is meant as a second one.
SAME_SECONDS = 2.0


class Interruption:
    """Notes a signal for the end of the step; a second one, some seconds later, stops at once.

    Handlers are only Python's to set in the main thread; in another, and where a signal is ignored (``nohup``), all
    stays as it is.
    """

    def __init__(self, *, listening: bool) -> None:
        self.heard: int | None = None
        self._listening = listening and threading.current_thread() is threading.main_thread()
        self._since = 0.0
        self._former: dict[int, Any] = {}

    def stop(self, number: int, told: str) -> NoReturn:
        """End the run as that signal would have: KeyboardInterrupt, or an exit with code 143."""
        former = self._former.get(number)
        self._give_back()
        if callable(former) and former is not signal.default_int_handler:
            former(number, None)  # whoever embeds us has a plan of its own for this signal
        self._end(number, told)

    def __enter__(self) -> Interruption:
        for number in HEARD if self._listening else ():
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._former[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        if kind is None and self.heard is not None:  # it came after the last step, when all was written already
            self._end(self.heard, "stopped when training was done; resume goes on from its last checkpoint")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.heard is None:
            self.heard, self._since = number, now
        elif now - self._since > SAME_SECONDS:
            self._give_back()
            self._end(number, "stopped at once, without a checkpoint of this moment")

    def _end(self, number: int, told: str) -> NoReturn:
        if number == signal.SIGINT:
            raise KeyboardInterrupt(told)
        if told:
            log.warning("%s", told)
        raise SystemExit(128 + number)

    def _give_back(self) -> None:
        while self._former:
            number, former = self._former.popitem()
            signal.signal(number, former)
