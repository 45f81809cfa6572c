"""NER: legal tags always, spans and schemes in, exact places out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptl import NER, DataError
from nlptl.data.examples import Examples, Origin
from nlptl.data.labels import LabelSpace
from nlptl.data.spans import Span, bio_transitions, is_legal
from nlptl.data.words import split_words
from nlptl.engine.items import Item
from nlptl.tasks.base import Prepared, Sentence
from nlptl.tasks.ner import _best_path

NAMES = ("O", "B-x", "I-x", "B-y", "I-y")
SPACE = LabelSpace("spans", NAMES, NAMES, "tags", scheme="BIO")


def examples(inputs, targets, form="tags"):
    return Examples(inputs, targets, None, Origin("X", list(range(len(inputs)))), target_form=form)


def item(n_words, words):
    words = np.array(words, dtype=np.int64)
    units = np.stack([np.zeros_like(words), words], 1)
    return Item((np.zeros(max(n_words, 1), dtype=np.int64),), None, units, words, n_words)


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_best_path_is_the_best_of_all_legal_ones(seed, length):
    chances = np.random.default_rng(seed).normal(size=(length, 5)) * 3
    chances -= np.log(np.exp(chances).sum(1, keepdims=True))
    start, follows = bio_transitions(NAMES)
    legal = [
        path
        for path in itertools.product(range(5), repeat=length)
        if start[path[0]] and all(follows[a, b] for a, b in itertools.pairwise(path))
    ]
    best = max(legal, key=lambda path: sum(chances[t, k] for t, k in enumerate(path)))
    assert _best_path(chances, start, follows).tolist() == list(best)


@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_tags_are_legal_also_around_words_without_a_token(seed, has_token):
    words = [i for i, there in enumerate(has_token) if there]
    scores = np.random.default_rng(seed).normal(size=(len(words), 5)).astype(np.float32) * 4
    prepared = Prepared([item(len(has_token), words)])
    (numbers,) = NER().decode([scores], prepared, SPACE)
    tags = [NAMES[k] for k in numbers]
    assert len(tags) == len(has_token)
    assert is_legal(tags, "BIO")
    assert all(tags[i] == "O" for i, there in enumerate(has_token) if not there)


@given(st.integers(0, 10**6), st.lists(st.lists(st.booleans(), max_size=5), max_size=6))
@settings(max_examples=60, deadline=None)
def test_sentences_together_are_decoded_as_each_alone(seed, sentences):
    """Also where one's last word and the next one's first could follow each other only inside a sentence."""
    draw = np.random.default_rng(seed)
    items = [item(len(words), [i for i, there in enumerate(words) if there]) for words in sentences]
    scores = [draw.normal(size=(row.n_units, 5)).astype(np.float32) * 4 for row in items]
    together = Prepared(items, sentences=[Sentence(["w"] * row.n_words) for row in items])
    numbers = NER().decode(scores, together, SPACE)
    chances = NER().probabilities(scores, together, SPACE)
    given = NER().as_given(numbers, scores, together, SPACE)
    for i, (row, part) in enumerate(zip(items, scores, strict=True)):
        alone = Prepared([row])
        assert numbers[i].tolist() == NER().decode([part], alone, SPACE)[0].tolist()
        assert np.array_equal(chances[i], NER().probabilities([part], alone, SPACE)[0])
        assert given[i] == [NAMES[k] for k in numbers[i]] and is_legal(given[i], "BIO")


def test_an_entity_has_its_place_and_the_mean_of_its_words_chances():
    text = "  Ada  Lovelace 👩‍🔬 left"
    places = split_words(text)
    sentence = Sentence([w.text for w in places], text, places)
    scores = np.full((4, 5), -10.0)
    for word, tag in enumerate([1, 2, 3, 0]):
        scores[word, tag] = 10.0
    scores[1, 0] = 10.0  # even odds of I-x and O
    prepared = Prepared([item(4, range(4))], sentences=[sentence])
    numbers = [np.array([1, 2, 3, 0])]
    ((first, second),) = NER().as_given(numbers, [scores], prepared, SPACE)
    assert (first.text, first.label, first.start, first.end) == ("Ada  Lovelace", "x", 2, 15)
    assert first.score == pytest.approx(0.75, abs=1e-6)
    assert (second.text, second.label) == ("👩‍🔬", "y")
    assert text[second.start : second.end] == second.text


def test_labels_are_the_types_whatever_the_scheme():
    for tags in (["B-y", "I-y", "O"], ["S-y", "O", "O"], ["U-y", "O", "O"]):
        space, notes = NER().learn(examples([["a", "b", "c"]], [tags]), None)
        assert space.names == ("O", "B-y", "I-y")
        assert notes == [f"tags read as {space.scheme}"]
    space, notes = NER().learn(examples(["a b"], [[Span(0, 1, "y"), Span(2, 3, "x")]], "spans"), None)
    assert space.names == NAMES and space.scheme is None and notes == []
    with pytest.raises(DataError, match="received rows without a single entity; expected at least one"):
        NER().learn(examples([["a"]], [["O"]]), None)


def test_gold_is_numbered_and_what_was_mended_is_counted():
    gold, counts = NER().gold(examples([["a", "b", "c"]], [["O", "I-x", "I-y"]]), SPACE)
    assert gold[0].tolist() == [0, 1, 3] and counts["repaired_tags"] == 2
    gold, counts = NER().gold(examples(["ab cd"], [[(1, 5, "x")]], "spans"), SPACE)
    assert gold[0].tolist() == [1, 2] and counts["snapped_spans"] == 1
    gold, counts = NER().gold(examples([["a", "b"]], [["U-x", "O"]]), SPACE)
    assert gold[0].tolist() == [1, 0] and counts["other_scheme"] == 1
    with pytest.raises(DataError, match=r"X\[1\]: received the label 'B-z'; expected one of the 5 labels"):
        NER().gold(examples([["a"], ["b"]], [["O"], ["B-z"]]), SPACE)
