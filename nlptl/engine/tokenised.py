"""Rows that were tokenised a moment ago, kept in memory: a learner that is asked again does not read them again."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

from nlptl.engine.items import Item

I = TypeVar("I", bound=Hashable)  # noqa: E741  the input of a row

#: Bytes of rows that a process holds, about; the least recently used go first.
IN_MEMORY = 16 << 20
#: What Python's objects around a row's numbers take, about.
AROUND = 600

#: A row as the engine takes it, and what had to be counted while it was made.
Made = tuple[Item, tuple[int, ...]]


class Tokenised:
    """The least recently used rows go first; two threads may read and write at once."""

    def __init__(self, bound: int = IN_MEMORY) -> None:
        self.bound = bound
        self._kept: OrderedDict[tuple[Hashable, Hashable], tuple[Made, int]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """While this lasts, rows of this thread pass by: of a stream that may have no end, none is kept."""
        self._here.passing = True
        try:
            yield
        finally:
            self._here.passing = False

    def rows(self, maker: Hashable, inputs: Sequence[I], make: Callable[[list[I]], list[Made]]) -> list[Made]:
        """What `make` gives for each input; it is asked once for each that is not known.

        Parameters
        ----------
        maker : all but the input that a row depends on: the tokenizer, the windows' size
        """
        if getattr(self._here, "passing", False):
            return make(list(inputs))
        with self._lock:
            found: dict[I, Made] = {}
            for given in dict.fromkeys(inputs):
                kept = self._kept.get((maker, given))
                if kept is not None:
                    self._kept.move_to_end((maker, given))
                    found[given] = kept[0]
        new = [given for given in dict.fromkeys(inputs) if given not in found]
        made = dict(zip(new, make(new), strict=True)) if new else {}
        with self._lock:
            for given, row in made.items():
                self._keep((maker, given), row)
        return [found[given] if given in found else made[given] for given in inputs]

    def _keep(self, key: tuple[Hashable, Hashable], made: Made) -> None:
        former = self._kept.pop(key, None)
        size = AROUND + _size(key[1]) + sum(part.nbytes for part in (*made[0].windows, *(made[0].types or ())))
        size += 0 if made[0].units is None else 3 * made[0].units.nbytes
        self._kept[key] = (made, size)
        self._held += size - (0 if former is None else former[1])
        while self._held > self.bound:
            self._held -= self._kept.popitem(last=False)[1][1]


def _size(given: Any) -> int:
    return sum(map(sys.getsizeof, given)) if isinstance(given, tuple) else sys.getsizeof(given)


#: One for all learners of a process.
TOKENISED = Tokenised()
