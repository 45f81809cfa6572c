"""Dropout on a CPU, where torch draws one number after the other and spends more on the masks than on a layer norm.

A mask takes 16 random bits an element from numpy's SFC64, which is seeded from torch's generator: what is drawn still
depends on `torch.manual_seed` alone. The rate is the nearest multiple of 1/65,536, and the scale is exact for it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_STEPS = 1 << 16

#: Below this many elements torch's own way takes no longer than seeding a generator.
_WORTH_IT = 1 << 14


def draw_mask(shape: torch.Size, p: float, device: torch.device) -> tuple[torch.Tensor, float]:
    """Ones where an element stays and zeros where it goes, as bytes, and what the rest is scaled by."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=torch.uint8, device=device).bernoulli_(1 - p), 1 / (1 - p)
    dropped = round(p * _STEPS)
    number = math.prod(shape)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    bits = np.random.SFC64(seed).random_raw((number + 3) // 4).view(np.uint16)[:number]
    kept = torch.from_numpy((bits >= dropped).view(np.uint8)).view(shape)
    return kept, _STEPS / (_STEPS - dropped)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, p: float) -> torch.Tensor:
        kept, scale = draw_mask(given.shape, p, given.device)
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return kept.to(given.dtype).mul_(scale).mul_(given)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (kept,) = ctx.saved_tensors
        return kept.to(grad.dtype).mul_(ctx.scale).mul_(grad), None


def drop(given: torch.Tensor, p: float) -> torch.Tensor:
    """Dropout in training: elements to zero with chance p, the others scaled so that the mean stays."""
    if given.numel() < _WORTH_IT or not 0 < round(p * _STEPS) < _STEPS or not given.is_floating_point():
        return functional.dropout(given, p, training=True)
    dropped: torch.Tensor = _Drop.apply(given, p)
    return dropped


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`scaled_dot_product_attention` with dropout, as torch computes it on a CPU, but for the way masks are drawn."""
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scale = 1 / math.sqrt(query.size(-1)) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        attn_mask = seen if attn_mask is None else attn_mask & seen
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            # The lowest number and not minus infinity: a row that sees nothing (padding) stays finite.
            attn_mask = torch.zeros_like(attn_mask, dtype=scores.dtype).masked_fill_(
                ~attn_mask, torch.finfo(scores.dtype).min
            )
        scores = scores + attn_mask
    return drop(scores.softmax(-1), dropout_p) @ value


class FastDropout(TorchFunctionMode):
    """While it is open, dropout inside any model is `drop`, and attention with dropout is `attend`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout and _plain_dropout(args, kwargs):
            given, p, training = _dropout_words(*args, **kwargs)
            return drop(given, p) if training else given
        if func is functional.scaled_dot_product_attention and _dropout_of(*args, **kwargs):
            return attend(*args, **kwargs)
        return func(*args, **kwargs)


def _dropout_words(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[torch.Tensor, float, bool]:
    return input, p, training


def _plain_dropout(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """On a CPU, and not in place: what others do in place stays as they wrote it."""
    given = args[0] if args else kwargs.get("input")
    inplace = args[3] if len(args) > 3 else kwargs.get("inplace", False)
    return isinstance(given, torch.Tensor) and given.device.type == "cpu" and not inplace


def _dropout_of(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: Any = None, dropout_p: float = 0.0, **_: Any
) -> bool:
    return query.device.type == "cpu" and 0 < dropout_p < 1
