"""Many adapters on one backbone, mixed in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nlptl.bundle.probe import PROBES
from nlptl.bundle.sharing import share_base
from nlptl.data.sources import read
from nlptl.engine.batching import inference_plan
from nlptl.engine.compute import Compute
from nlptl.engine.forward import mean_windows, pick
from nlptl.engine.items import Item, collate
from nlptl.engine.runtime import Runtime
from nlptl.errors import BundleError, OptionError, did_you_mean, listing
from nlptl.learner import Learner
from nlptl.modes._mixing import Mixer, Part, part_of
from nlptl.modes.lora import Adapted
from nlptl.rows import check_kind, remembered
from nlptl.tasks.base import Array, Prepared

#: An adapter must say in the pool what it says alone; relative where logits are beyond 1.
TOLERANCE = 1e-4


@dataclass
class Member:
    """An adapter of a pool: the learner that it was, without its base, and its part of the mixed pass."""

    learner: Learner
    part: Part
    fingerprint: str
    both_ways: bool


class AdapterPool:
    """LoRA adapters of one base, which is in memory once; each row of a batch goes through the one it names.

    Parameters
    ----------
    backbone : the base, where the adapters cannot say where it is
    compute : where and how the work is done
    trust_remote_code : run code that the base brings along

    Examples
    --------
    >>> pool = AdapterPool()  # doctest: +SKIP
    >>> pool.add("mood", "runs/mood").add("topic", "runs/topic")  # doctest: +SKIP
    >>> pool.predict(["Not bad.", "Where is my card?"], adapter=["mood", "topic"])  # doctest: +SKIP
    ['positive', 'card_arrival']
    """

    def __init__(
        self,
        backbone: str | Path | None = None,
        *,
        compute: Compute = Compute(),  # noqa: B008  frozen, and shown in the signature
        trust_remote_code: bool = False,
    ) -> None:
        self.backbone = backbone
        self.compute = compute
        self.trust_remote_code = trust_remote_code
        self._members: dict[str, Member] = {}
        self._mixer: Mixer | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def add(self, name: str, source: str | Path, *, revision: str | None = None) -> AdapterPool:
        """Load an adapter under a name; it is compared with itself alone before it counts as added."""
        if name in self._members:
            raise OptionError(
                f"AdapterPool.add({name!r}): received a name that is there; expected a new one; remove it"
            )
        learner = Learner.load(
            source, backbone=self.backbone, revision=revision, trust_remote_code=self.trust_remote_code
        )
        known = learner._known
        if not isinstance(known.fitted, Adapted):
            raise OptionError(
                f"AdapterPool.add({name!r}): received a learner of mode {known.mode.name!r}; expected 'lora'; load it "
                "by itself with Learner.load"
            )
        both_ways = bool(getattr(known.mode, "bidirectional", False))
        fingerprint = known.backbone.fingerprint()
        for other, member in self._members.items():
            if (member.fingerprint, member.both_ways) != (fingerprint, both_ways):
                raise BundleError(
                    f"AdapterPool.add({name!r}): received an adapter on the base {fingerprint[:12]}… "
                    f"(bidirectional={both_ways}); expected the one of {other!r}, {member.fingerprint[:12]}… "
                    f"(bidirectional={member.both_ways}); make another pool for it"
                )
        runtime = self._runtime("fp32")
        prepared = known.task.prepare(known.backbone, list(PROBES), known.mode.window(known.backbone))
        alone = known.fitted.scores(prepared.items, runtime)
        mixer = self._mixer
        if mixer is None:
            base = known.backbone.encoder(bidirectional=both_ways)
            share_base(base, fingerprint)
            mixer = Mixer(base)
        member = Member(learner, part_of(known.fitted), fingerprint, both_ways)
        mixer.add(member.part)
        self._mixer = mixer
        # Beside another one, if there is one: rows of several adapters must not touch each other.
        others = [(m, PROBES[:1]) for m in list(self._members.values())[-1:]]
        groups = [(m, _prepared(m, list(texts)).items) for m, texts in others] + [(member, prepared.items)]
        gap = _worst(alone, self._scores(groups, runtime)[-1])
        if not gap <= TOLERANCE and not mixer.apart:
            mixer.apart = True  # rows of several adapters may not share a pass of this base
            gap = _worst(alone, self._scores(groups, runtime)[-1])
        if not gap <= TOLERANCE:
            raise BundleError(
                f"AdapterPool.add({name!r}): received logits that differ by {gap:.3g} in the pool from those of the "
                f"adapter alone; expected at most {TOLERANCE:g}; load it by itself with Learner.load"
            )
        self._members[name] = member
        return self

    def remove(self, name: str) -> None:
        """Let go of an adapter."""
        del self._members[self._named(name)]

    def predict(self, X: Any, adapter: str | Sequence[str]) -> Any:
        """Predictions in the form of each row's adapter: as its learner gives them for one name, a list for several."""
        return self._answers(X, adapter, "as_given")

    def predict_proba(self, X: Any, adapter: str | Sequence[str]) -> Any:
        """Probabilities in the order of each row's adapter's labels; an array for one name, a list for several."""
        return self._answers(X, adapter, "probabilities")

    def _answers(self, X: Any, adapter: str | Sequence[str], what: str) -> Any:
        inputs = list(X)
        names = [adapter] * len(inputs) if isinstance(adapter, str) else list(adapter)
        if isinstance(X, str) or len(names) != len(inputs):
            came = "a bare text" if isinstance(X, str) else f"{len(inputs)} rows"
            raise OptionError(
                f"AdapterPool: received {len(names)} adapters for {came}; "
                "expected a list of rows, and one name or one a row; give both"
            )
        rows: dict[str, list[int]] = {
            self._named(name): [] for name in ([adapter] if isinstance(adapter, str) else names)
        }
        for row, name in enumerate(names):
            rows[name].append(row)
        groups = []
        for name in rows:
            member = self._members[name]
            groups.append((member, _read(member, [inputs[row] for row in rows[name]])))
        scored = self._scores([(member, prepared.items) for member, prepared in groups], self._runtime())
        answers: dict[str, Any] = {}
        for (name, (member, prepared)), scores in zip(zip(rows, groups, strict=True), scored, strict=True):
            known = member.learner._known
            if what == "probabilities":
                answers[name] = known.task.probabilities(scores, prepared, known.space)
            else:
                numbers = known.task.decode(scores, prepared, known.space)
                answers[name] = known.task.as_given(numbers, scores, prepared, known.space)
        if isinstance(adapter, str):
            return answers[adapter]
        merged: list[Any] = [None] * len(inputs)
        for name, places in rows.items():
            for place, answer in zip(places, answers[name], strict=True):
                merged[place] = answer
        return merged

    def _scores(self, groups: Sequence[tuple[Member, Sequence[Item]]], runtime: Runtime) -> list[list[Array]]:
        """Logits of each group's rows, computed in batches of rows of all groups."""
        flat = [(g, item) for g, (_, items) in enumerate(groups) for item in items]
        out: list[Array] = [np.zeros((0, 1), dtype=np.float32)] * len(flat)
        mixer = self._mixer
        if mixer is not None:
            runtime.place(mixer.base)
        items = [item for _, item in flat]
        with torch.inference_mode(), runtime.arithmetic():
            for batch in inference_plan(items, runtime.batch_tokens):
                asked = sorted((row for row in batch if items[row].n_units), key=lambda row: flat[row][0])
                if asked and mixer is not None:
                    _batch(groups, flat, asked, out, runtime, mixer)
        found, start = [], 0
        for _, part in groups:
            found.append(out[start : start + len(part)])
            start += len(part)
        return found

    def _runtime(self, precision: str | None = None) -> Runtime:
        compute = replace(self.compute, trackers=(), progress=False)
        return Runtime(compute if precision is None else replace(compute, precision=precision)).alone()

    def _named(self, name: str) -> str:
        if name not in self._members:
            raise OptionError(
                f"AdapterPool: received the adapter {name!r}; expected one of {listing(self._members)}; add it first."
                f"{did_you_mean(str(name), self._members)}"
            )
        return name


