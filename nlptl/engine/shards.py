"""Arrays on disk, found by the digest of what they were made of: whole files, checked entry by entry.

A shard is one safetensors file, written aside and renamed, never changed afterwards. Several processes may read, write
and evict in one folder at once without a lock: the worst that can happen is that an entry is computed again, or is kept
twice. Nothing that is read is believed: each entry carries a digest of its key and its bytes, and a shard with a wrong
one, or of a wrong length, is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

#: Bytes of a digest: no two contents will ever share one.
DIGEST = 16
#: Bytes of a shard at most: what is read, evicted and merged at a time.
SHARD = 32 << 20
#: Shards under an eighth of that are small ones; with more of them than this in a folder, they are merged.
MANY = 32
#: Seconds after which a file that was being written is one that nobody writes any more.
ABANDONED = 3600

_FOLDER = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"\d{20}-\d+-\d+\.safetensors")
_NUMBERS = count()


def digest(*parts: bytes) -> bytes:
    """What tells some content from any other."""
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST).digest()


@dataclass(frozen=True)
class Entry:
    """One array and its key."""

    key: bytes
    values: FloatArray


class Shards:
    """The shards of one model in a folder of their own, under a root that is bounded as a whole."""

    def __init__(self, root: Path, model: str) -> None:
        self.root = root
        self.folder = root / model
        self._open: dict[str, Shard | None] = {}

    def find(self, keys: Sequence[bytes]) -> dict[int, FloatArray]:
        """Those arrays that are there, by their place in `keys`."""
        found: dict[int, FloatArray] = {}
        wanted = np.arange(len(keys))
        queries = np.frombuffer(b"".join(keys), dtype=np.uint64).reshape(-1, 2)[:, 0]
        for shard in self._shards():
            if not len(wanted):
                break
            hits = shard.search(queries[wanted])
            there = {int(wanted[i]): entry for i, entry in hits.items()}
            found |= shard.read({entry: (place, keys[place]) for place, entry in there.items()})
            if there:
                wanted = np.array([place for place in wanted if place not in found], dtype=np.int64)
        return found

    def has(self, keys: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which keys seem to be there; only `find` reads what they have."""
        queries = np.frombuffer(b"".join(keys), dtype=np.uint64).reshape(-1, 2)[:, 0]
        there = np.zeros(len(keys), dtype=np.bool_)
        for shard in self._shards():
            there[list(shard.search(queries))] = True
        return there

    def add(self, entries: Sequence[Entry], bound: int) -> None:
        """Keep arrays, the oldest of the whole root going where there is no room; raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(entries, bound)
        small = [s for s in self._shards() if s.size < SHARD // 8]
        if len(small) > MANY:
            self._write([entry for shard in small for entry in shard.entries()], bound)
            for shard in small:
                shard.remove()

    def _write(self, entries: Sequence[Entry], bound: int) -> None:
        for part in _parts(entries, min(SHARD, bound // 2)):
            encoded = _encode(part)
            if len(encoded) > bound:
                continue
            make_room(self.root, bound - len(encoded))
            name = f"{time.time_ns():020d}-{os.getpid()}-{next(_NUMBERS)}.safetensors"
            aside = self.folder / f".{name}.tmp"
            try:
                # Not flushed to the disk: after a loss of power a shard that is not whole is told by its digests.
                aside.write_bytes(encoded)
                os.replace(aside, self.folder / name)
            finally:
                aside.unlink(missing_ok=True)

    def _shards(self) -> list[Shard]:
        """All shards, newest first; those that came or went since the last time are noticed."""
        try:
            names = sorted((name for name in os.listdir(self.folder) if _NAME.fullmatch(name)), reverse=True)
        except OSError:
            names = []
        self._open = {name: self._open[name] if name in self._open else _opened(self.folder / name) for name in names}
        return [shard for shard in self._open.values() if shard is not None and not shard.gone]


class Shard:
    """One file: where each key's array stands in it."""

    def __init__(self, path: Path, size: int, start: int, keys: npt.NDArray[np.uint8], rest: dict[str, Any]) -> None:
        self.path, self.size, self.start, self.keys = path, size, start, keys
        self.sums: npt.NDArray[np.uint8] = rest["sums"]
        self.rows: npt.NDArray[np.int64] = rest["rows"]
        self.width = int(rest["width"])
        self.ends = np.cumsum(self.rows)
        heads = np.ascontiguousarray(keys).view(np.uint64)[:, 0]
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]
        self.gone = False

    def search(self, queries: npt.NDArray[np.uint64]) -> dict[int, int]:
        """Query -> entry, by the first half of the key; `read` compares the whole."""
        if not len(self._heads):
            return {}
        places = np.minimum(np.searchsorted(self._heads, queries), len(self._heads) - 1)
        hits = np.flatnonzero(self._heads[places] == queries)
        return {int(i): int(self._order[places[i]]) for i in hits}

    def read(self, wanted: dict[int, tuple[int, bytes]]) -> dict[int, FloatArray]:
        """Entry -> (place, key), to place -> array; what is damaged is removed and not given."""
        found: dict[int, FloatArray] = {}
        try:
            with self.path.open("rb") as stream:
                for entry in sorted(wanted):
                    place, key = wanted[entry]
                    if self.keys[entry].tobytes() != key:
                        continue
                    rows = int(self.rows[entry])
                    stream.seek(self.start + 4 * self.width * (int(self.ends[entry]) - rows))
                    part = stream.read(4 * self.width * rows)
                    if digest(key, self.width.to_bytes(8), part) != self.sums[entry].tobytes():
                        self.remove()
                        break
                    found[place] = np.frombuffer(part, dtype=np.float32).reshape(rows, self.width)
        except OSError:
            self.gone = True  # another process evicted it: what it held is computed again
        return found

    def entries(self) -> Iterator[Entry]:
        """All of it."""
        keys = [key.tobytes() for key in self.keys]
        for place, values in self.read({n: (n, key) for n, key in enumerate(keys)}).items():
            yield Entry(keys[place], values)

    def remove(self) -> None:
        self.gone = True
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def make_room(root: Path, bound: int) -> None:
    """Remove the oldest shards of all models until the rest fits the bound; what was abandoned goes first."""
    held: list[tuple[str, Path, int]] = []
    for path in root.glob("*/*"):
        if not _FOLDER.fullmatch(path.parent.name):
            continue
        with contextlib.suppress(OSError):  # another process may remove it at this moment
            facts = path.stat()
            if _NAME.fullmatch(path.name):
                held.append((path.name, path, facts.st_size))
            elif path.suffix == ".tmp" and time.time() - facts.st_mtime > ABANDONED:
                path.unlink(missing_ok=True)
    total = sum(size for _, _, size in held)
    for _, path, size in sorted(held):
        if total <= bound:
            return
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        total -= size


