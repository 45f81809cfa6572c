"""The output of the lowest layers, where none of them learns: computed once a row, and recalled in every epoch.

Layers below the lowest one that learns give the same output for the same tokens as long as they drop nothing out. So
they stand in evaluation mode, whether their output is kept or not, and what they gave is put in where the topmost of
them would answer; the model's own code around them (masks, rotary embeddings) runs as it is.

The bits of an output are those of the batch that it was computed in. That batch is part of its key: a run that goes on
after it was killed finds, or computes again, the same bits.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from nlptl.backbones import Family
from nlptl.engine.batching import inference_plan
from nlptl.engine.cache import agreed, content, made_with
from nlptl.engine.items import Item, collate
from nlptl.engine.layers import Layers, frozen_layers
from nlptl.engine.runtime import Runtime
from nlptl.engine.shards import SHARD, Entry, FloatArray, digest

#: Bytes of outputs that a run holds in memory; more of them are read from the disk, step by step.
IN_MEMORY = 256 << 20
#: How far scores with recalled outputs may be from the plain way's, of their largest: another order of sums, no more.
CLOSE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}


@contextlib.contextmanager
def recalled_prefix(
    model: Any, family: Family, items: Sequence[Item], runtime: Runtime, *, pad_id: int, passes: float
) -> Iterator[dict[str, str]]:
    """While this lasts, training passes over these items recall what the layers that do not learn gave.

    Gives what was chosen, for the record; nothing where the lowest layer learns.

    Parameters
    ----------
    passes : how often training sees a row
    """
    layers = frozen_layers(model, family)
    if layers is None:
        yield {}
        return
    prefix = Prefix(model, layers, runtime, pad_id)
    prefix.prepare(items, passes)
    with prefix.attached():
        yield {"frozen_prefix": prefix.told}


class Prefix:
    """What the lowest layers gave for every window of some rows."""

    def __init__(self, model: Any, layers: Layers, runtime: Runtime, pad_id: int) -> None:
        self.model, self.layers, self.runtime, self.pad_id = model, layers, runtime, pad_id
        self.store = runtime.cache.store
        self.told = ""
        self._dtype, self._width, self._form = torch.float32, 0, 0
        self._windows: list[Item] = []
        self._slots: dict[bytes, int] = {}
        self._plan: list[list[int]] = []
        self._batch_of: dict[int, int] = {}
        self._keys: list[bytes] = []
        self._kept: dict[int, FloatArray] = {}
        self._in_memory = True
        self._name = ""
        self._computing = False

    def prepare(self, items: Sequence[Item], passes: float) -> None:
        """Find or compute the output for every window; where that cannot be, why is told."""
        self.runtime.place(self.model)
        self.model.eval()
        self._lay_out(items)
        why_not = agreed(self.runtime, self._why_not(passes))
        depth, every = self.layers.depth, len(self.layers.every)
        self.told = f"the lowest {depth} of {every} layers do not learn, and drop nothing out"
        if not why_not:
            found = self._fill()
            why_not = self.store.trouble if self.store and not self._in_memory else ""
        if why_not:
            self.told += f"; computed in every epoch: {why_not}"
            self._slots.clear()
            return
        told = f"{len(self._windows):,} windows, {found:,} of them taken from the cache"
        self.told += f"; computed once ({told}), with the bits of the batches they were computed in"

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """While this lasts, the base model recalls what it can in every training pass."""
        base = self.layers.base
        names = inspect.signature(base.forward)
        recalling = contextlib.ExitStack()

        def before(_: Any, given: Any, named: Any) -> None:
            if base.training and not self._computing:
                self.layers.quiet()
                output = self._recalled(names.bind_partial(*given, **named).arguments)
                if output is not None:
                    recalling.enter_context(self.layers.answering(output, self._form))

        def after(*_: Any) -> None:
            if not self._computing:
                recalling.close()

        handles = [
            base.register_forward_pre_hook(before, with_kwargs=True),
            base.register_forward_hook(after, always_call=True),
        ]
        try:
            yield
        finally:
            recalling.close()
            for handle in handles:
                handle.remove()

    def _lay_out(self, items: Sequence[Item]) -> None:
        """Each distinct window once, the batches they are computed in, and the key of each."""
        for item in items:
            for n, window in enumerate(item.windows):
                one = Item((window,), None if item.types is None else (item.types[n],))
                key = content(one)
                if key not in self._slots:
                    self._slots[key] = len(self._windows)
                    self._windows.append(one)
        contents = list(self._slots)
        self._plan = inference_plan(self._windows, self.runtime.batch_tokens)
        self._keys = [b""] * len(contents)
        for number, batch in enumerate(self._plan):
            together = digest(*(contents[slot] for slot in batch))
            for place, slot in enumerate(batch):
                self._keys[slot] = digest(together, place.to_bytes(8))
                self._batch_of[slot] = number

    def _why_not(self, passes: float) -> str:
        if self.store is None:
            return "no cache is wanted"
        if passes <= 1:
            return "no row is seen twice"
        if type(self.layers.base).__module__.startswith("transformers_modules"):
            return "the checkpoint brings code of its own"
        wrong = self._probe()
        if wrong:
            return wrong
        size = 4 * self._width * sum(window.tokens for window in self._windows)
        self._in_memory = size <= IN_MEMORY
        if size > self.store.bound // 2:
            return f"{size / 2**30:.3g} GiB of outputs are too many for Compute(cache_gib=…)"
        if not self._in_memory and self.runtime.world > 1:
            return f"{size / 2**30:.3g} GiB of outputs are too many for the memory of several processes"
        return ""

    def _probe(self) -> str:
        """Run two windows both ways: what stands in for the layers must change nothing."""
        batch = collate(self._windows[:2], self.pad_id).to(self.runtime.device)
        with self.runtime.arithmetic():
            answer = self.layers.output(self.model, batch.inputs)
            self._form = len(answer) if isinstance(answer, tuple) else 0
            hidden = answer[0] if isinstance(answer, tuple) else answer
            if not isinstance(hidden, torch.Tensor) or hidden.shape[:-1] != batch.ids.shape:
                return "its layers answer in a form of their own"
            if hidden.requires_grad:
                return "something below them learns"
            with torch.no_grad():
                plain = self.model(**batch.inputs).logits.float()
                try:
                    with self.layers.answering(hidden, self._form):
                        stood_in = self.model(**batch.inputs).logits.float()
                except (IndexError, KeyError, TypeError, ValueError):
                    return "its layers answer in a form of their own"
        real = batch.mask.bool() if plain.ndim == 3 else slice(None)
        if (plain - stood_in)[real].abs().max() > CLOSE[self.runtime.precision] * plain[real].abs().max():
            return "other parts of the model read them as well"
        self._dtype, self._width = hidden.dtype, hidden.shape[-1]
        return ""

    def _fill(self) -> int:
        """All outputs in memory, or on disk; returns how many were there already."""
        threads = torch.get_num_threads()  # batches are part of the keys, threads of what one is computed with
        self._name = made_with(self.layers.digest(), {"prefix": self.layers.depth, "threads": threads}, self.runtime)
        missing: list[int] = agreed(self.runtime, self._look_up() if self.runtime.rank == 0 else [])
        waiting: list[Entry] = []
        if self.runtime.world > 1:
            mine = [(number, self._compute(number)) for number in self.runtime.mine(missing)]
            computed = iter(self.runtime.merge(mine))
        else:
            computed = (self._compute(number) for number in missing)
        for number, arrays in zip(missing, computed, strict=True):
            for slot, array in zip(self._plan[number], arrays, strict=True):
                if self._in_memory:
                    self._kept[slot] = array
                waiting.append(Entry(self._keys[slot], array))
            if sum(entry.values.nbytes for entry in waiting) > SHARD:
                self._write(waiting)
        self._write(waiting)
        new = sum(len(self._plan[number]) for number in missing)
        if self._in_memory and self.runtime.world > 1:
            self._kept = dict(enumerate(self.runtime.merge(list(self._kept.items()) if self.runtime.rank == 0 else [])))
        return len(self._windows) - new

    def _look_up(self) -> list[int]:
        """The batches of which something is missing; what is there comes to memory, if that is where it is wanted."""
        assert self.store is not None
        shards = self.store.shards(self._name)
        if not self._in_memory:
            there = shards.has(self._keys)
            return [n for n, batch in enumerate(self._plan) if not there[batch].all()]
        self._kept = shards.find(self._keys)
        return [n for n, batch in enumerate(self._plan) if not all(slot in self._kept for slot in batch)]

    def _write(self, waiting: list[Entry]) -> None:
        if self.store is not None and self.runtime.rank == 0 and waiting and not self.store.trouble:
            with self.store.told():
                self.store.shards(self._name).add(waiting, self.store.bound)
        waiting.clear()

    def _compute(self, number: int) -> list[FloatArray]:
        """The outputs of one batch, without what fills it up."""
        windows = [self._windows[slot] for slot in self._plan[number]]
        batch = collate(windows, self.pad_id).to(self.runtime.device)
        self._computing = True
        try:
            with torch.no_grad(), self.runtime.arithmetic():
                answer = self.layers.output(self.model, batch.inputs)
        finally:
            self._computing = False
        hidden = (answer[0] if self._form else answer).float().cpu().numpy()
        return [hidden[n, : window.tokens].copy() for n, window in enumerate(windows)]

    def _recalled(self, inputs: dict[str, Any]) -> torch.Tensor | None:
        """The outputs for a batch of windows, filled up with nought; None where one of them is not known."""
        if not self._slots:
            return None
        ids, mask, types = (inputs.get(name) for name in ("input_ids", "attention_mask", "token_type_ids"))
        if ids is None or mask is None:
            return None
        rows = ids.cpu().numpy()
        kinds = None if types is None else types.cpu().numpy()
        lengths = mask.sum(1).tolist()
        slots: list[int | None] = []
        for n, length in enumerate(lengths):
            one = Item((rows[n, :length],), None if kinds is None else (kinds[n, :length],))
            slots.append(self._slots.get(content(one)))
        known = [slot for slot in slots if slot is not None]
        if len(known) < len(slots):
            return None
        arrays = self._arrays(known)
        whole = np.zeros((*rows.shape, self._width), dtype=np.float32)
        for n, slot in enumerate(known):
            whole[n, : lengths[n]] = arrays[slot]
        return torch.from_numpy(whole).to(ids.device, self._dtype)

    def _arrays(self, slots: Sequence[int]) -> dict[int, FloatArray]:
        """From memory, or from disk; what somebody evicted meanwhile is computed again, in its own batch."""
        if self._in_memory or self.store is None:
            return self._kept
        wanted = sorted(set(slots))
        found = self.store.shards(self._name).find([self._keys[slot] for slot in wanted])
        arrays = {wanted[place]: array for place, array in found.items()}
        for number in sorted({self._batch_of[slot] for slot in wanted if slot not in arrays}):
            again = self._compute(number)
            arrays |= zip(self._plan[number], again, strict=True)
            self._write([Entry(self._keys[s], array) for s, array in zip(self._plan[number], again, strict=True)])
        return arrays
