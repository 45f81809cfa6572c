"""pandas, datasets and Arrow: values as Python's own, class numbers as names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlptl.data.sources import Schema, read

pd = pytest.importorskip("pandas")
ds = pytest.importorskip("datasets")

SEQUENCE, TOKEN = Schema("sequence"), Schema("token")


@pytest.fixture
def classes() -> Any:
    features = ds.Features(
        {
            "text": ds.Value("string"),
            "label": ds.ClassLabel(names=["neg", "pos"]),
            "tokens": ds.List(ds.Value("string")),
            "ner_tags": ds.List(ds.ClassLabel(names=["O", "B-x"])),
        }
    )
    rows = {"text": ["a", "b"], "label": [1, 0], "tokens": [["a", "c"], ["b"]], "ner_tags": [[1, 0], [0]]}
    return ds.Dataset.from_dict(rows, features=features)


def test_a_frame() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.Categorical(["x", "y"])}, index=[7, 9])
    examples = read(frame, schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a", "b"], ["x", "y"])
    assert examples.origin.where(1) == "X.iloc[1]"


def test_series() -> None:
    examples = read(pd.Series(["a", "b"], index=[7, 9]), pd.Series([1, 0], index=[7, 9]), schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a", "b"], [1, 0])
    assert [type(t) for t in examples.targets or []] == [int, int]


def test_a_frame_as_y_names_its_columns() -> None:
    texts = pd.Series(["a", "b"])
    examples = read(texts, pd.DataFrame({"toxic": [1, 0], "rude": [0, 0]}), schema=SEQUENCE)
    assert (examples.targets, examples.target_form) == ([[1, 0], [0, 0]], "indicator")
    assert examples.target_names == ("toxic", "rude")
    assert read(texts, pd.DataFrame({"stars": [5, 1]}), schema=SEQUENCE).targets == [5, 1]


def test_what_pandas_calls_missing_is_missing(told: Callable[..., Any]) -> None:
    frame = pd.DataFrame({"text": ["a", None, "c"], "label": pd.array([1, 2, None], dtype="Int64")})
    with told("no text", "a text", "fill it in", "X.iloc[1]", faults=2):
        read(frame, schema=SEQUENCE)
    with told("no label", "one label", "label the row", "X.iloc[2]", faults=2):
        read(frame, schema=SEQUENCE)


def test_a_frame_with_a_column_twice(told: Callable[..., Any]) -> None:
    with told("the column 'text' twice", "each name once", "rename one", "X", faults=1):
        read(pd.DataFrame([["a", "b"]], columns=["text", "text"]), schema=SEQUENCE)


@pytest.mark.parametrize("make", [lambda d: d, lambda d: d.to_iterable_dataset(), lambda d: d.with_format("numpy")])
def test_a_dataset_gives_class_names(classes: Any, make: Callable[[Any], Any]) -> None:
    examples = read(make(classes), schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a", "b"], ["pos", "neg"])
    assert examples.notes == ("numbers of column 'label' read as the names of its ClassLabel ('neg', 'pos')",)
    tagged = read(make(classes), schema=TOKEN, columns={"tokens": "tokens", "tags": "ner_tags"})
    assert tagged.targets == [["B-x", "O"], ["O"]]


def test_columns_of_a_dataset(classes: Any) -> None:
    examples = read(classes["text"], classes["label"], schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a", "b"], [1, 0])  # y is taken as given


def test_an_unknown_class_is_a_missing_label(told: Callable[..., Any], classes: Any) -> None:
    unknown = classes.map(lambda row: {"label": -1})
    with told("no label", "one label", "label the row", "X[0]", faults=2):
        read(unknown, schema=SEQUENCE)


def test_splits(classes: Any, told: Callable[..., Any]) -> None:
    other = classes.select([0])
    splits = ds.DatasetDict(train=classes, validation=other)
    assert len(read(splits, schema=SEQUENCE, split="train")) == 2
    assert len(read(splits, schema=SEQUENCE, split="validation")) == 1
    untold = read(splits, schema=SEQUENCE)
    assert len(untold) == 2 and "the split 'train' of X taken" in untold.notes
    assert untold.origin.where(1) == "X['train'][1]"
    assert len(read(ds.DatasetDict(train=classes, dev=other), schema=SEQUENCE, split="validation")) == 1
    assert len(read(ds.DatasetDict(only=other), schema=SEQUENCE, split="test")) == 1
    with told(
        "no split 'test' among 'train', 'validation'", "a split for this purpose", "data['train']", "X", faults=1
    ):
        read(splits, schema=SEQUENCE, split="test")


def test_a_saved_folder(classes: Any, tmp_path: Path) -> None:
    classes.save_to_disk(tmp_path / "one")
    ds.DatasetDict(train=classes).save_to_disk(tmp_path / "many")
    assert read(tmp_path / "one", schema=SEQUENCE).targets == ["pos", "neg"]
    assert read(str(tmp_path / "many"), schema=SEQUENCE).targets == ["pos", "neg"]


def test_parquet_and_arrow(classes: Any, tmp_path: Path) -> None:
    classes.to_parquet(tmp_path / "a.parquet")
    classes.save_to_disk(tmp_path / "saved")
    stream = next((tmp_path / "saved").glob("*.arrow")).rename(tmp_path / "a.arrow")
    for path in (tmp_path / "a.parquet", stream):
        examples = read(path, schema=SEQUENCE)
        assert (examples.inputs, examples.targets) == (["a", "b"], ["pos", "neg"])
        assert examples.origin.where(0) == f"{path.name}, row 1"
    pd.DataFrame({"text": ["a"], "label": ["x"]}).to_feather(tmp_path / "b.arrow")
    assert read(tmp_path / "b.arrow", schema=SEQUENCE).targets == ["x"]


def test_lists_are_read_without_pandas_datasets_or_torch() -> None:
    code = (
        "import sys; from nlptl.data.sources import Schema, read;"
        "read(['a'], [1], schema=Schema('sequence'));"
        "print([m for m in ('pandas', 'datasets', 'pyarrow', 'torch', 'sklearn', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