def _opened(path: Path) -> Shard | None:
    """A shard's index; None, and no such file any more, where it is not a whole one."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = int.from_bytes(stream.read(8), "little")
            if head > size:
                raise ValueError(head)
            told = json.loads(stream.read(head))
            start = 8 + head
            if start + max(t["data_offsets"][1] for t in told.values()) != size:
                raise ValueError(size)
            arrays = {name: _array(stream, told[name], start) for name in ("keys", "sums", "rows")}
            begin, end = told["values"]["data_offsets"]
            width = int(told["values"]["shape"][1])
            if min(arrays["rows"], default=1) < 0 or 4 * width * int(arrays["rows"].sum()) != end - begin:
                raise ValueError(width)
            return Shard(path, size, start + begin, arrays["keys"].reshape(-1, DIGEST), {**arrays, "width": width})
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return None


def _array(stream: Any, told: dict[str, Any], start: int) -> npt.NDArray[Any]:
    begin, end = told["data_offsets"]
    stream.seek(start + begin)
    kind = {"U8": np.uint8, "I64": np.int64}[told["dtype"]]
    return np.frombuffer(stream.read(end - begin), dtype=kind).reshape(told["shape"])


def _encode(entries: Sequence[Entry]) -> bytes:
    from safetensors.numpy import save

    values = [np.ascontiguousarray(entry.values, dtype=np.float32) for entry in entries]
    width = values[0].shape[1].to_bytes(8)
    sums = [digest(entry.key, width, part.tobytes()) for entry, part in zip(entries, values, strict=True)]
    return save(
        {
            "keys": np.frombuffer(b"".join(entry.key for entry in entries), dtype=np.uint8).reshape(-1, DIGEST),
            "sums": np.frombuffer(b"".join(sums), dtype=np.uint8).reshape(-1, DIGEST),
            "rows": np.array([len(part) for part in values], dtype=np.int64),
            "values": np.concatenate(values),
        }
    )


def _parts(entries: Sequence[Entry], most: int) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and size + entry.values.nbytes > most:
            yield part
            part, size = [], 0
        part.append(entry)
        size += entry.values.nbytes + 2 * DIGEST + 8
    if part:
        yield part
