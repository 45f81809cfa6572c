"""Every input in memory, and every fault that rows can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nlptl.data.sources import Schema, read, split
from nlptl.data.spans import Span
from nlptl.errors import DataError

SEQUENCE, TOKEN = Schema("sequence"), Schema("token")
TEXTS = ["good film", "bad film"]


@pytest.mark.parametrize("source", [TEXTS, tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), iter(TEXTS)])
def test_texts(source: Any) -> None:
    examples = read(source, ["pos", "neg"], schema=SEQUENCE)
    assert examples.inputs == TEXTS and all(type(t) is str for t in examples.inputs)
    assert (examples.targets, examples.target_form) == (["pos", "neg"], "scalar")
    assert (examples.columns, examples.weights, examples.notes) == ({}, None, ())
    assert examples.origin.where(1) == "X[1]"


@pytest.mark.parametrize(
    "source", [[("a", "b"), ("c", "d")], [["a", "b"], ["c", "d"]], np.array([["a", "b"], ["c", "d"]])]
)
def test_pairs(source: Any) -> None:
    assert read(source, [0, 1], schema=SEQUENCE).inputs == [("a", "b"), ("c", "d")]


def test_words_and_tags() -> None:
    examples = read([("Ada", "left"), ["Hm", ""]], [("B-x", "O"), ["O", "O"]], schema=TOKEN)
    assert examples.inputs == [["Ada", "left"], ["Hm", ""]]
    assert (examples.targets, examples.target_form) == ([["B-x", "O"], ["O", "O"]], "tags")


@pytest.mark.parametrize("span", [(0, 3, "p"), Span(0, 3, "p"), {"start": 0, "end": 3, "label": "p", "text": "Ada"}])
def test_texts_and_spans(span: Any) -> None:
    examples = read(["Ada left", "nobody"], [[span], []], schema=TOKEN)
    assert (examples.targets, examples.target_form) == ([[Span(0, 3, "p")], []], "spans")
    assert isinstance(examples.targets[0][0], Span)


def test_spans_come_out_in_order() -> None:
    assert read(["Ada Bo"], [[(4, 6, "p"), (0, 3, "p")]], schema=TOKEN).targets == [[(0, 3, "p"), (4, 6, "p")]]


@pytest.mark.parametrize("source", [["Ada left"], [["Ada", "left"]]])
def test_prediction_at_token_level_takes_texts_and_words(source: Any) -> None:
    examples = read(source, schema=TOKEN, targets="none")
    assert (examples.inputs, examples.targets, examples.target_form) == (source, None, "none")


@pytest.mark.parametrize(
    ("y", "targets", "form"),
    [
        ([1, 0], [1, 0], "scalar"),
        (np.array([0.5, 1.0]), [0.5, 1.0], "scalar"),
        (np.array([[1], [0]]), [1, 0], "scalar"),
        ([1, 0.5], [1, 0.5], "scalar"),
        ([True, False], [True, False], "scalar"),
        ([["a", "b"], []], [["a", "b"], []], "lists"),
        ([("a",), {"b", "a"}], [["a"], ["a", "b"]], "lists"),
        (np.array([[1, 0], [0, 0]]), [[1, 0], [0, 0]], "indicator"),
        ([[1, 0, 1], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]], "indicator"),
        ([[1, 2], [0]], [[1, 2], [0]], "lists"),
    ],
)
def test_forms_of_targets(y: Any, targets: Any, form: str) -> None:
    examples = read(TEXTS, y, schema=SEQUENCE)
    assert (examples.targets, examples.target_form) == (targets, form)
    assert all(type(t) in (int, float, bool, list) for t in examples.targets or [])


def test_sparse_indicators() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    assert read(TEXTS, scipy.csr_matrix([[1, 0], [0, 1]]), schema=SEQUENCE).target_form == "indicator"


@pytest.mark.parametrize(
    "source", [{"text": TEXTS, "label": [1, 0]}, [{"text": t, "label": 1 - i} for i, t in enumerate(TEXTS)]]
)
def test_columns_and_records(source: Any) -> None:
    examples = read(source, schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (TEXTS, [1, 0])
    assert examples.columns == {"text": "text", "label": "label"}


def test_y_goes_before_the_sources_own_labels() -> None:
    assert read({"text": TEXTS, "label": [1, 0]}, ["x", "y"], schema=SEQUENCE).targets == ["x", "y"]


def test_weights_and_rows_are_taken_together() -> None:
    examples = read(["a", "b", "c"], [0, 1, 2], schema=SEQUENCE, sample_weight=np.array([1, 2, 3])).take([2, 0])
    assert (examples.inputs, examples.targets, examples.weights) == (["c", "a"], [2, 0], [3.0, 1.0])
    assert [examples.origin.where(i) for i in (0, 1)] == ["X[2]", "X[0]"] and len(examples) == 2


def test_optional_targets_may_be_missing_and_unwanted_ones_are_not_looked_at() -> None:
    assert read({"text": TEXTS}, schema=SEQUENCE, targets="optional").targets is None
    assert read({"text": TEXTS, "label": [None, 3]}, schema=SEQUENCE, targets="none").targets is None


def test_columns_said_of_a_list_are_told_to_be_unused() -> None:
    assert read(TEXTS, [0, 1], schema=SEQUENCE, columns={"text": "review"}).notes == (
        "columns= not used for X, a list",
    )


# Faults: what came, what was expected, what to do, and where ---------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "received", "expected", "remedy"),
    [
        ("", "an empty text", "a text that a reader could see", "leave the row out"),
        (" \t\n", "white space alone", "a text that a reader could see", "leave the row out"),
        (
            "\u200b\ufeff",
            "without visible characters ('\\\\u200b\\\\ufeff')",
            "a reader could see",
            "leave the row out",
        ),
        ("a\ud83d", "half a character (U+D83D at 1)", "a reader could see", "leave the row out"),
        (None, "no text", "a text", "fill it in"),
        (float("nan"), "no text", "a text", "fill it in"),
        (3, "3, of type int", "a text (str)", "turn it into a str"),
        (b"x", "b'x', of type bytes", "a text (str)", "decode it"),
        (["a", "b"], "of type list", "a text (str)", "join it into one text"),
    ],
)
def test_a_text_that_is_none(told: Callable[..., Any], value: Any, received: str, expected: str, remedy: str) -> None:
    with told(received, expected, remedy, "X[1]", faults=1):
        read(["fine", value, "fine"], [0, 1, 0], schema=SEQUENCE)


def test_pairs_are_checked_on_both_sides(told: Callable[..., Any]) -> None:
    with told("an empty text", "a text", "fill it in", "X[1], second text", faults=2):
        read([("a", "b"), ("c", ""), "d"], schema=SEQUENCE, targets="none")
    with told("3 items", "a pair of texts", "give (first, second)", "X[1]", faults=1):
        read([("a", "b"), ("a", "b", "c")], schema=SEQUENCE, targets="none")


@pytest.mark.parametrize(
    ("row", "received", "expected", "remedy"),
    [
        ([], "no words", "a sentence of one word or more", "leave the row out"),
        (["", "\u200b"], "in which nothing can be seen", "a sentence of one word or more", "leave the row out"),
        (["a", 3], "3, of type int, as word 1", "words of type str", "turn it into a str"),
        (["a\udc00"], "half a character (U+DC00 at 1) in word 0", "UTF-8", "mend the word"),
        ("Ada left", "'Ada left'", "a list of words", "use JSONL or CoNLL"),
    ],
)
def test_words_that_are_none(told: Callable[..., Any], row: Any, received: str, expected: str, remedy: str) -> None:
    with told(received, expected, remedy, "X[2]", faults=1):
        read([["a"], ["b"], row], schema=TOKEN, targets="none")


@pytest.mark.parametrize(
    ("labels", "received", "expected", "remedy"),
    [
        (["a", "b", 1], "the label 1, a number, among labels of mixed type", "a text, as 2 of the 3", "one type"),
        ([1, 2, "b"], "the label 'b', a text, among labels of mixed type", "a number, as 2 of the 3", "one type"),
        ([1, 0, True], "the label True, a true/false", "a number", "one type"),
        (["a", "b", None], "no label", "one label", "label the row"),
        (["a", "b", " "], "no label", "one label", "label the row"),
        ([1.0, 2.0, float("nan")], "no label", "one label", "label the row"),
        ([1.0, 2.0, float("inf")], "the label inf", "a finite number", "leave the row out"),
        (["a", "b", {"c": 1}], "of type dict", "a text, a finite number, or true/false", "turn it into one"),
        ([["a"], ["b"], "c"], "the label 'c' by itself", "a list of labels", "write it as a list"),
        ([["a"], ["b"], ["c", 1]], "the label 1, a number, among labels of mixed type", "a text", "one type"),
        ([["a"], [], None], "no label", "a list of labels", "[] is none"),
    ],
)
def test_labels_that_are_none(told: Callable[..., Any], labels: Any, received: str, expected: str, remedy: str) -> None:
    with told(received, expected, remedy, "X[2]", faults=1):
        read(["x", "y", "z"], labels, schema=SEQUENCE)


def test_an_indicator_with_other_numbers(told: Callable[..., Any]) -> None:
    with told("2 in label column 1", "0 or 1", "write 1 where the label applies", "X[1]", faults=1):
        read(TEXTS, np.array([[1, 0], [0, 2]]), schema=SEQUENCE)


@pytest.mark.parametrize(
    ("tags", "received", "expected", "remedy"),
    [
        (["O"], "2 words and 1 tags", "one tag a word", "mend the row"),
        (["O", 1], "the tag 1", "tags as text", "ClassLabel"),
        (["O", None], "the tag None", "tags as text", "ClassLabel"),
        ("O O", "the tags 'O O'", "a list with one tag a word", "split the tags"),
        (None, "no tags", "a list with one tag a word", "leave the row out"),
    ],
)
def test_tags_that_do_not_fit(told: Callable[..., Any], tags: Any, received: str, expected: str, remedy: str) -> None:
    with told(received, expected, remedy, "X[1]", faults=1):
        read([["a"], ["b", "c"]], [["O"], tags], schema=TOKEN)


@pytest.mark.parametrize(
    ("spans", "received", "expected", "remedy"),
    [
        ([(0, 99, "p")], "the span (0, 99, 'p'), out of range", "≤ 8, the length of the text", "count characters"),
        ([(-1, 3, "p")], "the span (-1, 3, 'p'), out of range", "0 ≤ start", "count characters"),
        ([(3, 2, "p")], "the span (3, 2, 'p'), out of range", "start < end", "count characters"),
        ([(3, 3, "p")], "the span (3, 3, 'p'), which is empty", "one word or more", "remove or mend it"),
        ([(3, 4, "p")], "the span (3, 4, 'p'), which is empty", "one word or more", "remove or mend it"),
        ([(0, 5, "p"), (4, 8, "q")], "(0, 5, 'p') and (4, 8, 'q'), which overlap", "share no character", "keep one"),
        ([("0", 3, "p")], "the span ('0', 3, 'p')", "two whole numbers and a text", '"start": 0'),
        ([{"start": 0, "stop": 3, "label": "p"}], "'stop': 3", "a start, an end and a label", '"start": 0'),
        ([(0, 3, "")], "the span (0, 3, '')", "two whole numbers and a text", '"start": 0'),
        (None, "no spans", "a list of (start, end, label)", "as a list"),
        (["B-p", "O"], "tags for a text", "spans of characters for a text", "split the text into its words"),
    ],
)
def test_spans_that_do_not_fit(told: Callable[..., Any], spans: Any, received: str, expected: str, remedy: str) -> None:
    with told(received, expected, remedy, "X[1]", faults=1):
        read(["nobody", "Ada left"], [[], spans], schema=TOKEN)


@pytest.mark.parametrize(
    ("weights", "received", "expected", "remedy", "where"),
    [
        ([1], "1 weights for 2 rows", "one weight a row", "as many weights as rows", "weights"),
        ([1, -1], "the weight -1", "zero or more", "correct it", "X[1]"),
        ([1, float("inf")], "the weight inf", "a finite number", "correct it", "X[1]"),
        ([1, float("nan")], "the weight nan", "a finite number", "correct it", "X[1]"),
        ([1, "much"], "the weight 'much'", "a finite number", "correct it", "X[1]"),
        ([0, 0], "weights that are all zero", "at least one above zero", "raise some", "X[0]"),
    ],
)
def test_weights_that_cannot_be(
    told: Callable[..., Any], weights: Any, received: str, expected: str, remedy: str, where: str
) -> None:
    with told(received, expected, remedy, where, faults=1):
        read(TEXTS, [0, 1], schema=SEQUENCE, sample_weight=weights)


def test_x_and_y_of_different_length(told: Callable[..., Any]) -> None:
    with told("2 rows and 3 targets", "one target a row", "give as many of both", "X", faults=1):
        read(TEXTS, [0, 1, 0], schema=SEQUENCE)


def test_no_targets(told: Callable[..., Any]) -> None:
    with told("rows without targets", "a target a row", "give them as y", "X", faults=1):
        read(TEXTS, schema=SEQUENCE)


@pytest.mark.parametrize("source", [[], {}, {"text": []}, np.array([])])
def test_no_rows(told: Callable[..., Any], source: Any) -> None:
    with told("no rows", "one row or more", "check the source", "train", faults=1):
        read(source, [], schema=SEQUENCE, name="train")


@pytest.mark.parametrize("source", [None, 3, b"text", np.array("text")])
def test_a_source_that_is_none(told: Callable[..., Any], source: Any) -> None:
    with told("of type", "rows, a path, or a Hub id", "give a list of texts", "X", faults=1):
        read(source, [0], schema=SEQUENCE)


@pytest.mark.parametrize("y", ["label", 3, {"a": 1}])
def test_a_y_that_is_none(told: Callable[..., Any], y: Any) -> None:
    with told("y=", "one target a row", "columns={'label': …}", "X", faults=1):
        read(TEXTS, y, schema=SEQUENCE)


def test_columns_of_different_length(told: Callable[..., Any]) -> None:
    with told("'text' of 2, 'label' of 1", "one value a row in each", "mend the columns", "X", faults=1):
        read({"text": TEXTS, "label": [1]}, schema=SEQUENCE)
    with told("'good' as column 'text'", "a list a column", "give {'text': [...], …}", "X", faults=1):
        read({"text": "good"}, schema=SEQUENCE, targets="none")


def test_all_faults_at_once_with_at_most_twenty_listed() -> None:
    with pytest.raises(DataError) as caught:
        read([""] * 30 + ["fine"], ["a"] * 30 + [None], schema=SEQUENCE, sample_weight=[1] * 30 + [-1])
    assert len(caught.value.faults) == 32
    message = str(caught.value)
    assert message.startswith("32 faults:") and message.endswith("… and 12 more") and message.count("\n") == 21


def test_places_are_kept_through_a_split() -> None:
    examples = read([f"t{i}" for i in range(10)], list(range(10)), schema=SEQUENCE)
    for part in split(examples, 0.3, seed=0, stratify=None):
        assert [part.origin.where(i) for i in range(len(part))] == [f"X[{str(t)[1:]}]" for t in part.inputs]
