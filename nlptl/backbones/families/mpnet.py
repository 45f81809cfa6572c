"""MPNet: positions start at row 2 whatever the pad id; it knows no token types."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import MPNetConfig

    return MPNetConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
    )


FAMILY = Family(
    model_types=("mpnet",),
    kind="encoder",
    layers="encoder.layer",
    dropout=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    first_position=2,
    tiny=_tiny,
)
