"""The lowest layers of a model, where nothing of them learns: told apart, kept quiet, and stood in for."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from nlptl.backbones import Family


class _Enough(Exception):
    """Raised within a forward pass as soon as what was wanted of it is there."""


@dataclass(frozen=True)
class Layers:
    """The layers of a base model, of which the lowest `depth` do not learn."""

    base: Any
    every: Any
    depth: int

    def quiet(self) -> None:
        """Evaluation mode for all but the layers that learn and what holds them: what is below them drops nothing."""
        learning = {id(module) for layer in self.every[self.depth :] for module in layer.modules()}
        learning.add(id(self.every))
        for module in self.base.modules():
            if module.training and not any(id(inside) in learning for inside in module.modules()):
                module.training = False

    @contextlib.contextmanager
    def answering(self, output: torch.Tensor, form: int) -> Iterator[None]:
        """The lowest layers do nothing, and the topmost of them answers with this.

        Parameters
        ----------
        form : how many members a layer's answer has; 0 where it is no tuple. Those after the first (attention weights,
            mostly) are None here
        """

        def formed(hidden: torch.Tensor) -> Any:
            return (hidden, *[None] * (form - 1)) if form else hidden

        def through(*given: Any, **named: Any) -> Any:
            return formed(given[0] if given else named["hidden_states"])

        def answer(*given: Any, **named: Any) -> Any:
            return formed(output)

        lowest = list(self.every[: self.depth])
        former = [layer.__dict__.get("forward") for layer in lowest]
        try:
            # The modules stay where they are: models read facts off them, such as which mask a layer wants.
            for layer in lowest:
                layer.forward = through
            lowest[-1].forward = answer
            yield
        finally:
            for layer, own in zip(lowest, former, strict=True):
                if own is None:
                    layer.__dict__.pop("forward", None)
                else:
                    layer.forward = own

    def output(self, model: Any, inputs: dict[str, torch.Tensor]) -> Any:
        """What the topmost of the lowest layers answers; what stands above it does not run."""
        got: list[Any] = []

        def take(module: Any, given: Any, answer: Any) -> None:
            got.append(answer)
            raise _Enough

        handle = self.every[self.depth - 1].register_forward_hook(take)
        try:
            with contextlib.suppress(_Enough):
                model(**inputs)
        finally:
            handle.remove()
        return got[0]

    def digest(self) -> str:
        """Of the weights as they are in memory, all but those of the layers that learn, and of how they are used."""
        import transformers

        config = {name: value for name, value in self.base.config.to_dict().items() if name != "_name_or_path"}
        facts = [config, type(self.base).__qualname__, self.depth, torch.__version__, transformers.__version__]
        attention = str(getattr(self.base.config, "_attn_implementation", None))
        found = hashlib.blake2b(json.dumps([*facts, attention], sort_keys=True, default=str).encode(), digest_size=16)
        learning = {
            id(tensor) for layer in self.every[self.depth :] for tensor in layer.state_dict(keep_vars=True).values()
        }
        for name, tensor in sorted(self.base.state_dict(keep_vars=True).items()):
            if id(tensor) not in learning and not tensor.requires_grad:
                plain = tensor.detach().cpu().contiguous()
                found.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
                found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        return found.hexdigest()


def frozen_layers(model: Any, family: Family) -> Layers | None:
    """The layers of a model whose lowest ones do not learn; None where the lowest one does, or nothing learns.

    Whether anything below them learns is not seen here, but where they are first run.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    base = inner.base_model
    every = family.layers_of(base)
    depth = next((n for n, layer in enumerate(every) if any(p.requires_grad for p in layer.parameters())), len(every))
    if family.ties_layers or not depth or not any(p.requires_grad for p in model.parameters()):
        return None
    return Layers(base, every, depth)
