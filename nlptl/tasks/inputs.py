"""From texts, pairs and words to windows of token ids; what does not fit one is windowed, never cut in silence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from nlptl.backbones import Backbone
from nlptl.backbones.pieces import frame, n_special, prefix_length, text_pieces, type_ids, word_pieces
from nlptl.data import windows
from nlptl.data.words import split_words
from nlptl.engine.items import IntArray, Item
from nlptl.tasks.base import Prepared, Sentence, WindowSize


def prepare_texts(backbone: Backbone, inputs: Sequence[Any], size: WindowSize) -> Prepared:
    """One item a text or pair, with as many windows as it takes."""
    counts = {"windowed": 0, "windows": 0, "truncated": 0}
    if inputs and isinstance(inputs[0], str):
        room = size.length - n_special(backbone)
        blank = [backbone.pad_id]
        items = [_text(backbone, ids, room, size.stride, blank) for ids in text_pieces(backbone, list(inputs))]
    else:
        firsts, seconds = [a for a, _ in inputs], [b for _, b in inputs]
        room = size.length - n_special(backbone, pair=True)
        items = []
        for first, second in text_pieces(backbone, firsts, seconds):
            item, cut = _pair(backbone, first, second, room, size.stride)
            counts["truncated"] += cut
            items.append(item)
    return Prepared(items, _count_windows(items, counts))


def prepare_sentences(backbone: Backbone, inputs: Sequence[Any], size: WindowSize) -> Prepared:
    """One item a sentence, with one unit for each word that has a token."""
    sentences = [sentence_of(given) for given in inputs]
    counts = {"windowed": 0, "windows": 0, "truncated": 0, "words_without_token": 0}
    room = size.length - n_special(backbone)
    blank = [backbone.pad_id]
    items = []
    for pieces in word_pieces(backbone, [s.words for s in sentences]):
        sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        counts["words_without_token"] += len(sizes) - int(np.count_nonzero(sizes))
        if oversized := int(np.count_nonzero(sizes > room)):
            counts["truncated"] += oversized
            pieces, sizes = [p[:room] for p in pieces], np.minimum(sizes, room)
        items.append(_sentence(backbone, pieces, sizes, room, size.stride, blank))
    return Prepared(items, _count_windows(items, counts), sentences)


def sentence_of(given: Any) -> Sentence:
    """Words as they are given, or split from a text by the one splitter."""
    if isinstance(given, str):
        places = split_words(given)
        return Sentence([w.text for w in places], given, places)
    return Sentence(list(given))


def _text(backbone: Backbone, ids: list[int], room: int, stride: int, blank: list[int]) -> Item:
    cuts = windows.plan(len(ids), room, min(stride, room - 1))
    # A text without a token still has one answer: a decoder without special tokens reads one padding token for it.
    return Item(tuple(_ids(frame(backbone, ids[start:end]) or blank) for start, end in cuts))


def _pair(backbone: Backbone, first: list[int], second: list[int], room: int, stride: int) -> tuple[Item, bool]:
    """The longer text is windowed beside the whole of the shorter one; a shorter one of over half the room is cut."""
    half = room // 2
    cut = min(len(first), len(second)) > half and len(first) + len(second) > room
    if cut:
        if len(first) <= len(second):
            first = first[:half]
        else:
            second = second[:half]
    pairs: list[tuple[list[int], list[int]]] = []
    if len(first) <= len(second):
        left = room - len(first)
        pairs = [(first, second[s:e]) for s, e in windows.plan(len(second), left, min(stride, left - 1))]
    else:
        left = room - len(second)
        pairs = [(first[s:e], second) for s, e in windows.plan(len(first), left, min(stride, left - 1))]
    framed = tuple(_ids(frame(backbone, a, b)) for a, b in pairs)
    kinds = [kind for a, b in pairs if (kind := type_ids(backbone, a, b)) is not None]
    types = tuple(_ids(kind) for kind in kinds) or None
    return Item(framed, types), cut


def _sentence(
    backbone: Backbone, pieces: Sequence[list[int]], sizes: IntArray, room: int, stride: int, blank: list[int]
) -> Item:
    first_piece = np.concatenate([[0], np.cumsum(sizes)])
    words = np.flatnonzero(sizes)
    units = np.zeros((len(words), 2), dtype=np.int64)
    units[:, 1] = prefix_length(backbone) + first_piece[words]
    if first_piece[-1] <= room:  # nearly always: one window, from the first piece on
        return Item(
            (_ids(frame(backbone, list(chain.from_iterable(pieces))) or blank),), None, units, words, len(pieces)
        )
    cuts = windows.plan_words(sizes.tolist(), room, min(stride, room - 1))
    units[:, 0] = windows.owners(cuts)[words]
    units[:, 1] -= first_piece[[start for start, _ in cuts]][units[:, 0]]
    framed = tuple(_ids(frame(backbone, [i for p in pieces[s:e] for i in p]) or blank) for s, e in cuts)
    return Item(framed, None, units, words, len(pieces))


def _count_windows(items: Sequence[Item], counts: dict[str, int]) -> dict[str, int]:
    counts["windows"] = sum(len(item.windows) for item in items)
    counts["windowed"] = sum(len(item.windows) > 1 for item in items)
    return counts


def _ids(values: Sequence[int]) -> Any:
    return np.asarray(values, dtype=np.int64)
