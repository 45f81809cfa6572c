"""One vector a text out of one vector a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlptl.errors import OptionError, did_you_mean, listing

if TYPE_CHECKING:
    from torch import Tensor

#: The ways to pool, the one that most embedding checkpoints were trained with first.
POOLINGS = ("mean", "cls", "last", "max")


def last_positions(mask: Tensor) -> Tensor:
    """The index of each row's last real token, on whichever side the padding is.

    Parameters
    ----------
    mask : (batch, tokens), nonzero where a token is real

    Returns
    -------
    (batch,) integers; 0 for a row without a real token
    """
    import torch

    indices = torch.arange(mask.shape[-1], device=mask.device, dtype=torch.int32)
    return ((mask != 0) * indices).argmax(dim=-1)


def pool(hidden: Tensor, mask: Tensor, how: str) -> Tensor:
    """Pool token vectors over the real tokens of each row.

    Parameters
    ----------
    hidden : (batch, tokens, width)
    mask : (batch, tokens), nonzero where a token is real
    how : one of `POOLINGS`; "cls" is the first real token, "last" the last one

    Returns
    -------
    (batch, width); zeros for a row without a real token under "mean" and "max"
    """
    import torch

    check_pooling(how)
    real = (mask != 0).unsqueeze(-1)
    if how == "mean":
        # A sum of a few hundred tokens has no room in half precision: it is rounded once, as a mean.
        total = (hidden.float() * real).sum(dim=1)
        return (total / real.sum(dim=1).clamp(min=1)).to(hidden.dtype)
    if how == "max":
        lowest = hidden.masked_fill(~real, torch.finfo(hidden.dtype).min).amax(dim=1)
        return lowest * real.any(dim=1)
    rows = torch.arange(hidden.shape[0], device=hidden.device)
    if how == "last":
        return hidden[rows, last_positions(mask)]
    return hidden[rows, (mask != 0).int().argmax(dim=-1)]


def check_pooling(how: str) -> None:
    """Refuse a pooling that does not exist."""
    if how not in POOLINGS:
        raise OptionError(
            f"received pooling={how!r}; expected one of {listing(POOLINGS)}; "
            f"name one of these, or 'auto'.{did_you_mean(how, POOLINGS)}"
        )
