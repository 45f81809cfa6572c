"""Several adapters in one pass over one base: each row goes through the adapter it asks for.

The base is a plain encoder. Rows that ask for the same adapter stand together, so that a layer adds to a slice of its
output what the adapter of those rows adds; modules that an adapter learnt whole (a fresh pooler) answer for their rows.
The head of each adapter, in transformers' own class, then reads its rows of what the base gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nlptl.errors import OptionError
from nlptl.modes.lora import Adapted


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to a linear layer: ``scale * B A x``, with DoRA also a new length for each output."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float
    lengths: torch.Tensor | None

    def __call__(self, inputs: torch.Tensor, output: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        added = (inputs.to(self.down.dtype) @ self.down.T) @ self.up.T * self.scale
        if self.lengths is None:
            return output + added.to(output.dtype)
        plain = output if bias is None else output - bias
        turned = (plain + added.to(output.dtype)) * self.lengths.to(output.dtype)
        return turned if bias is None else turned + bias


class Given(nn.Module):
    """Stands where a model has its base, and gives what the shared base has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: Any = None

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.outputs


@dataclass
class Part:
    """One adapter without its base: what it adds where, what it learnt whole, and its head."""

    deltas: dict[str, Delta]
    modules: dict[str, nn.Module]
    head: Any
    given: Given

    def to(self, device: Any) -> Part:
        """Everything of it on a device."""
        for path, delta in self.deltas.items():
            moved = (None if t is None else t.to(device) for t in (delta.down, delta.up, delta.lengths))
            down, up, lengths = moved
            if down is not None and up is not None:
                self.deltas[path] = Delta(down, up, delta.scale, lengths)
        for module in self.modules.values():
            module.to(device)
        self.head.to(device)
        return self


def part_of(fitted: Adapted) -> Part:
    """Take an adapted model apart; its base is let go of."""
    model = fitted.model.get_base_model()
    prefix = model.base_model_prefix
    base = getattr(model, prefix)
    deltas: dict[str, Delta] = {}
    modules: dict[str, nn.Module] = {}
    for path, module in base.named_modules():
        if any(path.startswith(f"{whole}.") for whole in modules):
            continue
        if hasattr(module, "modules_to_save"):
            modules[path] = module.modules_to_save["default"]
        elif len(getattr(module, "lora_embedding_A", ())):
            raise OptionError(
                f"AdapterPool: received an adapter of the embedding {path!r}; expected adapters of linear layers; load "
                "it by itself with Learner.load"
            )
        elif "default" in getattr(module, "lora_A", {}):
            deltas[path] = _delta(module)
    given = Given()
    setattr(model, prefix, given)
    return Part(deltas, modules, model.eval().requires_grad_(False), given)


def _delta(module: Any) -> Delta:
    down, up = module.lora_A["default"].weight.detach(), module.lora_B["default"].weight.detach()
    scale = float(module.scaling["default"])
    lengths = None
    if module.use_dora.get("default", False):
        weight = module.get_base_layer().weight.detach()
        whole = (weight.T if module.fan_in_fan_out else weight) + scale * (up @ down)
        lengths = module.lora_magnitude_vector["default"].weight.detach() / whole.norm(dim=1)
    return Delta(down.clone(), up.clone(), scale, lengths)


class _RowsMixedError(Exception):
    """A layer's input has no axis of rows, as DeBERTa's relative positions have none."""


class Mixer:
    """A base that several parts share.

    Attributes
    ----------
    apart : a layer sees what belongs to no single row, so that each adapter's rows take a pass of their own
    """

    def __init__(self, base: Any) -> None:
        self.base = base.eval().requires_grad_(False)
        if getattr(self.base.config, "use_cache", False):
            self.base.config.use_cache = False  # keys of the past, which only generation reads
        self.apart = False
        self._hooked: set[str] = set()
        self._parts: Sequence[tuple[Part, int, int]] = ()
        self._rows = 0

    def add(self, part: Part) -> None:
        """Listen where this part adds something."""
        for path in {*part.deltas, *part.modules} - self._hooked:
            self.base.get_submodule(path).register_forward_hook(self._hook(path))
            self._hooked.add(path)

    def logits(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None, parts: Sequence[tuple[Part, int]]
    ) -> list[torch.Tensor]:
        """Logits of each part's rows, which stand in the order of `parts`, as many as each says."""
        inputs = {"input_ids": ids, "attention_mask": mask}
        if types is not None:
            inputs["token_type_ids"] = types
        bounds, start = [], 0
        for part, count in parts:
            bounds.append((part, start, start + count))
            start += count
        if not self.apart:
            try:
                return self._pass(inputs, bounds)
            except _RowsMixedError:
                self.apart = True
        found = []
        for part, first, last in bounds:
            own = {name: value[first:last] for name, value in inputs.items()}
            found += self._pass(own, [(part, 0, last - first)])
        return found

    def _pass(self, inputs: dict[str, torch.Tensor], bounds: Sequence[tuple[Part, int, int]]) -> list[torch.Tensor]:
        """The base once, and the head of each part on its rows."""
        self._parts, self._rows = bounds, len(inputs["input_ids"])
        try:
            outputs = self.base(**inputs)
        finally:
            self._parts = ()
        found = []
        for part, first, last in bounds:
            part.given.outputs = _rows_of(outputs, first, last, self._rows)
            try:
                answer = part.head(**{name: value[first:last] for name, value in inputs.items()})
            finally:
                part.given.outputs = None
            found.append(answer.logits.float())
        return found

    def _hook(self, path: str) -> Any:
        def changed(module: Any, given: tuple[Any, ...], output: Any) -> Any:
            if not any(path in part.deltas or path in part.modules for part, _, _ in self._parts):
                return None
            inputs = given[0]
            # Some layers see rows and tokens as one axis.
            each, rest = divmod(inputs.shape[0], self._rows)
            if len(self._parts) == 1:
                each, rest = inputs.shape[0], 0  # one adapter answers for whatever comes by
            elif rest:
                raise _RowsMixedError
            pieces = []
            for part, first, last in self._parts:
                rows = slice(first * each, last * each) if len(self._parts) > 1 else slice(None)
                if path in part.modules:
                    pieces.append(part.modules[path](inputs[rows], *(_cut(g, rows) for g in given[1:])))
                elif path in part.deltas:
                    pieces.append(part.deltas[path](inputs[rows], output[rows], getattr(module, "bias", None)))
                else:
                    pieces.append(output[rows])
            return torch.cat(pieces)

        return changed


def _cut(value: Any, rows: slice) -> Any:
    return value[rows] if torch.is_tensor(value) else value


def _rows_of(outputs: Any, first: int, last: int, rows: int) -> Any:
    """The same kind of output for some rows; caches of past keys, which no head reads, are left out."""
    kept = {
        name: value[first:last]
        for name, value in outputs.items()
        if torch.is_tensor(value) and value.ndim and value.shape[0] == rows
    }
    return type(outputs)(**kept)
