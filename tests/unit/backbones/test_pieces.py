"""Pieces and frames are what transformers' own tokenizers make of a text that needs no cutting."""

from __future__ import annotations

import logging

import pytest

from nlptl.backbones import families, pieces

TEXTS = ["the movie was good .", "ada lovelace left london for paris in 1843 ,", "a"]
SHEETS = [sheet.name for sheet in families.all()]
BYTE_LEVEL = ("roberta", "modernbert")  # among the encoders


@pytest.mark.parametrize("name", SHEETS)
def test_a_framed_text_is_the_tokenizers_own(opened, name):
    backbone = opened(name)
    for text, ids in zip(TEXTS, pieces.text_pieces(backbone, TEXTS), strict=True):
        whole = backbone.tokenizer(text)["input_ids"]
        assert pieces.frame(backbone, ids) == whole
        start = pieces.prefix_length(backbone)
        assert whole[start : start + len(ids)] == ids
        assert len(whole) - len(ids) == pieces.n_special(backbone)


@pytest.mark.parametrize("name", SHEETS)
def test_a_framed_pair_is_the_tokenizers_own(opened, name):
    backbone = opened(name)
    first, second = pieces.text_pieces(backbone, TEXTS[:1], TEXTS[1:2])[0]
    whole = backbone.tokenizer(TEXTS[0], TEXTS[1], return_token_type_ids=True)
    assert pieces.frame(backbone, first, second) == whole["input_ids"]
    assert len(whole["input_ids"]) - len(first) - len(second) == pieces.n_special(backbone, pair=True)
    types = pieces.type_ids(backbone, first, second)
    if name in ("bert", "albert", "electra"):
        assert types == whole["token_type_ids"]
        assert set(types) == {0, 1}
    else:
        assert types is None


def test_a_single_text_needs_no_types(opened):
    assert pieces.type_ids(opened("bert"), [5, 6]) is None


def test_an_empty_text_has_a_frame_and_no_pieces(opened):
    backbone = opened("bert")
    assert pieces.text_pieces(backbone, ["", "\u200b"]) == [[], []]
    assert pieces.frame(backbone, []) == backbone.tokenizer("")["input_ids"]
    assert pieces.text_pieces(backbone, []) == []


def test_no_text_is_cut_and_nothing_is_said_of_its_length(opened, caplog):
    backbone = opened("bert")
    backbone.tokenizer.model_max_length = 8
    with caplog.at_level(logging.WARNING):
        assert len(pieces.text_pieces(backbone, ["a " * 5000])[0]) == 5000
    assert not caplog.records


@pytest.mark.parametrize("name", SHEETS)
def test_words_are_encoded_as_inside_a_sentence(opened, name):
    backbone = opened(name)
    sentence = ["the", "movie", "was", "good", "and", "ada", "left"]
    words = pieces.word_pieces(backbone, [sentence])[0]
    lead = " " if name in BYTE_LEVEL or families.find(backbone.config).kind == "decoder" else ""
    joined = backbone.tokenizer(lead + " ".join(sentence), add_special_tokens=False)["input_ids"]
    assert [piece for word in words for piece in word] == joined
    assert all(words)


def test_words_keep_their_order_and_share_no_list(opened):
    backbone = opened("gpt2")
    first, second = pieces.word_pieces(backbone, [["good", "movie"], ["movie", "good", "movie"]])
    assert second == [first[1], first[0], first[1]]
    second[0].append(0)
    assert second[0] != second[2] == first[1]


@pytest.mark.parametrize("name", SHEETS)
def test_the_library_underneath_gives_the_same_ids(opened, name):
    tokenizer = opened(name).tokenizer
    texts = [*TEXTS, "", "A  Café\u200b 東京", *tokenizer.all_special_tokens, "x" * 500]
    assert pieces._has_plain_backend(tokenizer)
    assert pieces._ids_alone(tokenizer, texts) == pieces._ask(tokenizer, texts)
    tokenizer.backend_tokenizer.enable_truncation(2)  # as somebody else's call may leave it
    assert pieces._encode(tokenizer, texts) == pieces._ask(tokenizer, texts)


def test_a_tokenizer_with_a_way_of_its_own_is_asked(opened):
    tokenizer = opened("bert").tokenizer

    class Lowering(type(tokenizer)):
        def __call__(self, text, *rest, **options):
            return super().__call__([t.replace("Fox", "movie") for t in text], *rest, **options)

    tokenizer.__class__ = Lowering
    assert not pieces._has_plain_backend(tokenizer)
    assert pieces._encode(tokenizer, ["Fox"]) == pieces._ask(tokenizer, ["Fox"])


@pytest.mark.parametrize("word", ["\u200b", "\ufeff"])
def test_a_word_without_a_token_has_no_pieces(opened, word):
    assert pieces.word_pieces(opened("bert"), [["good", word, "movie"]])[0][1] == []


def test_punctuation_inside_a_word_stays_with_it(opened):
    (ids,) = pieces.word_pieces(opened("bert"), [["1.8.4.3"]])[0:1]
    assert len(ids) == 1 and len(ids[0]) == 7


@pytest.mark.parametrize("scheme", ["always", "first", "never", "legacy"])
def test_sentencepiece_words_carry_one_space_marker(scheme):
    """Metaspace adds its own marker in some checkpoints and expects the space in others."""
    backbone = _metaspace(scheme)
    words = pieces.word_pieces(backbone, [["good", "movie", "\u200b", "london"]])[0]
    shown = [backbone.tokenizer.convert_ids_to_tokens(ids) for ids in words]
    assert ["".join(tokens) for tokens in shown] == ["▁good", "▁movie", "", "▁london"]


class _Holder:
    def __init__(self, tokenizer: object) -> None:
        self.tokenizer = tokenizer


def _metaspace(scheme: str) -> _Holder:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = "▁abcdefghijklmnopqrstuvwxyz12"
    vocabulary = [("<unk>", 0.0), *((letter, -5.0) for letter in letters), ("▁good", -2.0), ("good", -3.0)]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    drop = normalizers.Replace(Regex("[\u200b\ufeff]"), "")
    if scheme == "legacy":  # Llama's first tokenizers: the marker is the normaliser's, and nothing splits words
        backend.normalizer = normalizers.Sequence([drop, normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.normalizer = drop
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return _Holder(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))
