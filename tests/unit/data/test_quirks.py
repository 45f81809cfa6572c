"""What users really hand over: odd types, other programs' habits, near misses. Nothing of it may be read wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlptl.data.sources import Schema, read
from nlptl.data.spans import Span
from nlptl.errors import DataError, OptionError

SEQUENCE, TOKEN = Schema("sequence"), Schema("token")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Values in memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [object, None])
def test_a_column_vector_is_one_label_a_row(dtype: Any) -> None:
    examples = read(["a", "b"], np.array([["x"], ["y"]], dtype=dtype), schema=SEQUENCE)
    assert (examples.targets, examples.target_form) == (["x", "y"], "scalar")


def test_spans_of_numpy_and_pandas_numbers() -> None:
    start, end = np.array([0, 3])
    given = [[{"start": start, "end": end, "label": np.str_("p")}], [Span(start, end, "p")], [(start, end, "p")]]
    examples = read(["Ada left"] * 3, given, schema=TOKEN)
    assert examples.targets == [[Span(0, 3, "p")]] * 3
    assert all(type(row[0].start) is int for row in examples.targets or ())


def test_lists_of_labels_are_seen_among_many_missing_ones(told: Callable[..., Any]) -> None:
    with told("no label", "a list of labels", "[] is none", "X[2]", faults=2):
        read(["a", "b", "c"], [["x"], None, None], schema=SEQUENCE)


def test_every_span_under_a_long_one_is_told(told: Callable[..., Any]) -> None:
    spans = [(0, 8, "all"), (1, 3, "p"), (4, 8, "q")]
    for inner in ("(1, 3, 'p')", "(4, 8, 'q')"):
        with told(f"{inner}", "share no character", "keep one", "X[0]", faults=2):
            read(["Ada left"], [spans], schema=TOKEN)


def test_one_weight_for_all_is_none_a_row(told: Callable[..., Any]) -> None:
    with told("the weights 2", "one weight a row", "give a list", "weights", faults=1):
        read(["a", "b"], [0, 1], schema=SEQUENCE, sample_weight=2)


def test_a_second_text_may_not_be_missing(told: Callable[..., Any]) -> None:
    with told("no text", "a text", "fill it in", "X[1], second text", faults=1):
        read([("a", "b"), ("c", None)], [0, 1], schema=SEQUENCE)


@pytest.mark.parametrize("missing", ["pd.NA", "float('nan')", "None", "pd.NaT"])
def test_what_pandas_calls_missing_in_an_object_column(told: Callable[..., Any], missing: str) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.Series(["x", eval(missing)], dtype=object)})
    with told("no label", "one label", "label the row", "X.iloc[1]", faults=1):
        read(frame, schema=SEQUENCE)


# Names of columns -------------------------------------------------------------------------------------------------


def test_columns_that_are_no_mapping() -> None:
    with pytest.raises(OptionError, match=r"received columns='review'; expected role -> column; .*'text': 'review'"):
        read([{"review": "a", "label": 1}], schema=SEQUENCE, columns="review")  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [{"text": 0}, {"text": "0", "label": [1]}, {"text": "0", "label": None}])
def test_names_of_columns_that_are_no_text(told: Callable[..., Any], columns: Any) -> None:
    pd = pytest.importorskip("pandas")
    with told("columns={'", "a column as text, among '0', '1'", "in quotes", "X", faults=1):
        read(pd.DataFrame([["a", 1]]), schema=SEQUENCE, columns=columns)


def test_columns_numbered_by_pandas_are_named_by_their_digits() -> None:
    pd = pytest.importorskip("pandas")
    examples = read(pd.DataFrame([["a", 1]]), schema=SEQUENCE, columns={"text": "0", "label": "1"})
    assert (examples.inputs, examples.targets) == (["a"], [1])


@pytest.mark.parametrize(
    ("schema", "role", "near"), [(SEQUENCE, "tags", ""), (TOKEN, "label", ""), (TOKEN, "span", "mean 'spans'?")]
)
def test_a_role_that_the_task_has_no_use_for(told: Callable[..., Any], schema: Schema, role: str, near: str) -> None:
    with told(
        f"columns={{'{role}': 'text'}}",
        "roles among 'text'",
        f"name a role, then its column.{near and ' Did you '}{near}",
        "X",
    ):
        read([{"text": "a", "label": 1, "spans": []}], schema=schema, columns={role: "text"})


def test_no_column_of_labels_named(told: Callable[..., Any]) -> None:
    with told("columns={'label': []}", "at least one column", "leave the role out", "X", faults=1):
        read([{"text": "a", "label": 1}], schema=SEQUENCE, columns={"label": []})


# Files of other programs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_byte_order_marks(tmp_path: Path, end: str, mark: str) -> None:
    rows = ["text,label", '"two\nlines, one row",01', "NA,02", "so,"]
    path = write(tmp_path / "a.csv", mark + end.join(rows[:3]) + end)
    examples = read(path, schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["two\nlines, one row", "NA"], ["01", "02"])
    with pytest.raises(DataError) as caught:
        read(write(path, mark + end.join(rows)), schema=SEQUENCE)
    assert [f.where for f in caught.value.faults] == ["a.csv, row 4"]  # as a spreadsheet numbers it, not line 5


def test_columns_that_a_spreadsheet_left_without_a_name(tmp_path: Path) -> None:
    examples = read(write(tmp_path / "a.csv", ",text,label,\n0,a,x,\n1,b,y,\n"), schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a", "b"], ["x", "y"])


def test_quotes_that_open_one_row_of_tsv_and_close_another_join_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"Alas\t1\nplain\t0\npoor Yorick"\t1\n')
    examples = read(path, schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (['"Alas', "plain", 'poor Yorick"'], ["1", "0", "1"])
    assert examples.notes == ("quotes in a.tsv taken as characters, not as quoting",)


@pytest.mark.parametrize("more", ["", '"two\nlines"\t0\n'])
def test_quoting_of_tsv_that_joins_no_rows_is_quoting(tmp_path: Path, more: str) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"she said ""no"""\t1\n' + more)
    examples = read(path, schema=SEQUENCE)
    assert (examples.inputs[0], examples.notes) == ('she said "no"', ())


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u3000", "\u0085", "\u2028"])
@pytest.mark.parametrize("between", [" ", "\t"])
def test_a_word_of_conll_keeps_its_unusual_spaces(tmp_path: Path, space: str, between: str) -> None:
    path = write(tmp_path / "a.conll", f"10{space}000{between}B-sum\r\n{space}x{between}O\r\n\r\nend{between}O\r\n")
    examples = read(path, schema=TOKEN)
    assert examples.inputs == [[f"10{space}000", f"{space}x"], ["end"]]
    assert examples.targets == [["B-sum", "O"], ["O"]]


def test_a_json_label_of_null_is_missing_and_one_of_false_is_not(tmp_path: Path, told: Callable[..., Any]) -> None:
    rows = '{"text": "a", "label": false}\n{"text": "b", "label": true}\n'
    assert read(write(tmp_path / "a.jsonl", rows), schema=SEQUENCE).targets == [False, True]
    with told("no label", "one label", "label the row", "b.jsonl, line 3", faults=1):
        read(write(tmp_path / "b.jsonl", rows + '{"text": "c", "label": null}\n'), schema=SEQUENCE)


def test_a_very_long_text_by_itself_is_not_told_in_full() -> None:
    with pytest.raises(DataError) as caught:
        read("a" * 5000, schema=SEQUENCE, targets="none")
    assert len(str(caught.value)) < 500 and "received the text 'aaa" in str(caught.value)


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    assert read(write(tmp_path / "A.CSV", "text,label\na,1\n"), schema=SEQUENCE).targets == ["1"]
