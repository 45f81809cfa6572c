"""Where what was computed is kept: in memory and in one folder, and what one run took from there."""

from __future__ import annotations

import atexit
import contextlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from nlptl.backbones.gguf import cache_root
from nlptl.engine.compute import Compute
from nlptl.engine.shards import Entry, FloatArray, Shards
from nlptl.errors import NlptlWarning

#: Bytes of vectors that a process holds in memory, over all models; the least recently used go first.
IN_MEMORY = 64 << 20
#: Rows that are worth a file of their own; fewer wait for others, or for the end of the process.
WORTH_A_FILE = 64


class Store:
    """What one folder holds, and the part of it that this process has in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bound = 0
        self.trouble = ""
        self._memory: OrderedDict[tuple[str, bytes], FloatArray] = OrderedDict()
        self._held = 0
        self._shards: dict[str, Shards] = {}
        self._waiting: dict[str, list[Entry]] = {}
        self._lock = threading.RLock()

    def find(self, model: str, keys: Sequence[bytes], *, remember: bool = True) -> dict[bytes, FloatArray]:
        """Those vectors that are known, from memory and then from disk."""
        with self._lock:
            found: dict[bytes, FloatArray] = {}
            for key in keys:
                kept = self._memory.get((model, key))
                if kept is not None:
                    self._memory.move_to_end((model, key))
                    found[key] = kept
            rest = [key for key in keys if key not in found]
            for place, values in self.shards(model).find(rest).items() if rest else ():
                found[rest[place]] = self._remember(model, rest[place], values) if remember else values
            return found

    def add(self, model: str, entries: Sequence[Entry], *, remember: bool = True) -> None:
        """Keep vectors in memory, and on disk as soon as they are worth a file."""
        with self._lock:
            waiting = self._waiting.setdefault(model, [])
            own = [Entry(e.key, e.values.copy()) for e in entries]  # a view would hold its whole batch
            for entry in own if remember else ():
                self._remember(model, entry.key, entry.values)
            waiting += own
            if self.trouble:
                waiting.clear()
            with self.told():
                self.root.mkdir(parents=True, exist_ok=True)
                if len(waiting) >= WORTH_A_FILE:
                    self.shards(model).add(self._waiting.pop(model), self.bound)

    def flush(self) -> None:
        """Write what waits, at the end of a process; a folder that somebody removed meanwhile is not made again."""
        with self._lock, self.told():
            for model in list(self._waiting) if self.root.is_dir() else ():
                self.shards(model).add(self._waiting.pop(model), self.bound)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What the disk refuses is said once, and memory serves alone from then on."""
        try:
            yield
        except OSError as error:
            if self.trouble:
                return
            self.trouble = f"{error.strerror or error}"
            warnings.warn(
                f"Compute(cache=…): received a folder that cannot be written, {str(self.root)!r} ({self.trouble}); "
                "expected one that can; this process goes on without keeping vectors on disk; make room, name another "
                "folder, or write Compute(cache=False)",
                NlptlWarning,
                stacklevel=2,
            )

    def shards(self, model: str) -> Shards:
        """What is on disk of one model."""
        if model not in self._shards:
            self._shards[model] = Shards(self.root, model)
        return self._shards[model]

    def _remember(self, model: str, key: bytes, values: FloatArray) -> FloatArray:
        values.setflags(write=False)  # many callers are given the same array
        former = self._memory.pop((model, key), None)
        self._held += values.nbytes - (0 if former is None else former.nbytes)
        self._memory[model, key] = values
        while self._held > min(IN_MEMORY, self.bound):
            self._held -= self._memory.popitem(last=False)[1].nbytes
        return values


_STORES: dict[Path, Store] = {}


def _store(compute: Compute) -> Store | None:
    if compute.cache is None or compute.cache is False:
        return None
    own = isinstance(compute.cache, str | Path) and compute.cache != "auto"
    root = (Path(str(compute.cache)).expanduser() if own else cache_root() / "vectors").absolute()
    store = _STORES.setdefault(root, Store(root))
    store.bound = int(compute.cache_gib * 2**30)
    return store


@atexit.register
def _flush() -> None:
    for store in _STORES.values():
        store.flush()


class Cache:
    """One run's use of a store: what it asked for, and how much of that was known."""

    def __init__(self, compute: Compute) -> None:
        self.store = _store(compute)
        self.asked = self.known = 0
        #: whether what passes by is to be kept in memory as well: not of a stream, which may have no end
        self.in_memory = True
        self.why_not = ""

    def told(self) -> str:
        """For the record. It names no folder: records are published with bundles."""
        if self.store is None:
            return "off"
        if self.why_not:
            return f"off: {self.why_not}"
        if not self.asked:
            return "not used"
        told = f"{self.known:,} of {self.asked:,} rows taken from it"
        told += ", with the bits of the batches they were computed in" if self.known else ""
        return f"{told}; not written: {self.store.trouble}" if self.store.trouble else told
