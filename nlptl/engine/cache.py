"""Nothing is computed twice: frozen vectors are kept by the content they were made of, in memory and on disk.

A vector is known by the model's side (weights, config, layer, pooling, precision: one folder each) and by the row's
(token ids, types, units: one key each). What a key gives back has the bits of the batch in which it was computed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptl.backbones import Backbone
from nlptl.backbones.gguf import cache_root
from nlptl.backbones.weights import Stamps, stamps, stamps_of
from nlptl.engine.compute import Compute
from nlptl.engine.items import Item
from nlptl.engine.shards import Entry, FloatArray, Shards, digest
from nlptl.errors import NlptlWarning

if TYPE_CHECKING:
    from nlptl.engine.runtime import Runtime

#: Bytes of vectors that a process holds in memory, over all models; the least recently used go first.
IN_MEMORY = 64 << 20
#: Rows that are worth a file of their own; fewer wait for others, or for the end of the process.
WORTH_A_FILE = 64
#: What of the machine's side changes a vector only as another batch would: no part of what it is known by.
OF_THE_BATCH = ("processes", "threads", "batch_tokens", "cache")


class Weights:
    """The weights of an encoder as they were when it was loaded; what is made with them is kept under their name."""

    def __init__(self, backbone: Backbone, bidirectional: bool, read: Stamps, attention: str) -> None:
        self.backbone, self.bidirectional, self.read, self.attention = backbone, bidirectional, read, attention
        self.why_not = ""
        self._identity: str | None = None

    def identity(self) -> str | None:
        """A digest of all on the model's side that a vector depends on; None, and why, where that is not known."""
        if self._identity is None and not self.why_not:
            if self.backbone.trust_remote_code and getattr(self.backbone.config, "auto_map", None):
                self.why_not = "the checkpoint brings code of its own"
                return None
            fingerprint = self.backbone.fingerprint()
            # Read after the fingerprint: it is then that of the files which were loaded, and of no later ones.
            if stamps_of(file for file, *_ in self.read) != self.read:
                self.why_not = "the checkpoint's files have changed since they were loaded"
                return None
            self._identity = self._told(fingerprint)
        return self._identity

    def _told(self, fingerprint: str) -> str:
        import torch
        import transformers

        config = self.backbone.config.to_dict()
        facts = {
            "weights": fingerprint,
            "config": {name: value for name, value in config.items() if name != "_name_or_path"},
            "bidirectional": self.bidirectional,
            "attention": self.attention,
            "pad": self.backbone.pad_id,
            "libraries": [torch.__version__, transformers.__version__],
            "form": 1,
        }
        return digest(json.dumps(facts, sort_keys=True, default=str).encode()).hex()


