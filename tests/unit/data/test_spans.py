"""Tag schemes: detected, read leniently, written legally, and turned into characters and back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptl.data import spans as sp
from nlptl.data.spans import SCHEMES, Scheme, Span
from nlptl.data.words import split_words
from nlptl.errors import DataError

# One sentence of five words, an entity of one word right after one of two with the same label.
_SPANS = [Span(0, 2, "x"), Span(2, 3, "x"), Span(4, 5, "y")]
_WRITTEN: dict[Scheme, str] = {
    "BIO": "B-x I-x B-x O B-y",
    "IOB1": "I-x I-x B-x O I-y",
    "BIOES": "B-x E-x S-x O S-y",
    "BILOU": "B-x L-x U-x O U-y",
}


@st.composite
def _sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    lengths = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("xy")), max_size=6))
    spans, end = [], 0
    for gap, length, label in lengths:
        spans.append(Span(end + gap, end + gap + length, label))
        end = spans[-1].end
    return spans, end + draw(st.integers(0, 2))


def _tags(prefixes: str) -> st.SearchStrategy[list[str]]:
    tags = ["O"] + [f"{p}-{label}" for p in prefixes for label in "xy"]
    return st.lists(st.sampled_from(tags), max_size=10)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_is_written_read_and_detected(scheme: Scheme) -> None:
    tags = _WRITTEN[scheme].split()
    assert sp.to_tags(_SPANS, 5, scheme) == tags
    assert sp.entities(tags, scheme) == _SPANS
    assert sp.detect_scheme([["O"], tags]) == scheme


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentence=_sentences())
@settings(max_examples=60, deadline=None)
def test_spans_survive_the_tags(scheme: Scheme, sentence: tuple[list[Span], int]) -> None:
    spans, n = sentence
    tags = sp.to_tags(spans, n, scheme)
    assert sp.entities(tags, scheme) == spans
    assert sp.is_legal(tags, scheme)


@pytest.mark.parametrize(("scheme", "prefixes"), [("BIO", "BI"), ("IOB1", "BI"), ("BIOES", "BIES"), ("BILOU", "BILU")])
def test_any_sequence_is_read_and_comes_out_legal(scheme: Scheme, prefixes: str) -> None:
    @given(_tags(prefixes))
    @settings(max_examples=100, deadline=None)
    def holds(tags: list[str]) -> None:
        found = sp.entities(tags, scheme)
        legal = sp.convert(tags, scheme, scheme)
        assert sp.entities(legal, scheme) == found
        assert sp.is_legal(legal, scheme)
        # nothing is dropped: each word that had a label still has it
        assert [t.partition("-")[2] for t in legal] == [t.partition("-")[2] for t in tags]

    holds()


def test_bio_is_read_as_seqeval_reads_it() -> None:
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")

    @given(_tags("BIES"))
    @settings(max_examples=200, deadline=None)
    def agrees(tags: list[str]) -> None:
        theirs = [Span(start, end + 1, label) for label, start, end in seqeval.get_entities(tags)]
        assert sp.entities(tags, "BIOES") == theirs

    agrees()


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O O", "BIO"),
        ("B-x I-x O", "BIO"),
        ("B-x I-x I-y", "BIO"),  # a fault in BIO rather than IOB1: its B- follows nothing
        ("I-x I-x O", "IOB1"),
        ("I-x I-y", "IOB1"),
        ("I-x B-x", "IOB1"),
        ("O S-x", "BIOES"),
        ("B-x L-x", "BILOU"),
    ],
)
def test_detection(tags: str, scheme: Scheme) -> None:
    assert sp.detect_scheme([tags.split()]) == scheme


def test_a_tag_of_no_scheme_is_told_with_its_row(told: Callable[..., Any]) -> None:
    with told("the tag 'person'", "BIO, IOB1, BIOES or BILOU", "character spans", "a.conll, line 9", faults=2):
        sp.detect_scheme([["O"], ["person", "B-", "person"]], where=lambda i: f"a.conll, line {8 + i}")


def test_two_schemes_at_once_are_told(told: Callable[..., Any]) -> None:
    with told("'E-' of BIOES (row 0) and 'L-' of BILOU", "one scheme", "write 'L-'", "row 1", faults=1):
        sp.detect_scheme([["B-x", "E-x"], ["B-x", "L-x"]])


def test_a_tag_of_another_scheme_is_told(told: Callable[..., Any]) -> None:
    with told("the tag 'E-x'", "tags of BIO", "one scheme", ""):
        sp.entities(["B-x", "E-x"], "BIO")


@pytest.mark.parametrize(
    ("scheme", "tags", "count"),
    [
        ("BIO", "O I-x I-x B-x", 1),
        ("BIO", "B-x I-y", 1),
        ("BIOES", "B-x O I-x", 2),
        ("IOB1", "B-x I-x", 1),
        ("BIO", "B-x I-x", 0),
    ],
)
def test_repairs_are_counted(scheme: Scheme, tags: str, count: int) -> None:
    assert sp.repairs(tags.split(), scheme) == count
    assert sp.is_legal(tags.split(), scheme) == (count == 0)


@pytest.mark.parametrize(
    "spans", [[Span(0, 2, "x"), Span(1, 3, "y")], [Span(0, 4, "x")], [Span(1, 1, "x")], [Span(-1, 1, "x")]]
)
def test_spans_that_cannot_be_tags(spans: list[Span]) -> None:
    with pytest.raises(DataError, match=r"received .* expected spans inside the sentence.* mend the spans"):
        sp.to_tags(spans, 3, "BIO")


def test_spans_of_characters_and_words() -> None:
    text = "  Ada Lovelace left 東京."
    words = split_words(text)
    spans = [Span(2, 14, "person"), Span(20, 22, "place")]
    found, snapped = sp.char_to_word_spans(words, spans)
    assert (found, snapped) == ([Span(0, 2, "person"), Span(3, 5, "place")], 0)
    assert sp.word_to_char_spans(words, found) == spans


@pytest.mark.parametrize(
    ("span", "found"),
    [
        (Span(1, 9, "x"), [Span(0, 2, "x")]),  # from within a word to within another
        (Span(0, 4, "x"), [Span(0, 1, "x")]),  # with the space after it
        (Span(3, 4, "x"), []),  # only the space
    ],
)
def test_a_span_that_cuts_words_is_snapped_and_counted(span: Span, found: list[Span]) -> None:
    assert sp.char_to_word_spans(split_words("Ada Lovelace left"), [span]) == (found, 1)


def test_of_two_spans_in_a_word_the_first_keeps_it() -> None:
    found, snapped = sp.char_to_word_spans(split_words("AdaLovelace left"), [Span(3, 16, "y"), Span(0, 3, "x")])
    assert (found, snapped) == ([Span(0, 1, "x"), Span(1, 2, "y")], 2)


def test_bio_transitions() -> None:
    start, follows = sp.bio_transitions(["O", "B-x", "I-x", "B-y", "I-y"])
    assert start.tolist() == [True, True, False, True, False]
    assert follows.dtype == np.bool_
    assert follows[:, 2].tolist() == [False, True, True, False, False]
    assert follows[:, 4].tolist() == [False, False, False, True, True]
    assert follows[:, [0, 1, 3]].all()


@given(_tags("BI").filter(bool))
@settings(max_examples=100, deadline=None)
def test_transitions_allow_just_the_legal_sequences(tags: list[str]) -> None:
    labels = ["O", "B-x", "I-x", "B-y", "I-y"]
    start, follows = sp.bio_transitions(labels)
    ids = [labels.index(t) for t in tags]
    allowed = start[ids[0]] and all(follows[a, b] for a, b in pairwise(ids))
    assert allowed == sp.is_legal(tags, "BIO")


def test_a_label_that_is_no_bio_tag_is_told(told: Callable[..., Any]) -> None:
    with told("the tag 'E-x'", "tags of BIO", "one scheme", "", faults=1):
        sp.bio_transitions(["O", "E-x"])
