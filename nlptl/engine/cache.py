"""Nothing is computed twice: frozen vectors are kept by the content they were made of, in memory and on disk.

A vector is known by the model's side (weights, config, layer, pooling, precision: one folder each) and by the row's
(token ids, types, units: one key each). What a key gives back has the bits of the batch in which it was computed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptl.backbones import Backbone
from nlptl.backbones.weights import stamps, stamps_of
from nlptl.engine.items import Item
from nlptl.engine.shards import Entry, FloatArray, digest
from nlptl.engine.store import Cache

if TYPE_CHECKING:
    from nlptl.engine.runtime import Runtime

#: What was chosen or asked for that changes a vector only as another batch would, or not at all: no part of what it is
#: known by. Of `precision` that which was chosen counts, of the device its kind.
OF_THE_BATCH = ("processes", "threads", "batch_tokens", "cache", "chosen_by", "device")
NOT_ASKED = (*OF_THE_BATCH, "precision", "cache_gib", "progress", "trackers")


class Weights:
    """The weights of a checkpoint as they stand, made just before they are loaded: what is made with them is kept
    under their name."""

    def __init__(self, backbone: Backbone, *, bidirectional: bool = False) -> None:
        self.backbone, self.bidirectional, self.attention = backbone, bidirectional, ""
        self.read = stamps(backbone.place)
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
    weights = Weights(backbone, bidirectional=bidirectional)
    encoder = backbone.encoder(bidirectional=bidirectional)
    weights.attention = str(getattr(encoder.config, "_attn_implementation", None))
    return encoder, weights


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
    if not agreed(runtime, model is not None):
        return compute(list(items))
    keys = [content(item) for item in items]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    distinct = sorted(i for key, i in first.items() if items[i].n_units)
    found: dict[bytes, FloatArray] = {}
    if cache.store is not None and model is not None:
        found = cache.store.find(model, [keys[i] for i in distinct], remember=cache.in_memory)
    missing: list[int] = agreed(runtime, [i for i in distinct if keys[i] not in found])
    computed = dict(zip(missing, compute([items[i] for i in missing]) if missing else [], strict=True))
    if cache.store is not None and model is not None:
        new = [Entry(keys[i], values) for i, values in computed.items()]
        cache.store.add(model, new, remember=cache.in_memory)
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
    return made_with(identity, made_by, runtime)


def made_with(identity: str, made_by: dict[str, Any], runtime: Runtime) -> str:
    """The name of what makes vectors: weights, options, and the machine's side as far as it changes them."""
    # All but a few things count, so that a choice which somebody adds later is not forgotten here.
    chosen = {name: value for name, value in runtime.describe().items() if name not in OF_THE_BATCH}
    asked = {f.name: getattr(runtime.compute, f.name) for f in fields(runtime.compute) if f.name not in NOT_ASKED}
    told = {"weights": identity, "by": made_by, "asked": asked, "chosen": chosen, "device": runtime.device.type}
    return digest(json.dumps(told, sort_keys=True, default=str).encode()).hex()


def agreed(runtime: Runtime, value: Any) -> Any:
    """The main process's value, in all of them."""
    return value if runtime.world == 1 else runtime.merge([(0, value)] if runtime.rank == 0 else [])[0]


def _bytes(part: Any) -> bytes:
    return np.ascontiguousarray(part, dtype=np.int64).tobytes()
