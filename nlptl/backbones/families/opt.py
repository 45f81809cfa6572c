"""OPT: no token-classification class in transformers; a token model of it opens only in nlptl."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import OPTConfig

    return OPTConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=64,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        bos_token_id=0,
        eos_token_id=0,
    )


FAMILY = Family(
    model_types=("opt",),
    kind="decoder",
    layers="decoder.layers",
    dropout=("dropout", "attention_dropout", "classifier_dropout"),
    bidirectional=True,
    tiny=_tiny,
)
