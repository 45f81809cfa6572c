"""GPT-NeoX and Pythia: rotary positions; the embedding table is larger than the vocabulary."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import GPTNeoXConfig

    return GPTNeoXConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )


FAMILY = Family(
    model_types=("gpt_neox",),
    kind="decoder",
    layers="layers",
    dropout=("hidden_dropout", "attention_dropout", "classifier_dropout"),
    bidirectional=True,
    tiny=_tiny,
)
