"""Files of every suffix, and every way in which they can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlptl.data import demo, frames
from nlptl.data.sources import Examples, Schema, read
from nlptl.data.spans import Span
from nlptl.errors import OptionError

SEQUENCE, TOKEN = Schema("sequence"), Schema("token")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


Write = Callable[[str, "str | bytes"], Path]


def _places(examples: Examples) -> list[str]:
    return [examples.origin.where(i) for i in range(len(examples))]


def test_csv_is_read_as_strings(write: Write) -> None:
    path = write("a.csv", '\ufefftext,label\r\nNA,01\r\n\r\nnull,true\r\n"a ""quote"",\nand a line",1.0\r\nlast,NA\r\n')
    examples = read(path, schema=SEQUENCE)
    assert examples.inputs == ["NA", "null", 'a "quote",\nand a line', "last"]
    assert examples.targets == ["01", "true", "1.0", "NA"]
    assert _places(examples) == ["a.csv, row 2", "a.csv, row 4", "a.csv, row 5", "a.csv, row 6"]
    assert read(str(path), schema=SEQUENCE).inputs == examples.inputs


def test_a_document_longer_than_pythons_csv_allows(write: Write) -> None:
    assert read(write("a.csv", "text,label\n" + "word " * 40_000 + ",1"), schema=SEQUENCE).targets == ["1"]


def test_separators_of_other_countries_are_told(write: Write) -> None:
    examples = read(write("a.csv", "text;label\nau revoir, Simone;1\n"), schema=SEQUENCE)
    assert examples.inputs == ["au revoir, Simone"]
    assert examples.notes == ("columns of a.csv are separated by ';'",)


def test_tsv_with_and_without_quoting(write: Write) -> None:
    assert read(write("a.tsv", 'text\tlabel\n"a\tb"\t1\n'), schema=SEQUENCE).inputs == ["a\tb"]
    examples = read(write("b.tsv", 'text\tlabel\n"Alas\t1\nhe said "no" to\t0\n'), schema=SEQUENCE)
    assert examples.inputs == ['"Alas', 'he said "no" to']
    assert examples.notes == ("quotes in b.tsv taken as characters, not as quoting",)


def test_zero_one_columns_of_csv(write: Write) -> None:
    path = write("a.csv", "text,toxic,rude\na,1,0\nb,True,false\n")
    examples = read(path, schema=SEQUENCE, columns={"label": ["toxic", "rude"]})
    assert (examples.targets, examples.target_form) == ([[1, 0], [1, 0]], "indicator")
    assert examples.target_names == ("toxic", "rude") and examples.columns["label"] == "toxic, rude"


def test_weights_of_csv(write: Write) -> None:
    path = write("a.csv", "text,label,weight\na,1,0.5\nb,0,2\n")
    assert read(path, schema=SEQUENCE).weights is None  # never inferred: it may well hold kilograms
    assert read(path, schema=SEQUENCE, columns={"weight": "weight"}).weights == [0.5, 2.0]


def test_json_lines(write: Write) -> None:
    path = write("a.jsonl", '{"text": "a\\u2028b", "label": 1}\n\n{"label": 0, "text": "c\u2028d"}')
    examples = read(path, schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a\u2028b", "c\u2028d"], [1, 0])
    assert _places(examples) == ["a.jsonl, line 1", "a.jsonl, line 3"]


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a", "label": 1}, {"text": "b", "label": 0}]',
        '{"data": [{"text": "a", "label": 1}, {"text": "b", "label": 0}]}',
        '{"text": ["a", "b"], "label": [1, 0]}',
        '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n',
    ],
)
def test_json(write: Write, content: str) -> None:
    examples = read(write("a.json", content), schema=SEQUENCE)
    assert (examples.inputs, examples.targets) == (["a", "b"], [1, 0])


def test_conll(write: Write) -> None:
    path = write("a.conll", "-DOCSTART- O\n\n# id 7\nAda NNP B-per\nleft VB O\n\n\n# X O\n. . O\n")
    examples = read(path, schema=TOKEN)
    assert examples.inputs == [["Ada", "left"], ["#", "."]]
    assert examples.targets == [["B-per", "O"], ["O", "O"]]
    assert _places(examples) == ["a.conll, line 4", "a.conll, line 8"]


def test_conll_with_tabs_and_conll_without_tags(write: Write) -> None:
    assert read(write("a.conll", "New York\tB-loc\r\n.\tO"), schema=TOKEN).inputs == [["New York", "."]]
    assert read(write("b.conll", "Ada\nleft\n"), schema=TOKEN, targets="optional").inputs == [["Ada", "left"]]


def test_text_files_are_for_prediction(write: Write) -> None:
    examples = read(write("a.txt", "one\r\ntwo\u2028still two\n"), schema=SEQUENCE, targets="none")
    assert (examples.inputs, _places(examples)) == (["one", "two\u2028still two"], ["a.txt, line 1", "a.txt, line 2"])


@pytest.mark.parametrize(("task", "form"), [("classification", "scalar"), ("sentiment", "scalar"), ("ner", "spans")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_bundled_data(task: Any, split: Any, form: str) -> None:
    examples = read(demo.path(task, split), schema=TOKEN if task == "ner" else SEQUENCE)
    assert examples.target_form == form
    assert len(examples) >= (300 if split == "train" else 100)


def test_bundled_data_that_are_not_there() -> None:
    with pytest.raises(OptionError, match=r"received .*'nerr.train'.* expected one of .* Did you mean 'ner.train'\?"):
        demo.path("nerr")  # type: ignore[arg-type]


# Faults --------------------------------------------------------------------------------------------------------------


def test_broken_encodings_are_told_with_line_and_byte(write: Write, told: Callable[..., Any]) -> None:
    path = write("a.csv", b"text,label\nfine,1\ncaf\xe9,1\nna\xefve,0\n")
    with told(
        "the byte 0xe9, which is not UTF-8", "text in UTF-8", "save the file as UTF-8", "a.csv, line 3, byte 4", 2
    ):
        read(path, schema=SEQUENCE)
    with told("a file in UTF-16", "UTF-8", "save it as UTF-8", "b.csv", faults=1):
        read(write("b.csv", "text,label\na,1\n".encode("utf-16")), schema=SEQUENCE)


def test_malformed_csv_rows(write: Write, told: Callable[..., Any]) -> None:
    path = write("a.csv", "text,label\nfine,1\nwell, well,1\nalone\n")
    with told("3 fields", "2, as in the header ('text', 'label')", "quote a field", "a.csv, row 3", faults=2):
        read(path, schema=SEQUENCE)
    with told("a row that is no CSV", "every quote is closed", "close the quote", "b.csv, row 3 (line 3)", faults=1):
        read(write("b.csv", 'text,label\nfine,1\n"open,1\nmore,0\n'), schema=SEQUENCE)
    with told("the column 'text' twice", "each name once", "rename one", "c.csv, row 1", faults=1):
        read(write("c.csv", "text,text\na,b\n"), schema=SEQUENCE)
    with told("3 fields", "2, as in the header", "quote a field", "d.tsv, row 2", faults=1):
        read(write("d.tsv", "text\tlabel\na\tb\t1\n"), schema=SEQUENCE)
    with told("an empty file", "a header and rows", "check the file", "e.csv", faults=1):
        read(write("e.csv", ""), schema=SEQUENCE)


def test_malformed_json_rows(write: Write, told: Callable[..., Any]) -> None:
    path = write("a.jsonl", '{"text": "a"}\n{"text": \n\n["a"]\n')
    with told("text that is no JSON (", "one object a row", "mend or remove it", "a.jsonl, line 2", faults=2):
        read(path, schema=SEQUENCE)
    with told("a list of JSON", "one object a row", "write each row as an object", "a.jsonl, line 4", faults=2):
        read(path, schema=SEQUENCE)
    with told("text that is no JSON (", "one object a row", "mend or remove it", "b.json", faults=1):
        read(write("b.json", "[1,"), schema=SEQUENCE)
    with told("a number of JSON", "one object a row", "as an object", "c.json, row 2", faults=1):
        read(write("c.json", '[{"text": "a"}, 3]'), schema=SEQUENCE)
    with told("a string of JSON", "one object a row", "as an object", "d.json", faults=1):
        read(write("d.json", '"a"'), schema=SEQUENCE)


def test_malformed_conll_lines(write: Write, told: Callable[..., Any]) -> None:
    with told("the line 'left'", "as many columns as in the other lines", "add the tag", "a.conll, line 2", faults=1):
        read(write("a.conll", "Ada B-per\nleft\n. O\n"), schema=TOKEN)


def test_every_row_of_a_file_that_is_wrong_is_told_with_its_place(write: Write, told: Callable[..., Any]) -> None:
    path = write("a.csv", "text,label\n,1\nfine,\n")
    with told("an empty text", "a text that a reader could see", "fill it in", "a.csv, row 2", faults=2):
        read(path, schema=SEQUENCE)
    with told("no label", "one label", "label the row", "a.csv, row 3", faults=2):
        read(path, schema=SEQUENCE)
    rows = [{"tokens": ["a", "b"], "tags": ["O"]}, {"tokens": ["a"], "tags": ["O"]}]
    path = write("b.jsonl", "\n".join(json.dumps(row) for row in rows))
    with told("2 words and 1 tags", "one tag a word", "mend the row", "b.jsonl, line 1", faults=1):
        read(path, schema=TOKEN)
    path = write("c.jsonl", '{"text": "Ada", "spans": [{"start": 0, "end": 4, "label": "p"}]}')
    with told("out of range", "≤ 3, the length", "count characters", "c.jsonl, line 1", faults=1):
        read(path, schema=TOKEN)
    with told("no text", "a text", "fill it in", "d.jsonl, line 2", faults=1):
        read(write("d.jsonl", '{"text": "a", "label": 1}\n{"label": 1}'), schema=SEQUENCE)
    with told("no rows", "one row or more", "check the source", "e.csv", faults=1):
        read(write("e.csv", "text,label\n"), schema=SEQUENCE)
    with told("'Ada left'", "a list of words", "use JSONL or CoNLL", "f.csv, row 2", faults=2):
        read(write("f.csv", "tokens,tags\nAda left,B-p O\n"), schema=TOKEN)


def test_a_path_that_is_not_there(write: Write, told: Callable[..., Any]) -> None:
    path = write("reviews.csv", "text,label\na,1\n")
    wrong = str(path.with_name("review.csv"))
    with told(f"the path '{wrong}'", "a file (.csv", "correct the path. Did you mean 'reviews.csv'?", "", faults=1):
        read(wrong, schema=SEQUENCE)
    with told("where there is nothing", "a file (.csv", "/nowhere' is not there either", "", faults=1):
        read(path.parent / "nowhere" / "a.csv", schema=SEQUENCE)
    with told("the text 'I loved it' by itself", "a list of texts, or a path", "[text]", "", faults=1):
        read("I loved it", schema=SEQUENCE, targets="none")
    with told("the text ", "a list of texts", "[text]", "", faults=1):
        read("word " * 5000, schema=SEQUENCE, targets="none")


def test_files_and_folders_of_another_kind(write: Write, told: Callable[..., Any]) -> None:
    path = write("a.xlsx", b"PK")
    with told("a file of suffix '.xlsx'", "one of .csv .tsv", "save it in one of these formats", str(path), faults=1):
        read(path, schema=SEQUENCE)
    write("b.csv", "text\n")
    with told("a folder, with the files 'b.csv'", "a file, or a folder", "name the file", str(path.parent), faults=1):
        read(path.parent, schema=SEQUENCE)
    with told("a file that pyarrow cannot read", "a .parquet file", "write it again", "c.parquet", faults=1):
        read(write("c.parquet", b"no parquet at all"), schema=SEQUENCE)
    with told("a file that pyarrow cannot read", "a .arrow file", "write it again", "d.arrow", faults=1):
        read(write("d.arrow", b"no arrow at all"), schema=SEQUENCE)


def test_without_a_network_a_hub_id_is_one_fault(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[str] = []

    def unreachable(name: str) -> None:
        asked.append(name)
        raise ConnectionError("Couldn't reach the Hub\nand a long story")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with told("'user/reviews', which is no file here", "the id of a data set", "check the network", "", faults=1):
        read("user/reviews", schema=SEQUENCE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").touch()
    with told("(Couldn't reach the Hub)", "a file", "Did you mean 'reviews.csv'?", "", faults=1):
        read("reviews", schema=SEQUENCE)
    assert asked == ["user/reviews", "reviews"]


def test_a_hub_id_is_opened_by_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(train=rows, test=rows))
    examples = read("user/reviews", schema=SEQUENCE, split="test")
    assert examples.inputs == ["a", "b"] and examples.origin.where(1) == "user/reviews['test'][1]"


def test_spans_of_files_are_spans(write: Write) -> None:
    path = write("a.jsonl", '{"text": "Ada left", "entities": [[0, 3, "p"]]}')
    examples = read(path, schema=TOKEN)
    assert examples.targets == [[Span(0, 3, "p")]]
    assert examples.notes == ("spans taken from column 'entities'",)
    assert frames.is_a([], "pandas", "DataFrame") is False
