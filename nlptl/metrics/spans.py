"""Scores of entities: two readings of BIO tags, and counts of the entities both sides agree on.

The strict reading opens an entity at ``B-`` alone, so a stray ``I-`` is no entity. The lenient one is that of
the CoNLL shared tasks' ``conlleval``: an ``I-`` that continues nothing opens an entity. Legal tags read alike
both ways. Under either reading an entity is right when its boundaries and its type are exactly the gold's.

The reader stands here, and not with the schemes in `nlptl.data`: metrics are below data in the layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nlptl.errors import DataError, Fault
from nlptl.metrics import ratios
from nlptl.metrics.checks import plain_list, same_rows
from nlptl.metrics.ratios import Counts
from nlptl.metrics.tally import Array, Tally, distinct_rows

#: First word, the word after the last, type.
Entity = tuple[int, int, str]
Tags = Sequence[str]


def read_entities(tags: Tags, *, lenient: bool = False) -> list[Entity]:
    """The entities of one sentence's BIO tags, in order.

    Examples
    --------
    >>> read_entities(["B-person", "I-person", "O", "I-place"])
    [(0, 2, 'person')]
    >>> read_entities(["B-person", "I-person", "O", "I-place"], lenient=True)
    [(0, 2, 'person'), (3, 4, 'place')]
    """
    return list(_read(tags, lenient))


def _read(tags: Tags, lenient: bool) -> Iterator[Entity]:
    start, kind = 0, None
    for i, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if prefix == "I" and label == kind:
            continue
        if kind is not None:
            yield start, i, kind
        opens = prefix == "B" or (lenient and prefix == "I")
        start, kind = i, label if opens else None
    if kind is not None:
        yield start, len(tags), kind


def span_counts(
    gold: Sequence[Tags], predicted: Sequence[Tags], labels: Sequence[str], *, lenient: bool = False
) -> Counts:
    """Entities right, predicted and gold in each sentence: three arrays (sentences, labels)."""
    column = {label: i for i, label in enumerate(labels)}
    counts = Counts(*np.zeros((3, len(gold), len(labels)), np.int32))
    for row, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted, strict=True)):
        found, wanted = set(_read(predicted_tags, lenient)), set(_read(gold_tags, lenient))
        for part, entities in zip(counts, (found & wanted, found, wanted), strict=True):
            for _, _, label in entities:
                part[row, column[label]] += 1
    return counts


def spans(gold: Sequence[Tags], predicted: Sequence[Tags], labels: Sequence[str] | None) -> tuple[Tally, ...]:
    """The tally of tagged sentences. A row is a sentence: its words are not independent of each other."""
    gold, predicted = ([plain_list(tags) for tags in side] for side in (gold, predicted))
    same_rows(gold, predicted)
    _check(gold, predicted)
    known = dict.fromkeys(plain_list(labels) if labels is not None else ())
    # Types outside `labels` are appended: an unheard-of entity in the gold is missed, not forgotten.
    seen = {tag for side in (gold, predicted) for tags in side for tag in tags}
    found = {tag.partition("-")[2] for tag in seen - {"O"}}
    names = [*known, *sorted(found - known.keys())]
    words = [(sum(map(str.__eq__, g, p)), len(g)) for g, p in zip(gold, predicted, strict=True)]
    readings = [span_counts(gold, predicted, names, lenient=lenient) for lenient in (False, True)]
    columns, occurrences = distinct_rows(np.hstack([*readings[0], *readings[1], np.array(words, np.int32)]))
    return (_tally(columns.astype(float), occurrences, names),)


def _tally(columns: Array, occurrences: Array, labels: list[str]) -> Tally:
    def counts(weights: Array) -> tuple[Counts, Counts, Array]:
        sums = weights @ columns
        parts = np.split(sums[:, :-2], 6, axis=1)
        return Counts(*parts[:3]), Counts(*parts[3:]), sums[:, -2:]

    def formula(weights: Array) -> dict[str, Array]:
        strict, lenient, words = counts(weights)
        together, loosely = ratios.micro(strict), ratios.micro(lenient)
        return {
            "span_f1": ratios.f1(together),
            "span_precision": ratios.precision(together),
            "span_recall": ratios.recall(together),
            "macro_f1": ratios.macro(ratios.f1(strict), strict),
            "conlleval_f1": ratios.f1(loosely),
            "conlleval_precision": ratios.precision(loosely),
            "conlleval_recall": ratios.recall(loosely),
            "tag_accuracy": ratios.ratio(words[:, 0], words[:, 1]),
        }

    def table(weights: Array) -> dict[str, Array]:
        strict, lenient, _ = counts(weights)
        return {**ratios.table(strict), "conlleval_f1": ratios.f1(lenient)}

    return Tally(occurrences, formula, labels, table)


def _check(gold: Sequence[Tags], predicted: Sequence[Tags]) -> None:
    faults: list[Fault] = []
    for row, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted, strict=True)):
        if len(gold_tags) != len(predicted_tags):
            received = f"{len(predicted_tags)} predicted tags for {len(gold_tags)} words"
            faults.append(Fault(received, "one tag a word", "predict on the same words", f"sentence {row}"))
        for tag in dict.fromkeys([*gold_tags, *predicted_tags]):
            if not _is_bio(tag):
                remedy = "convert the tags to BIO first"
                faults.append(Fault(f"the tag {tag!r}", "'O', 'B-…' or 'I-…'", remedy, f"sentence {row}"))
    if faults:
        raise DataError(*faults)


def _is_bio(tag: Any) -> bool:
    return isinstance(tag, str) and (tag == "O" or tag.partition("-")[0] in ("B", "I"))
