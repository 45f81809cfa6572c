"""Texts to token ids and back into frames, so that windows can be cut before special tokens are added.

The engine cuts long texts itself; transformers' own truncation never runs. What must be known of a
tokenizer is learnt by watching what it does to a few probe texts: the same code serves WordPiece, byte-
level BPE and SentencePiece, and a family that nobody wrote a fact sheet for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, overload

from nlptl.errors import BackboneError

if TYPE_CHECKING:
    from nlptl.backbones.loading import Backbone

Ids = list[int]

#: Ordinary letters and digits: some vocabulary covers them, and no tokenizer takes them for special tokens.
_PROBES = (("the", "of"), ("a", "b"), ("1", "2"))
#: What a tokenizer's Python side might treat in a way of its own, were it to have one.
_TRIALS = ("The quick brown Fox", " leading and  double spaces ", "", " ", "naïve café — 東京!", "a\nb\tc", "x" * 300)
#: One tokenizer call for all texts would hold every encoding's offsets at once; a slice of them at a time
#: does not.
_TEXTS_A_CALL = 4096


@dataclass(frozen=True)
class Frame:
    """The special tokens that a tokenizer puts around one text, or before, between and after two."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pair_prefix: tuple[int, ...]
    pair_middle: tuple[int, ...]
    pair_suffix: tuple[int, ...]
    pair_types: tuple[tuple[int, ...], int, tuple[int, ...], int, tuple[int, ...]] | None


@overload
def text_pieces(backbone: Backbone, texts: Sequence[str], pairs: None = None) -> list[Ids]: ...
@overload
def text_pieces(backbone: Backbone, texts: Sequence[str], pairs: Sequence[str]) -> list[tuple[Ids, Ids]]: ...
def text_pieces(
    backbone: Backbone, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[Ids] | list[tuple[Ids, Ids]]:
    """Each text's token ids, whole and without special tokens; with `pairs`, both texts' ids a row."""
    if pairs is None:
        return _encode(backbone.tokenizer, texts)
    return list(zip(_encode(backbone.tokenizer, texts), _encode(backbone.tokenizer, pairs), strict=True))


def word_pieces(backbone: Backbone, sentences: Sequence[Sequence[str]]) -> list[list[Ids]]:
    """Each word's token ids, as the word stands inside a sentence; a word that leaves no token has none.

    Each distinct word is encoded once and by itself: a tokenizer that is handed the whole sentence may join
    two words into one token or report one word as several (SentencePiece does the first, BERT on "U.S." the
    second), and then nothing says which token is whose.
    """
    tokenizer = backbone.tokenizer
    lead = _lead(tokenizer)
    distinct = sorted({word for sentence in sentences for word in sentence})
    encoded = _encode(tokenizer, [lead + word for word in distinct])
    # A word that the tokenizer's normaliser drops leaves the bare space marker behind: that is no token of
    # the word.
    bare = [_encode(tokenizer, [blank])[0] for blank in (lead, " ")]
    ids_of = {
        word: [] if ids in bare and not word.strip("\u200b\ufeff ") else ids
        for word, ids in zip(distinct, encoded, strict=True)
    }
    return [[ids_of[word][:] for word in sentence] for sentence in sentences]


def frame(backbone: Backbone, ids: Sequence[int], pair: Sequence[int] | None = None) -> Ids:
    """The ids as the model expects them: special tokens before, after, and between a pair."""
    around = _frame(backbone.tokenizer)
    if pair is None:
        return [*around.prefix, *ids, *around.suffix]
    return [*around.pair_prefix, *ids, *around.pair_middle, *pair, *around.pair_suffix]


def n_special(backbone: Backbone, pair: bool = False) -> int:
    """How many special tokens `frame` adds."""
    around = _frame(backbone.tokenizer)
    if pair:
        return len(around.pair_prefix) + len(around.pair_middle) + len(around.pair_suffix)
    return len(around.prefix) + len(around.suffix)


def prefix_length(backbone: Backbone, pair: bool = False) -> int:
    """Where the (first) text's own tokens begin within `frame`."""
    around = _frame(backbone.tokenizer)
    return len(around.pair_prefix if pair else around.prefix)


def type_ids(backbone: Backbone, ids: Sequence[int], pair: Sequence[int] | None = None) -> Ids | None:
    """The token type ids that go with `frame`, or None where the model has one type only.

    A single text needs none: every model takes zeros where none are given. The model's own table decides, not
    the tokenizer: GPT-2 would look a type id up in its *word* embeddings.
    """
    types = _frame(backbone.tokenizer).pair_types
    if pair is None or types is None or (getattr(backbone.config, "type_vocab_size", 0) or 0) < 2:
        return None
    before, first, between, second, after = types
    return [*before, *[first] * len(ids), *between, *[second] * len(pair), *after]


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    encode = _ids_alone if _has_plain_backend(tokenizer) else _ask
    ids: list[Ids] = []
    for start in range(0, len(texts), _TEXTS_A_CALL):
        ids.extend(encode(tokenizer, list(texts[start : start + _TEXTS_A_CALL])))
    return ids


def _ask(tokenizer: Any, texts: list[str]) -> list[Ids]:
    """The ids as transformers gives them."""
    batch = tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # a text beyond the window is no news here: windows are cut from it
    )
    found: list[Ids] = batch["input_ids"]
    return found


