"""Scores of entities, held to seqeval's two modes on random and on hand-made tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from nlptl.metrics import PRIMARY, per_label, read_entities, scores, span_counts

TAGS = ["O", "B-person", "I-person", "B-place", "I-place", "B-war", "I-war"]
tags = st.lists(st.sampled_from(TAGS), min_size=1, max_size=12)


@given(tags)
@settings(max_examples=300, deadline=None)
def test_the_strict_reading_is_seqevals_strict_mode(sentence):
    expected = [(e.start, e.end, e.tag) for e in Entities([sentence], IOB2).entities[0]]
    assert read_entities(sentence) == expected


@given(tags)
@settings(max_examples=300, deadline=None)
def test_the_lenient_reading_is_conllevals(sentence):
    expected = [(start, last + 1, label) for label, start, last in get_entities(sentence)]
    assert read_entities(sentence, lenient=True) == expected


@pytest.mark.parametrize(
    ("sentence", "strict", "lenient"),
    [
        (["B-a", "I-a", "B-a"], [(0, 2, "a"), (2, 3, "a")], [(0, 2, "a"), (2, 3, "a")]),
        (["I-a", "I-a", "O"], [], [(0, 2, "a")]),
        (["B-a", "I-b", "I-b"], [(0, 1, "a")], [(0, 1, "a"), (1, 3, "b")]),
        (["B-a", "I-b", "I-a"], [(0, 1, "a")], [(0, 1, "a"), (1, 2, "b"), (2, 3, "a")]),
        (["B-a-b", "I-a-b"], [(0, 2, "a-b")], [(0, 2, "a-b")]),
        (["B", "I", "O"], [(0, 2, "")], [(0, 2, "")]),
        ([], [], []),
    ],
)
def test_the_readings_by_hand(sentence, strict, lenient):
    assert read_entities(sentence) == strict
    assert read_entities(sentence, lenient=True) == lenient


@pytest.fixture
def sentences():
    rng = np.random.default_rng(11)
    gold = [rng.choice(TAGS, size=rng.integers(1, 15)).tolist() for _ in range(120)]
    predicted = [[t if rng.random() < 0.8 else str(rng.choice(TAGS)) for t in row] for row in gold]
    return gold, predicted


def test_scores_equal_seqevals(sentences):
    gold, predicted = sentences
    strict = {"mode": "strict", "scheme": IOB2}
    assert scores("spans", gold, predicted) == pytest.approx(
        {
            "span_f1": seqeval.f1_score(gold, predicted, **strict),
            "span_precision": seqeval.precision_score(gold, predicted, **strict),
            "span_recall": seqeval.recall_score(gold, predicted, **strict),
            "macro_f1": seqeval.f1_score(gold, predicted, average="macro", **strict),
            "conlleval_f1": seqeval.f1_score(gold, predicted),
            "conlleval_precision": seqeval.precision_score(gold, predicted),
            "conlleval_recall": seqeval.recall_score(gold, predicted),
            "tag_accuracy": seqeval.accuracy_score(gold, predicted),
        }
    )
    assert next(iter(scores("spans", gold, predicted))) == PRIMARY["spans"]


def test_the_table_by_type_equals_seqevals(sentences):
    gold, predicted = sentences
    strict = seqeval.classification_report(gold, predicted, output_dict=True, mode="strict", scheme=IOB2)
    lenient = seqeval.classification_report(gold, predicted, output_dict=True)
    rows = per_label("spans", gold, predicted, ["war", "person", "place"])
    assert [row["label"] for row in rows] == ["war", "person", "place"]
    for row in rows:
        expected = strict[row["label"]]
        assert row["precision"] == pytest.approx(expected["precision"])
        assert row["recall"] == pytest.approx(expected["recall"])
        assert row["f1"] == pytest.approx(expected["f1-score"])
        assert row["support"] == expected["support"]
        assert row["conlleval_f1"] == pytest.approx(lenient[row["label"]]["f1-score"])


def test_an_entity_needs_exact_boundaries_and_type():
    gold = [["B-a", "I-a", "O", "B-a"]]
    assert scores("spans", gold, [["B-a", "O", "O", "B-b"]])["span_f1"] == 0
    assert scores("spans", gold, [["B-a", "I-a", "O", "O"]])["span_f1"] == pytest.approx(2 / 3)


def test_an_unheard_of_type_in_the_gold_is_missed_not_forgotten():
    found = scores("spans", [["B-a", "B-x"]], [["B-a", "O"]], labels=["a"])
    assert found["span_recall"] == 0.5


def test_counts_stand_by_sentence():
    gold, predicted = [["B-a", "B-b"], ["O", "O"]], [["B-a", "O"], ["B-b", "I-b"]]
    counts = span_counts(gold, predicted, ["a", "b"])
    assert counts.correct.tolist() == [[1, 0], [0, 0]]
    assert counts.predicted.tolist() == [[1, 0], [0, 1]]
    assert counts.gold.tolist() == [[1, 1], [0, 0]]
