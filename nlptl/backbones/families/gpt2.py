"""GPT-2: no pad token of its own; linear layers are Conv1D, whose weights are transposed."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )


FAMILY = Family(
    model_types=("gpt2",),
    kind="decoder",
    layers="h",
    dropout=("resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"),
    bidirectional=True,
    tiny=_tiny,
)
