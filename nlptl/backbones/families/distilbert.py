"""DistilBERT: its head has two layers, `pre_classifier` and `classifier`; it knows no token types."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import DistilBertConfig

    return DistilBertConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        max_position_embeddings=64,
    )


FAMILY = Family(
    model_types=("distilbert",),
    kind="encoder",
    layers="transformer.layer",
    dropout=("dropout", "attention_dropout", "seq_classif_dropout"),
    tiny=_tiny,
)