def _batch(
    groups: Sequence[tuple[Member, Sequence[Item]]],
    flat: Sequence[tuple[int, Item]],
    rows: Sequence[int],
    out: list[Array],
    runtime: Runtime,
    mixer: Mixer,
) -> None:
    """One pass; `rows` stand in the order of their groups."""
    sorts = [[row for row in rows if flat[row][0] == g] for g in sorted({flat[row][0] for row in rows})]
    batches = [
        collate([flat[row][1] for row in part], groups[flat[part[0]][0]][0].learner._known.backbone.pad_id)
        for part in sorts
    ]
    width = max(batch.ids.shape[1] for batch in batches)
    members = [groups[flat[part[0]][0]][0] for part in sorts]
    ids = torch.cat(
        [_wide(b.ids, width, m.learner._known.backbone.pad_id) for b, m in zip(batches, members, strict=True)]
    )
    mask = torch.cat([_wide(b.mask, width, 0) for b in batches])
    types = None
    if any(b.types is not None for b in batches):
        # No types are zeros to every model that reads some.
        said = [torch.zeros_like(b.ids) if b.types is None else b.types for b in batches]
        types = torch.cat([_wide(t, width, 0) for t in said]).to(runtime.device)
    parts = [(m.part.to(runtime.device), len(b.ids)) for m, b in zip(members, batches, strict=True)]
    logits = mixer.logits(ids.to(runtime.device), mask.to(runtime.device), types, parts)
    for part, batch, scores in zip(sorts, batches, logits, strict=True):
        there = batch.to(runtime.device)
        units = mean_windows(scores, there) if there.unit_windows is None else pick(scores, there)
        ends = np.cumsum([flat[row][1].n_units for row in part])[:-1]
        for row, found in zip(part, np.split(units.cpu().numpy(), ends), strict=True):
            out[row] = found


def _read(member: Member, inputs: list[Any]) -> Prepared:
    """Rows checked as the member's learner would check them."""
    if not inputs:
        return Prepared([], sentences=[])
    learner = member.learner
    named = remembered(learner.record_, inputs, targets=False)
    examples = read(inputs, schema=learner._known.task.schema, columns=named, targets="none", split="test", name="X")
    check_kind(examples, learner.record_)
    return _prepared(member, examples.inputs)


def _prepared(member: Member, inputs: Any) -> Prepared:
    known = member.learner._known
    return known.task.prepare(known.backbone, inputs, known.mode.window(known.backbone))


def _wide(tensor: torch.Tensor, width: int, fill: int) -> torch.Tensor:
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=fill)


def _worst(one: Sequence[Array], other: Sequence[Array]) -> float:
    """The largest difference, relative where numbers are beyond 1."""
    gaps = [np.abs(a - b) / np.maximum(1, np.abs(a)) for a, b in zip(one, other, strict=True) if a.size]
    return max((float(gap.max()) for gap in gaps), default=0.0)
