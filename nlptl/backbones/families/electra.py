"""ELECTRA: the discriminator is the backbone; embeddings may be narrower than the layers."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import ElectraConfig

    return ElectraConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        embedding_size=16,
    )


FAMILY = Family(
    model_types=("electra",),
    kind="encoder",
    layers="encoder.layer",
    dropout=(
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "summary_last_dropout",
    ),
    tiny=_tiny,
)
