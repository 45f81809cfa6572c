"""GPT-Neo: its attention ignores `config.is_causal`, so that it cannot be made to read both ways."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import GPTNeoConfig

    return GPTNeoConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        intermediate_size=64,
        max_position_embeddings=64,
        window_size=16,
        bos_token_id=0,
        eos_token_id=0,
    )


FAMILY = Family(
    model_types=("gpt_neo",),
    kind="decoder",
    layers="h",
    dropout=("resid_dropout", "embed_dropout", "attention_dropout", "classifier_dropout"),
    tiny=_tiny,
)
