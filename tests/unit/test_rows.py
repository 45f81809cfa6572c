"""Rows for a learner: all faults before a backbone is opened, an honest split, shared rows counted and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nlptl import BackboneError, DataError, Learner, NlptlWarning, OptionError, tasks
from nlptl.report import Record
from nlptl.rows import Rows, gather, remembered

TEXTS = [f"text {i}" for i in range(20)]
LABELS = ["good", "bad"] * 10


def gathered(X: Any, y: Any = None, *, task: Any = "classification", eval: Any = None, **options: Any) -> Rows:
    options = {"columns": None, "labels": None, "sample_weight": None, "seed": 0, "record": Record(), **options}
    return gather(tasks.resolve(task), X, y, eval=eval, **options)


@contextmanager
def fault(received: str, expected: str, remedy: str, where: str, count: int = 1) -> Iterator[None]:
    """Expects `count` faults, one of which says this, each thing in its own part."""
    with pytest.raises(DataError) as caught:
        yield
    parts = [(f.received, f.expected, f.remedy) for f in caught.value.faults if f.where == where]
    wanted = (received, expected, remedy)
    assert any(all(w in p for w, p in zip(wanted, part, strict=True)) for part in parts), str(caught.value)
    assert len(caught.value.faults) == count, str(caught.value)


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# What comes in ---------------------------------------------------------------------------------------------------


def test_labels_become_numbers_in_sorted_order():
    rows = gathered(["a", "b", "c"], ["good", "bad", "good"])
    assert rows.space.values == ("bad", "good")
    assert [int(n[0]) for n in rows.gold] == [1, 0, 1]
    assert rows.held is None and rows.held_gold == []


@pytest.mark.parametrize("as_source", [False, True])
def test_eval_is_a_source_of_its_own_or_a_pair(tmp_path: Path, as_source: bool):
    held = csv(tmp_path / "dev.csv", "text,label", "c,bad", "d,good") if as_source else (["c", "d"], ["bad", "good"])
    record = Record()
    rows = gathered(["a", "b"], ["good", "bad"], eval=held, record=record)
    assert rows.held is not None and rows.held.inputs == ["c", "d"]
    assert [int(n[0]) for n in rows.held_gold] == [0, 1]
    assert record.data["eval"] == ("dev.csv" if as_source else "eval")


def test_a_dataset_dict_gives_train_to_fit_and_validation_to_eval():
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_dict
    splits = datasets.DatasetDict(
        train=part({"text": ["a", "b"], "label": [0, 1]}), validation=part({"text": ["c"], "label": [1]})
    )
    rows = gathered(splits, eval=splits)
    assert rows.held is not None and (rows.train.inputs, rows.held.inputs) == (["a", "b"], ["c"])


def test_what_was_read_and_inferred_is_told_in_the_record(tmp_path: Path):
    record = Record()
    gathered(csv(tmp_path / "films.csv", "review,stars", "NA,01", "fine,02"), record=record)
    assert record.data == record.data | {
        "train": "films.csv", "rows": 2, "columns": {"text": "review", "label": "stars"}, "labels": ["01", "02"],
    }  # fmt: skip
    assert any("'review'" in note for note in record.notes) and any("'stars'" in note for note in record.notes)


# A fraction held out ---------------------------------------------------------------------------------------------


def test_a_fraction_is_a_stratified_split_that_the_seed_draws():
    rows, same, other = (gathered(TEXTS, LABELS, eval=0.2, seed=s) for s in (0, 0, 1))
    assert rows.held is not None and same.held is not None and other.held is not None
    assert Counter(rows.held.targets or ()) == {"good": 2, "bad": 2}
    assert len(rows.train) == len(rows.gold) == 16 and len(rows.held_gold) == 4
    assert rows.held.inputs == same.held.inputs != other.held.inputs


def test_numbers_are_held_out_though_no_two_of_them_are_equal():
    rows = gathered(TEXTS, [1 + i / 7 for i in range(20)], task="sentiment", eval=0.2)
    assert rows.held is not None and (len(rows.train), len(rows.held)) == (16, 4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("task", "X", "y"),
    [
        ("classification", TEXTS, [["usual"]] * 19 + [["usual", "once"]]),
        ("ner", [t.split() for t in TEXTS], [["B-usual", "O"]] * 19 + [["B-once", "O"]]),
        ("ner", TEXTS, [[(0, 4, "usual")]] * 19 + [[(0, 4, "once")]]),
    ],
)
def test_a_label_of_one_row_is_learnt_from_and_not_held_out(task: str, X: Any, y: Any, seed: int):
    rows = gathered(X, y, task=task, eval=0.5, seed=seed)
    assert rows.held is not None and y[19] not in (rows.held.targets or ())
    assert len(rows.held) in (9, 10) and "once" in str(rows.space.reported)


@pytest.mark.parametrize(("eval", "expected"), [(1.5, "a fraction between 0 and 1"), (10, "a fraction such as 0.1")])
def test_an_eval_that_is_no_fraction(eval: Any, expected: str):
    with pytest.raises(OptionError, match=rf"eval={eval}: received .*; expected {expected}.*; "):
        gathered(TEXTS, LABELS, eval=eval)


# Rows shared by both ---------------------------------------------------------------------------------------------


def test_shared_rows_are_counted_and_warned_of():
    record = Record()
    with pytest.warns(NlptlWarning, match=r"2 of 3 eval rows are also training rows .*take them out"):
        gathered(["a", "b"], ["x", "y"], eval=(["a", "a", "c"], ["x", "x", "y"]), record=record)
    assert record.counts["rows_shared_by_train_and_eval"] == 2


def test_that_none_is_shared_is_counted_too():
    record = Record()  # a warning would be an error here
    gathered(["a", "b"], ["x", "y"], eval=(["c"], ["x"]), record=record)
    assert record.counts["rows_shared_by_train_and_eval"] == 0


# Faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "sentiment"])
def test_one_class_only(tmp_path: Path, task: str):
    path = csv(tmp_path / "a.csv", "text,label", "a,positive", "b,positive")
    with fault("rows of one class only ('positive')", "at least two different labels", "add rows of another", "a.csv"):
        gathered(path, task=task)


def test_fewer_rows_than_labels(tmp_path: Path):
    path = csv(tmp_path / "a.csv", "text,label", "a,x", "b,y")
    with fault("2 rows for 3 labels", "at least one row a label", "add rows", "a.csv"):
        gathered(path, labels=["x", "y", "z"])


def test_a_label_that_only_eval_has(tmp_path: Path):
    train = csv(tmp_path / "train.csv", "text,label", "a,good", "b,bad")
    dev = csv(tmp_path / "dev.csv", "text,label", "c,good", "d,bda", "e,ugly")
    with fault("the label 'bda'", "one of the 2 labels known", "Did you mean 'bad'?", "dev.csv, row 3", count=2):
        gathered(train, eval=dev)
    with fault("the label 'ugly'", "('bad', 'good')", "name every label in fit", "dev.csv, row 4", count=2):
        gathered(train, eval=dev)


@pytest.mark.parametrize("label", [1, True])
def test_a_label_of_another_type_in_eval_is_another_label(label: Any):
    with fault(f"the label {label!r}", "('0', '1')", "correct it", "eval[0]"):
        gathered(["a", "b"], ["0", "1"], eval=(["c"], [label]))


def test_several_labels_of_which_one_is_only_in_eval():
    with fault("the label 'z'", "('x', 'y')", "leave the row out", "eval[1]"):
        gathered(["a", "b"], [["x"], ["x", "y"]], eval=(["c", "d"], [[], ["y", "z"]]))


def test_an_entity_type_that_only_eval_has():
    with fault("the label 'B-firm'", "'B-place'", "correct it", "eval[0]"):
        gathered([["Paris"]], [["B-place"]], task="ner", eval=([["Acme"]], [["B-firm"]]))


def test_a_label_that_labels_do_not_name():
    with fault("the label 'mdi'", "only labels among 'low', 'mid'", "Did you mean 'mid'?", ""):
        gathered(["a", "b"], ["low", "mdi"], labels=["low", "mid"])


def test_rows_without_an_entity():
    with fault("rows without a single entity", "at least one entity", "check the column", "X"):
        gathered([["a"], ["b"]], [["O"], ["O"]], task="ner")


def test_several_faults_come_together(tmp_path: Path):
    lines = ["text,label", ",x", "fine,", "fine,x", "\u200b,y"]
    path = csv(tmp_path / "a.csv", *lines)
    with fault("an empty text", "a text", "fill it in", "a.csv, row 2", count=3):
        gathered(path)
    with fault("no label", "one label", "leave it out", "a.csv, row 3", count=3):
        gathered(path)
    with fault("without visible characters", "a text", "fill it in", "a.csv, row 5", count=3):
        gathered(path)


# Before any model is loaded --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y", "eval"),
    [
        (["a", ""], ["x", "y"], None),
        (["a", "b"], ["x", "x"], None),
        (["a", "b"], ["x", "y"], (["c"], ["z"])),
        ("nowhere/reviews.csv", None, None),
    ],
)
def test_faults_are_found_before_a_backbone_is_opened(tmp_path: Path, X: Any, y: Any, eval: Any):
    absent = tmp_path / "no-checkpoint"
    with pytest.raises(DataError):
        Learner(absent).fit(X, y, eval=eval)


def test_the_backbone_of_the_test_above_is_a_fault_as_well(tmp_path: Path):
    with pytest.raises(BackboneError):
        Learner(tmp_path / "no-checkpoint").fit(["a", "b"], ["x", "y"])


def test_the_faults_of_train_and_eval_come_together(tmp_path: Path):
    train = csv(tmp_path / "train.csv", "text,label", ",a", "fine,b")
    dev = csv(tmp_path / "dev.csv", "txt,label", "fine,b")
    with pytest.raises(DataError) as caught:
        gathered(train, eval=dev)
    assert len(caught.value.faults) == 2
    assert "train.csv, row 2: received an empty text" in str(caught.value)
    assert "dev.csv: received no column for the text" in str(caught.value)


def test_columns_named_at_fit_are_for_sources_that_have_columns():
    record = Record(data={"named_columns": {"text": "review", "label": "stars"}})
    assert remembered(record, "new.csv", targets=False) == {"text": "review"}
    assert remembered(record, [{"review": "good"}], targets=True) == {"text": "review", "label": "stars"}
    assert remembered(record, ["good"], targets=False) is None
    assert remembered(Record(), "new.csv", targets=True) is None
