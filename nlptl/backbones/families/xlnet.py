"""XLNet: relative positions, no window of its own; its head reads the last place of a row, which must be no padding."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import XLNetConfig

    return XLNetConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        d_model=32,
        n_layer=2,
        n_head=2,
        d_inner=64,
        bos_token_id=0,
        eos_token_id=2,
    )


FAMILY = Family(
    model_types=("xlnet",),
    kind="encoder",
    layers="layer",
    dropout=("dropout", "summary_last_dropout"),
    reads_last_place=True,
    tiny=_tiny,
)
