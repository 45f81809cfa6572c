"""Tiny checkpoints, written to a folder: all that a real one has, at two layers and width 32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from nlptl.backbones import families
from nlptl.backbones.base import Family
from nlptl.backbones.sources import quiet

#: Lower-case English with what tests of the tasks need: digits, punctuation, names. Repeated words become
#: whole tokens.
CORPUS = (
    "the movie was good and the story was great , a joy to watch .",
    "the film was bad and the plot was poor , a waste of time .",
    "ada lovelace left london for paris in 1843 , and charles babbage stayed .",
    "i did not like it at all ; it was not funny , it was awful !",
    "what a lovely day : we really loved this place and its people ?",
    "my card was lost and the bank wants a fee of 25 pounds - why ?",
    "abcdefghijklmnopqrstuvwxyz 0123456789 . , ; : ! ? ' \" ( ) - / @ # $ % & * + = _",
)
#: These tokenise as WordPiece with [CLS] and [SEP]; the other encoders after RoBERTa; decoders add nothing.
_WORDPIECE = {"bert", "distilbert", "electra", "mpnet", "albert", "deberta-v2", "xlnet"}


def tiny_tokenizer(family: str) -> Any:
    """A fast tokenizer of the kind that this family's checkpoints have, trained on `CORPUS`."""
    sheet = _sheet(family)
    if sheet.kind == "decoder":
        return _byte_level(with_frame=False)
    return _wordpiece() if family in _WORDPIECE else _byte_level(with_frame=True)


def tiny_checkpoint(family: str, folder: str | Path, *, seed: int = 0, max_length: int | None = None) -> Path:
    """Write a random checkpoint of a family: config, base model and tokenizer. The folder is returned.

    Parameters
    ----------
    family : a model type that a fact sheet names, as ``"bert"`` or ``"gpt2"``
    folder : written into, made if absent
    seed : of the weights
    max_length : the tokenizer's own limit; None leaves it without one
    """
    import torch
    from transformers import AutoModel

    tokenizer = tiny_tokenizer(family)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    config = tiny_config(family, len(tokenizer), pad)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
        _spread(model)
    if max_length is not None:
        tokenizer.model_max_length = max_length
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def tiny_config(family: str, vocab_size: int, pad_token_id: int) -> Any:
    """The fact sheet's tiny config, turned into that of another of its model types where `family` is one."""
    from transformers import CONFIG_MAPPING

    sheet = _sheet(family)
    assert sheet.tiny is not None, f"the fact sheet of {family} draws no tiny config"
    config = sheet.tiny(vocab_size, pad_token_id)
    if config.model_type == family:
        return config
    said = {name: value for name, value in config.to_diff_dict().items() if name != "model_type"}
    return CONFIG_MAPPING[family](**said)


def _sheet(family: str) -> Family:
    return next(sheet for sheet in families.all() if family in sheet.model_types)


def _spread(model: Any) -> None:
    """Make random weights speak: at the usual 0.02 two texts hardly differ in a model this small."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(5)


def _wordpiece() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # Not trained: the trainer of WordPiece breaks ties at random, and a test would see another model each time.
    words = Counter(" ".join(CORPUS).split())
    letters = sorted(set("".join(CORPUS)) - {" "})
    pieces = [*letters, *(f"##{letter}" for letter in letters)]
    pieces += sorted(word for word, count in words.items() if count > 1 and len(word) > 1)
    vocabulary = {piece: n for n, piece in enumerate([*special, *pieces])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    ids = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _byte_level(*, with_frame: bool) -> Any:
    """Byte-level BPE; with a frame it is RoBERTa's, without one GPT-2's, which has no pad token either."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if with_frame else ["<|endoftext|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    if not with_frame:
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token="<|endoftext|>",
            eos_token="<|endoftext|>",
            unk_token="<|endoftext|>",
        )
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
