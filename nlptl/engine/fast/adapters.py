"""LoRA as one autograd function a layer, in place of peft's chain of products, dropouts and sums.

Saved for the backward pass are the input (dropped, where there is dropout), the thin product and a mask of bytes. No
gradient is computed for a weight that does not learn, nor for an input that needs none (below the lowest adapter). One
product on the merged weight instead was measured too, and was slower on wide layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from nlptl.engine.fast.dropout import draw_mask


class _Adapted(torch.autograd.Function):
    """x (rows, in) -> x W' + bias + scale · drop(x) A' B' (rows, out), in the type of x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
        p: float,
    ) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            low, high = a.to(x.dtype), b.to(x.dtype)
            kept, up = (None, 1.0) if p == 0.0 else draw_mask(x.shape, p, x.device)
            seen = x if kept is None else kept.to(x.dtype).mul_(x)
            thin = seen @ low.t()
            out = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
            out.addmm_(thin, high.t(), alpha=scale * up)
        ctx.scale = scale * up
        ctx.save_for_backward(seen, weight, a, b, thin, kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        seen, weight, a, b, thin, kept = ctx.saved_tensors
        back = (grad @ b.to(grad.dtype)).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            if kept is None:
                grad_x.addmm_(back, a.to(grad.dtype))
            else:
                grad_x.addcmul_(back @ a.to(grad.dtype), kept.to(grad.dtype))
        grad_a = (back.t() @ seen).to(a.dtype)
        grad_b = (grad.t() @ thin).to(b.dtype).mul_(ctx.scale)
        return grad_x, None, None, grad_a, grad_b, None, None


class _Layer:
    """Stands in for the forward of one of peft's layers; whatever is not the plain case goes to peft's own."""

    def __init__(self, layer: Any, name: str) -> None:
        self.layer, self.name, self.plain = layer, name, layer.forward
        self.held: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        layer, kind = self.layer, x.device.type
        if args or kwargs or layer.disable_adapters or layer.merged or not layer.training:
            return self.plain(x, *args, **kwargs)
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self._base().dtype
        p = float(getattr(layer.lora_dropout[self.name], "p", 0.0))
        weight, bias = self._frozen(dtype)
        a, b = layer.lora_A[self.name].weight, layer.lora_B[self.name].weight
        flat = x.reshape(-1, x.shape[-1]).to(dtype)
        out: torch.Tensor = _Adapted.apply(flat, weight, bias, a, b, float(layer.scaling[self.name]), p)
        return out.view(*x.shape[:-1], out.shape[-1])

    def _base(self) -> torch.Tensor:
        weight: torch.Tensor = self.layer.get_base_layer().weight
        return weight

    def _frozen(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The frozen weight (out, in) and bias in the type of the arithmetic: cast once, not at every step."""
        weight = self._base()
        if dtype == weight.dtype or dtype not in self.held:
            base = self.layer.get_base_layer()
            turned = weight.t() if type(base).__name__ == "Conv1D" else weight
            bias = None if base.bias is None else base.bias.detach().to(dtype)
            found = turned.detach().to(dtype), bias
            if dtype == weight.dtype:
                return found
            self.held[dtype] = found
        return self.held[dtype]


def fusable(module: Any) -> str | None:
    """The name of the one adapter of a layer that the function above can stand in for; None for any other module."""
    from peft.tuners.lora.layer import Linear

    if type(module) is not Linear or len(module.active_adapters) != 1:
        return None
    name: str = module.active_adapters[0]
    if name not in module.lora_A or module.lora_variant.get(name) is not None or module.lora_bias.get(name):
        return None
    base = module.get_base_layer()
    learns = any(p.requires_grad for p in base.parameters())
    return name if type(base).__name__ in ("Linear", "Conv1D") and not learns else None


@contextlib.contextmanager
def fused_adapters(model: Any) -> Iterator[int]:
    """Let every plain adapter of a peft model run as one function; yields how many there are."""
    touched: list[Any] = []
    try:
        for module in model.modules():
            if hasattr(module, "lora_A") and (name := fusable(module)) is not None:
                stands_in: Callable[..., Any] = _Layer(module, name).__call__
                module.forward = partial(stands_in)
                touched.append(module)
        yield len(touched)
    finally:
        for module in touched:
            del module.forward
