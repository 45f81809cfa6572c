"""RoBERTa and its kin: position ids start after the pad id, so two rows of the table hold no text."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family


def _tiny(vocab_size: int, pad_token_id: int) -> Any:
    from transformers import RobertaConfig

    return RobertaConfig(
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=1,
        bos_token_id=0,
        eos_token_id=2,
    )


FAMILY = Family(
    model_types=("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm"),
    kind="encoder",
    layers="encoder.layer",
    dropout=("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    first_position="after pad",
    tiny=_tiny,
)