def _ids_alone(tokenizer: Any, texts: list[str]) -> list[Ids]:
    """The same from the library underneath, which here need not track offsets nor fill what nobody reads."""
    backend = tokenizer.backend_tokenizer
    if backend.truncation is not None or backend.padding is not None or backend.encode_special_tokens:
        return _ask(tokenizer, texts)  # which sets them back
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


@lru_cache(maxsize=16)
def _has_plain_backend(tokenizer: Any) -> bool:
    """Whether transformers hands texts to the library underneath as they are, seen on texts that try it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not hasattr(backend, "encode_batch_fast"):
        return False
    special = [str(token) for token in tokenizer.all_special_tokens]
    probes = [*_TRIALS, *special, *(f"a {token} b" for token in special)]
    return _ask(tokenizer, probes) == _ids_alone(tokenizer, probes)


@lru_cache(maxsize=16)
def _lead(tokenizer: Any) -> str:
    """What goes before a word so that it is encoded as in the middle of a sentence: nothing, or a space.

    Byte-level BPE keeps the space with the word after it, WordPiece drops it, SentencePiece adds its own.
    """
    spaced = matched = 0
    for first, second in _PROBES:
        whole, start, bare, led = _encode(tokenizer, [f"{first} {second}", first, second, f" {second}"])
        inside = whole[len(start) :]
        matched += bare == inside
        spaced += led == inside
    return " " if spaced > matched else ""


@lru_cache(maxsize=16)
def _frame(tokenizer: Any) -> Frame:
    for first, second in _PROBES:
        found = _probe_frame(tokenizer, first, second)
        if found is not None:
            return found
    raise BackboneError(
        f"received a tokenizer ({type(tokenizer).__name__}) whose special tokens are not only before, between"
        " and after texts; expected one that frames texts; use a checkpoint with such a tokenizer"
    )


def _probe_frame(tokenizer: Any, first: str, second: str) -> Frame | None:
    """Read the frame off two encoded probes; None where these probes do not show it."""
    head, tail = _encode(tokenizer, [first, second])
    if not head or not tail:
        return None
    single = list(tokenizer(first)["input_ids"])
    both = tokenizer(first, second, return_token_type_ids=True)
    pair, types = list(both["input_ids"]), list(both["token_type_ids"])
    start = _find(single, head)
    pair_start = _find(pair, head)
    if start is None or pair_start is None:
        return None
    pair_end = pair_start + len(head)
    gap = _find(pair[pair_end:], tail)
    if gap is None:
        return None
    second_start = pair_end + gap
    second_end = second_start + len(tail)
    return Frame(
        prefix=tuple(single[:start]),
        suffix=tuple(single[start + len(head) :]),
        pair_prefix=tuple(pair[:pair_start]),
        pair_middle=tuple(pair[pair_end:second_start]),
        pair_suffix=tuple(pair[second_end:]),
        pair_types=(
            tuple(types[:pair_start]),
            types[pair_start],
            tuple(types[pair_end:second_start]),
            types[second_start],
            tuple(types[second_end:]),
        ),
    )


def _find(ids: Ids, part: Ids) -> int | None:
    starts = range(len(ids) - len(part) + 1)
    return next((start for start in starts if ids[start : start + len(part)] == part), None)
