"""What is found out about a checkpoint when it is opened, and what is mended or refused there."""

from __future__ import annotations

from typing import Any

from nlptl.backbones.base import Family
from nlptl.backbones.pooling import POOLINGS
from nlptl.backbones.sources import Place, json_in
from nlptl.errors import BackboneError, Fault

#: What is taken for the window where neither the tokenizer nor the config says anything (relative positions).
UNSAID_WINDOW = 512
#: Tokenizers that know no limit say 1e30.
_NO_LIMIT = 10**9


def refuse_unusable(place: Place, config: Any) -> None:
    """Refuse what no head of ours fits on, and what this machine cannot compute with."""
    if getattr(config, "is_encoder_decoder", False):
        raise BackboneError(
            Fault(
                f"{config.model_type!r}, an encoder–decoder",
                "an encoder (BERT and its kin) or a decoder (GPT and its kin)",
                "take a checkpoint of one of these",
                place.name,
            )
        )
    quantized = getattr(config, "quantization_config", None)
    if quantized is None:
        return
    import importlib.util

    import torch

    if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
        raise BackboneError(
            Fault(
                "a checkpoint with quantised weights",
                "CUDA and the package bitsandbytes, which alone can compute with them",
                "use the checkpoint that was not quantised, or a machine with a CUDA GPU",
                place.name,
            )
        )


def refuse_empty(place: Place, tokenizer: Any) -> None:
    """Where a folder holds no vocabulary, transformers silently makes a tokenizer of special tokens."""
    if len(tokenizer) <= len(tokenizer.all_special_tokens) + 2:
        raise BackboneError(
            Fault(
                "a checkpoint without a tokenizer's vocabulary",
                "tokenizer.json, or the vocabulary files of its family",
                "copy them from where the checkpoint came from",
                place.name,
            )
        )


def mend_padding(place: Place, config: Any, tokenizer: Any, family: Family) -> list[str]:
    """Give the tokenizer a pad token where it has none, and the config the same one.

    The end-of-text token serves, as everybody does it: attention masks hide it, and `heads.LastTokenByMask`
    sees to the texts that really end in it. An id beyond the embedding table, as a pad token added without
    resizing has, would end in an index error.
    """
    notes = []
    # Batches of nlptl's own are padded on the right in any case; this is what other tools read from a saved tokenizer.
    tokenizer.padding_side = "left" if family.reads_last_place else "right"
    tokenizer.init_kwargs["padding_side"] = tokenizer.padding_side  # what save_pretrained writes
    size = config.get_text_config().vocab_size
    usable = [token for token in (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token) if token is not None]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= size:
        if not usable:
            raise BackboneError(
                Fault(
                    "a tokenizer without a pad, end, unknown or begin token",
                    "one of these, to fill up a batch with",
                    "set tokenizer.pad_token and save it with the checkpoint",
                    place.name,
                )
            )
        tokenizer.pad_token = usable[0]
        notes.append(f"the tokenizer has no usable pad token: {usable[0]!r} fills batches up")
    text_config = config.get_text_config()
    # An encoder's own pad id is left alone: RoBERTa counts its positions from it.
    if family.kind == "decoder" or text_config.pad_token_id is None:
        text_config.pad_token_id = tokenizer.pad_token_id
    return notes


def real_window(config: Any, tokenizer: Any, family: Family) -> tuple[int, list[str]]:
    """How many tokens the model really holds: the least of what tokenizer and position table allow."""
    text_config = config.get_text_config()
    limits = []
    said = getattr(tokenizer, "model_max_length", None)
    if said and said < _NO_LIMIT:
        limits.append(int(said))
    positions = getattr(text_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        first = family.first_position
        limits.append(positions - (text_config.pad_token_id + 1 if first == "after pad" else first))
    if limits:
        return min(limits), []
    return UNSAID_WINDOW, [f"the checkpoint names no window: {UNSAID_WINDOW} tokens were taken"]


def embedding_habits(place: Place) -> dict[str, Any]:
    """How sentence-transformers would embed with this checkpoint, where it was made for that."""
    modules = json_in(place, "modules.json")
    if not modules:
        return {}
    habits: dict[str, Any] = {"window": (json_in(place, "sentence_bert_config.json") or {}).get("max_seq_length")}
    for module in modules:
        kind = module.get("type", "").rsplit(".", 1)[-1]
        if kind == "Normalize":
            habits["normalize"] = True
        elif kind == "Pooling":
            habits["pooling"] = _pooling_said(json_in(place, f"{module['path']}/config.json") or {})
        elif kind != "Transformer":
            habits["unused"] = kind
    return habits


def _pooling_said(said: dict[str, Any]) -> str | None:
    # sentence-transformers wrote one flag a mode up to version 5, and writes one word since.
    word = {"lasttoken": "last"}.get(str(said.get("pooling_mode")), said.get("pooling_mode"))
    if word in POOLINGS:
        return str(word)
    names = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"}
    chosen = [how for key, how in names.items() if said.get(f"pooling_mode_{key}")]
    return chosen[0] if len(chosen) == 1 else None
