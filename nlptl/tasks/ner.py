"""Named entities: a tag for each word, spans of characters for each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nlptl.backbones import Backbone
from nlptl.data.examples import Examples, Level
from nlptl.data.labels import Label, LabelSpace, in_order
from nlptl.data.spans import (
    Scheme,
    Span,
    bio_transitions,
    char_to_word_spans,
    convert,
    detect_scheme,
    entities,
    repairs,
    to_tags,
)
from nlptl.errors import DataError, Fault, Faults
from nlptl.tasks.base import Array, Prepared, Sentence, Task, WindowSize, softmax
from nlptl.tasks.inputs import prepare_sentences, sentence_of

#: Far below any log-probability, yet finite: a path of illegal steps still compares with another.
FORBIDDEN = -1e9


class Entity(NamedTuple):
    """One entity of a text: ``text[start:end]`` is its `text`."""

    text: str
    label: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class NER(Task):
    """Named-entity recognition; inside it every scheme is BIO, and every text is split by the one word splitter."""

    name: ClassVar[str] = "ner"
    level: ClassVar[Level] = "token"

    def learn(self, examples: Examples, labels: Sequence[Label] | None) -> tuple[LabelSpace, list[str]]:
        targets = examples.targets or []
        if examples.target_form == "spans":
            scheme: Scheme | None = None
            kinds = [span.label for row in targets for span in row]
            notes = []
        else:
            scheme = detect_scheme(targets, where=examples.origin.where)
            kinds = [span.label for row in targets for span in entities(row, scheme)]
            notes = [f"tags read as {scheme}"]
        types = in_order(kinds, labels)
        if not types:
            raise DataError(
                Fault(
                    "rows without a single entity",
                    "at least one entity to learn from",
                    "check the column of tags or spans",
                    examples.origin.name,
                )
            )
        names = ("O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))
        return LabelSpace("spans", names, names, examples.target_form, scheme=scheme), notes

    def prepare(self, backbone: Backbone, inputs: Sequence[Any], size: WindowSize) -> Prepared:
        return prepare_sentences(backbone, inputs, size)

    def gold(self, examples: Examples, space: LabelSpace) -> tuple[list[Array], dict[str, int]]:
        targets = examples.targets or []
        counts = {"repaired_tags": 0, "snapped_spans": 0}
        if examples.target_form == "spans":
            tagged = []
            for given, spans in zip(examples.inputs, targets, strict=True):
                sentence = sentence_of(given)
                inside, snapped = char_to_word_spans(sentence.places or [], [Span(*s) for s in spans])
                counts["snapped_spans"] += snapped
                tagged.append(to_tags(inside, len(sentence.words), "BIO"))
        else:
            scheme = detect_scheme(targets, where=examples.origin.where)
            if space.scheme is not None and not _fits(targets, space.scheme):
                counts["other_scheme"] = len(targets)
            else:
                scheme = space.scheme or scheme
            counts["repaired_tags"] = sum(repairs(tags, scheme) for tags in targets)
            tagged = [convert(tags, scheme, "BIO") for tags in targets]
        return _numbers(tagged, examples, space), counts

    def decode(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> list[Array]:
        start, follows = bio_transitions(space.names)
        flat, places = _flat(scores, len(space))
        log_chances = _log_softmax(flat)
        greedy = log_chances.argmax(-1)  # the most probable path, where it is a legal one: nearly always
        faulty = _faulty(greedy, places, start, follows)
        numbers: list[Array] = []
        for item, (first, end), wrong in zip(prepared.items, places, faulty, strict=True):
            path = _best_path(log_chances[first:end], start, follows) if wrong else greedy[first:end]
            if item.words is not None and len(path) < item.n_words:
                tags = np.zeros(item.n_words, dtype=np.int64)  # 0 is O: what a word without a token gets
                tags[item.words] = path
                # After such an O no entity goes on: read again as conlleval reads.
                path = _legal(tags, space)
            numbers.append(path)
        return numbers

    def for_metrics(self, numbers: Sequence[Array], space: LabelSpace) -> Any:
        return [[space.names[k] for k in row] for row in numbers]

    def as_given(self, numbers: Sequence[Array], scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        sentences = prepared.sentences or []
        of_texts = any(sentence.places is not None for sentence in sentences)
        chances = self.probabilities(scores, prepared, space) if of_texts else repeat(np.zeros((0, 0)), len(sentences))
        out: list[Any] = []
        for sentence, row, chance in zip(sentences, numbers, chances, strict=True):
            tags = [space.names[k] for k in row.tolist()]
            if sentence.places is None:
                out.append(tags if space.scheme in (None, "BIO") else convert(tags, "BIO", space.scheme))
            elif not row.any():  # every word is O
                out.append([])
            else:
                out.append(_entities(sentence, tags, chance[np.arange(len(row)), row]))
        return out

    def probabilities(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        flat, places = _flat(scores, len(space))
        chances = softmax(flat)
        out = []
        for item, (first, end) in zip(prepared.items, places, strict=True):
            row = chances[first:end]
            if end - first < item.n_words:
                row = np.zeros((item.n_words, len(space)))
                row[:, 0] = 1.0
                row[item.words] = chances[first:end]
            out.append(row)
        return out


def _flat(scores: Sequence[Array], width: int) -> tuple[Array, list[tuple[int, int]]]:
    """The units of all sentences in one array, and from where to where each sentence's are."""
    filled = [part for part in scores if len(part)]
    flat = np.concatenate(filled) if filled else np.zeros((0, width), dtype=np.float32)
    ends = np.cumsum([len(part) for part in scores], dtype=np.int64)
    return flat, list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)) if len(scores) else []