def load_encoder(backbone: Backbone, *, bidirectional: bool = False) -> tuple[Any, Weights]:
    """The encoder, read afresh, and what its weights are known by."""
    read = stamps(backbone.place)
    encoder = backbone.encoder(bidirectional=bidirectional)
    attention = str(getattr(encoder.config, "_attn_implementation", None))
    return encoder, Weights(backbone, bidirectional, read, attention)


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

    def find(self, model: str, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        """Those vectors that are known, from memory and then from disk."""
        with self._lock:
            found: dict[bytes, FloatArray] = {}
            for key in keys:
                kept = self._memory.get((model, key))
                if kept is not None:
                    self._memory.move_to_end((model, key))
                    found[key] = kept
            rest = [key for key in keys if key not in found]
            for place, values in self._of(model).find(rest).items() if rest else ():
                found[rest[place]] = self._remember(model, rest[place], values)
            return found

    def add(self, model: str, entries: Sequence[Entry]) -> None:
        """Keep vectors in memory, and on disk as soon as they are worth a file."""
        with self._lock:
            waiting = self._waiting.setdefault(model, [])
            waiting += [Entry(e.key, self._remember(model, e.key, e.values.copy())) for e in entries]
            if self.trouble:
                waiting.clear()
            with self._told():
                self.root.mkdir(parents=True, exist_ok=True)
                if len(waiting) >= WORTH_A_FILE:
                    self._of(model).add(self._waiting.pop(model), self.bound)

    def flush(self) -> None:
        """Write what waits, at the end of a process; a folder that somebody removed meanwhile is not made again."""
        with self._lock, self._told():
            for model in list(self._waiting) if self.root.is_dir() else ():
                self._of(model).add(self._waiting.pop(model), self.bound)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
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

    def _of(self, model: str) -> Shards:
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


def fetch(
    items: Sequence[Item],
    runtime: Runtime,
    weights: Weights | None,
    made_by: dict[str, Any],
    compute: Callable[[list[Item]], list[FloatArray]],
) -> list[FloatArray]:
    """What `compute` gives for each item: taken from the cache where it is known, each content computed once.

    The main process looks up and writes; the others take what it found, so that all hold the same bits and agree on
    what is missing, wherever their own folders are.

    Parameters
    ----------
    weights : of the encoder; None where nobody knows what they are
    made_by : what else a vector depends on, such as the layer
    compute : called by every process with the same items
    """
    cache = runtime.cache
    model = _model(cache, weights, made_by, runtime) if runtime.rank == 0 else None
    if not _agreed(runtime, model is not None):
        return compute(list(items))
    keys = [content(item) for item in items]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    distinct = sorted(i for key, i in first.items() if items[i].n_units)
    found: dict[bytes, FloatArray] = {}
    if cache.store is not None and model is not None:
        found = cache.store.find(model, [keys[i] for i in distinct])
    missing: list[int] = _agreed(runtime, [i for i in distinct if keys[i] not in found])
    computed = dict(zip(missing, compute([items[i] for i in missing]) if missing else [], strict=True))
    if cache.store is not None and model is not None:
        cache.store.add(model, [Entry(keys[i], values) for i, values in computed.items()])
    known = [i for i in distinct if i not in computed]
    if runtime.world > 1:
        computed |= zip(known, runtime.merge([(i, found[keys[i]]) for i in known if found]), strict=True)
    else:
        computed |= {i: found[keys[i]] for i in known}
    with_units = sum(item.n_units > 0 for item in items)
    cache.asked += with_units
    cache.known += with_units - len(missing)
    width = next((values.shape[1] for values in computed.values()), 1)
    nothing = np.zeros((0, width), dtype=np.float32)  # of a sentence whose every word has no token
    return [computed.get(first[key], nothing) for key in keys]


def content(item: Item) -> bytes:
    """The digest of all that the model sees of a row, and of the places that are asked for."""
    if len(item.windows) == 1 and item.types is None and item.units is None:
        return digest(b"text", _bytes(item.windows[0]))
    parts = [*item.windows, *(item.types or ()), *(() if item.units is None else (item.units,))]
    shapes = [len(item.windows), item.types is not None, item.units is not None, [np.shape(part) for part in parts]]
    return digest(json.dumps(shapes).encode(), *(_bytes(part) for part in parts))


def _model(cache: Cache, weights: Weights | None, made_by: dict[str, Any], runtime: Runtime) -> str | None:
    """The name of what vectors are made by; None where there is no cache, or no such name."""
    if cache.store is None or weights is None:
        return None
    identity = weights.identity()
    if identity is None:
        cache.why_not = weights.why_not
        return None
    # All that was chosen counts, so that a choice which somebody adds later is not forgotten here.
    chosen = {name: value for name, value in runtime.describe().items() if name not in OF_THE_BATCH}
    told = {"weights": identity, **made_by, **chosen, "device": runtime.device.type}
    return digest(json.dumps(told, sort_keys=True, default=str).encode()).hex()


def _agreed(runtime: Runtime, value: Any) -> Any:
    """The main process's value, in all of them."""
    return value if runtime.world == 1 else runtime.merge([(0, value)] if runtime.rank == 0 else [])[0]


def _bytes(part: Any) -> bytes:
    return np.ascontiguousarray(part, dtype=np.int64).tobytes()
