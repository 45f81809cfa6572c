"""Mistral: attention over a sliding window."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import MistralConfig

    return MistralConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_key_value_heads=1,
        bos_token_id=0,
        eos_token_id=0,
        sliding_window=16,
    )


FAMILY = Family(
    model_types=("mistral",),
    kind="decoder",
    layers="layers",
    dropout=("attention_dropout", "classifier_dropout"),
    bidirectional=True,
    tiny=_tiny,
)
