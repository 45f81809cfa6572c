"""The next part made ready in a thread of its own, while the caller is busy with the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: How long a thread waits in one go before it looks whether it is still wanted.
_LOOK = 0.1
_PATIENCE = 10.0


class Ahead(Generic[T]):
    """An iterator that runs one part ahead of its reader.

    Torch and the tokenizers let other threads run while they work, so that reading and tokenising cost the model no
    time. What is raised in the thread is raised to the reader after the parts that were whole. Closing it, also before
    its end, ends the thread and closes what it read from; a source that does not answer is waited for a few seconds.
    """

    def __init__(self, parts: Generator[T, None, None]) -> None:
        self._parts = parts
        self._ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1)
        self._unwanted = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._work, name="nlptl-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        kind, value = self._ready.get()
        if kind == "part":
            part: T = value
            return part
        self.close()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """End the thread; what it has ready is dropped."""
        self._over = True
        self._unwanted.set()
        self._thread.join(_PATIENCE)

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        last: tuple[str, Any] = ("end", None)
        try:
            with closing(self._parts):
                for part in self._parts:
                    if not self._put(("part", part)):
                        break
        except BaseException as error:  # whatever it is, the reader hears of it
            last = ("error", error)
        self._put(last)

    def _put(self, what: tuple[str, Any]) -> bool:
        while not self._unwanted.is_set():
            try:
                self._ready.put(what, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False
