"""Roles of columns: named, inferred and told, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nlptl.data.sources import Examples, Level, Schema, read

_CELLS = {"tokens": ["a"], "words": ["a"], "tags": ["O"], "ner_tags": ["O"], "spans": [], "entities": []}


def _read(names: str, level: Level = "sequence", **options: Any) -> Examples:
    """Reads a table with these columns, whose cells say which column they are of."""
    row = {name: _CELLS.get(name, f"in {name}") for name in names.split()}
    if level == "token" and "labels" in row:
        row["labels"] = ["O"]
    return read([row], schema=Schema(level), **options)


@pytest.mark.parametrize(
    ("names", "text", "label"),
    [
        ("text label", "text", "label"),
        ("id review stars text", "text", "stars"),  # its own name goes before others
        ("Text text Label label", "text", "label"),
        ("Review Sentiment", "Review", "Sentiment"),
        ("text label rating", "text", "label"),
        ("tweet intent weight", "tweet", "intent"),
    ],
)
def test_inferred(names: str, text: str, label: str) -> None:
    examples = _read(names)
    assert examples.columns == {"text": text, "label": label}
    assert (examples.inputs, examples.targets) == ([f"in {text}"], [f"in {label}"])
    told = {f"{role} taken from column '{name}'" for role, name in examples.columns.items() if role != name}
    assert set(examples.notes) == told


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        ("text text_pair label", ("text", "text_pair")),
        ("sentence1 sentence2 label", ("sentence1", "sentence2")),
        ("premise hypothesis label", ("premise", "hypothesis")),
        ("idx question1 question2 label", ("question1", "question2")),
    ],
)
def test_pairs(names: str, pair: tuple[str, str]) -> None:
    examples = _read(names)
    assert examples.inputs == [(f"in {pair[0]}", f"in {pair[1]}")]
    assert examples.notes == (f"text pairs taken from columns '{pair[0]}' and '{pair[1]}'",)


def test_a_named_text_is_no_pair_unless_the_pair_is_named() -> None:
    names = "sentence1 sentence2 label"
    assert _read(names, columns={"text": "sentence2"}).inputs == ["in sentence2"]
    both = _read(names, columns={"text": "sentence2", "text_pair": "sentence1"})
    assert both.inputs == [("in sentence2", "in sentence1")]


def test_named_columns_go_before_all_inference() -> None:
    examples = _read("text label body", columns={"text": "body", "label": "text"})
    assert (examples.inputs, examples.targets, examples.notes) == (["in body"], ["in text"], ())


@pytest.mark.parametrize(
    ("names", "targets", "columns"),
    [
        ("tokens ner_tags pos_tags", "required", {"tokens": "tokens", "tags": "ner_tags"}),
        ("words tags", "required", {"tokens": "words", "tags": "tags"}),
        ("tokens labels", "required", {"tokens": "tokens", "tags": "labels"}),
        ("text spans", "required", {"text": "text", "spans": "spans"}),
        ("text tokens ner_tags", "required", {"tokens": "tokens", "tags": "ner_tags"}),
        ("text tokens spans", "required", {"text": "text", "spans": "spans"}),
        ("text", "none", {"text": "text"}),
        ("tokens ner_tags", "none", {"tokens": "tokens"}),
        ("text tokens", "none", {"tokens": "tokens"}),
        ("text", "optional", {"text": "text"}),
    ],
)
def test_token_level(names: str, targets: Any, columns: dict[str, str]) -> None:
    assert _read(names, "token", targets=targets).columns == columns


def test_words_taken_before_texts_are_told() -> None:
    assert "the words were taken ('tokens')" in _read("text tokens", "token", targets="none").notes[0]


def test_y_needs_no_column_of_labels() -> None:
    examples = _read("review", y=[1])
    assert (examples.columns, examples.targets) == ({"text": "review"}, [1])


# Faults --------------------------------------------------------------------------------------------------------------


def test_a_missing_column_is_told_with_the_nearest(told: Callable[..., Any]) -> None:
    with told(
        "no column for the text among 'txt', 'lable'", "a column 'text' (or sentence", "mean 'txt'?", "X", faults=2
    ):
        _read("txt lable")
    with told("no column for the label", "a column 'label' (or labels", "mean 'lable'?", "X", faults=2):
        _read("txt lable")
    with told("no column for the tags among 'tokens'", "a column 'tags'", "columns={'tags': '…'}", "X", faults=1):
        _read("tokens", "token")
    with told("no column for the tokens among 'id'", "a column 'tokens'", "columns={'tokens': '…'}", "X", faults=2):
        _read("id", "token")


def test_several_columns_that_could_be_it(told: Callable[..., Any]) -> None:
    with told(
        "'review', 'body', each of which could be the text", "one of them", "columns={'text': 'review'}", "X", faults=1
    ):
        _read("review body label")
    with told("'stars', 'topic', each of which could be the label", "one of them", "columns={'label'", "X", faults=1):
        _read("text stars topic")
    with told("both words and texts", "words and tags, or a text and spans", "say which", "X", faults=1):
        _read("tokens tags text spans", "token")


def test_named_columns_that_are_not_there(told: Callable[..., Any]) -> None:
    with told("columns={'text': 'reviw'}", "one of the columns 'review', 'label'", "mean 'review'?", "X", faults=1):
        _read("review label", columns={"text": "reviw"})
    with told("columns={'label': 'rude'}", "one of the columns", "correct the name", "X", faults=1):
        _read("text toxic", columns={"label": ["toxic", "rude"]})
    with told("columns={'txet': 'review'}", "roles among 'text'", "mean 'text'?", "X", faults=1):
        _read("review label", columns={"txet": "review"})
    with told("columns={'text': ['a', 'b']}", "one column name", "name one column", "X", faults=1):
        _read("a b label", columns={"text": ["a", "b"]})