def _faulty(path: Array, places: Sequence[tuple[int, int]], start: Array, follows: Array) -> list[bool]:
    """Whether each sentence's part of a path has a tag that may not stand where it does."""
    wrong = np.zeros(len(path) + 1, dtype=np.int64)
    wrong[2:] = ~follows[path[:-1], path[1:]]
    firsts = np.array([first for first, end in places if end > first], dtype=np.int64)
    wrong[firsts + 1] = ~start[path[firsts]]
    before = np.cumsum(wrong)
    return [bool(before[end] > before[first]) for first, end in places]


def _numbers(tagged: Sequence[Sequence[str]], examples: Examples, space: LabelSpace) -> list[Array]:
    faults = Faults()
    known = {name: i for i, name in enumerate(space.names)}
    rows: list[Array] = []
    for i, tags in enumerate(tagged):
        for tag in sorted({t for t in tags if t not in known}):
            faults.extend([space.unknown(tag, examples.origin.where(i))])
        rows.append(np.array([known.get(t, 0) for t in tags], dtype=np.int64))
    faults.raise_if_any(DataError)
    return rows


def _fits(targets: Sequence[Sequence[str]], scheme: Scheme) -> bool:
    """Whether every prefix that occurs belongs to the scheme."""
    prefixes = {"BIO": "BIO", "IOB1": "BIO", "BIOES": "BIOES", "BILOU": "BILOU"}[scheme]
    return all(tag[0] in prefixes for row in targets for tag in row)


def _best_path(log_chances: Array, start: Array, follows: Array) -> Array:
    """The most probable legal tag sequence (Viterbi)."""
    steps = np.where(follows, 0.0, FORBIDDEN)
    best = log_chances[0] + np.where(start, 0.0, FORBIDDEN)
    back = np.zeros(log_chances.shape, dtype=np.int64)
    for t in range(1, len(log_chances)):
        through = best[:, None] + steps
        back[t] = through.argmax(0)
        best = through.max(0) + log_chances[t]
    path = [int(best.argmax())]
    for t in range(len(log_chances) - 1, 0, -1):
        path.append(int(back[t, path[-1]]))
    return np.array(path[::-1], dtype=np.int64)


def _legal(tags: Array, space: LabelSpace) -> Array:
    names = [space.names[k] for k in tags]
    known = {name: i for i, name in enumerate(space.names)}
    return np.array([known[tag] for tag in convert(names, "BIO", "BIO")], dtype=np.int64)


def _entities(sentence: Sentence, tags: Sequence[str], chances: Array) -> list[Entity]:
    places, text = sentence.places or [], sentence.text or ""
    found = []
    for span in entities(tags, "BIO"):
        start, end = places[span.start].start, places[span.end - 1].end
        found.append(Entity(text[start:end], span.label, start, end, float(chances[span.start : span.end].mean())))
    return found


def _log_softmax(scores: Array) -> Array:
    shifted = scores.astype(np.float64) - scores.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
