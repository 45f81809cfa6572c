"""A frozen encoder whose weights stand in the type of the arithmetic: cast once, and not at every batch."""

from __future__ import annotations

import copy
from typing import Any
from weakref import WeakKeyDictionary

import torch

_KEPT: WeakKeyDictionary[torch.nn.Module, dict[torch.dtype, torch.nn.Module]] = WeakKeyDictionary()


def rounded(encoder: Any, dtype: torch.dtype) -> Any:
    """A copy of a frozen encoder with its weights in `dtype`, made once; the encoder itself stays as it was read.

    Buffers keep their type: the angles of rotary positions lose too much in 8 bits of mantissa.
    """
    kept = _KEPT.setdefault(encoder, {})
    if dtype not in kept:
        made = copy.deepcopy(encoder)
        for weight in made.parameters():
            weight.data = weight.data.to(dtype)
        kept[dtype] = made
    return kept[dtype]
