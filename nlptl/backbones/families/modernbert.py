"""ModernBERT: rotary positions, local attention in turns; a masked-language checkpoint brings its `head`."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import ModernBertConfig

    return ModernBertConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        cls_token_id=0,
        sep_token_id=2,
        bos_token_id=0,
        eos_token_id=2,
        local_attention=16,
    )


FAMILY = Family(
    model_types=("modernbert",),
    kind="encoder",
    layers="layers",
    dropout=("embedding_dropout", "attention_dropout", "mlp_dropout", "classifier_dropout"),
    tiny=_tiny,
)
