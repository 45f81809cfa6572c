"""Sources in parts: the same rows, places and faults as the whole, and no more than a part in memory."""

from __future__ import annotations

import csv
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlptl.data.sources import Examples, Schema, read, stream
from nlptl.errors import DataError, Faults

SEQUENCE, TOKEN = Schema("sequence"), Schema("token")
TEXTS = ["one", "two, and a comma", 'three "quoted"', "four", "five\u2028still five", "six", "seven"]


def _csv(folder: Path) -> Path:
    path = folder / "a.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["review", "stars"], [], *([f"{text}\nsecond line", "1"] for text in TEXTS)])
    return path


def _tsv(folder: Path) -> Path:
    path = folder / "a.tsv"
    path.write_text("text\n" + "\n".join(f'"{text}' for text in TEXTS) + "\n", encoding="utf-8")
    return path


def _quoted_tsv(folder: Path) -> Path:
    path = folder / "a.tsv"
    path.write_text("text\tx\n" + "\n".join(f'"a\t{n}"\t1' for n in range(7)), encoding="utf-8")
    return path


def _jsonl(folder: Path) -> Path:
    path = folder / "a.jsonl"
    path.write_text("\n\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS), encoding="utf-8")
    return path


def _json(folder: Path) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps([{"text": text} for text in TEXTS]), encoding="utf-8")
    return path


def _txt(folder: Path) -> Path:
    path = folder / "a.txt"
    path.write_text("\r\n".join(TEXTS) + "\r\n", encoding="utf-8", newline="")
    return path


def _dataset(folder: Path) -> Any:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    return Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 3 + [0]}, features=features)


def _splits(folder: Path) -> Any:
    from datasets import DatasetDict

    return DatasetDict(test=_dataset(folder))


def _saved(folder: Path) -> Path:
    _dataset(folder).save_to_disk(folder / "saved")
    return folder / "saved"


def _iterable(folder: Path) -> Any:
    return _dataset(folder).to_iterable_dataset()


def _parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": TEXTS}), folder / "a.parquet", row_group_size=2)
    return folder / "a.parquet"


def _arrow(folder: Path, *, stream: bool = False) -> Path:
    import pyarrow as pa

    table = pa.table({"text": TEXTS})
    made = (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(folder / "a.arrow"), table.schema)
    with made as writer:
        writer.write_table(table, max_chunksize=2)
    return folder / "a.arrow"


def _arrow_stream(folder: Path) -> Path:
    return _arrow(folder, stream=True)


def _frame(folder: Path) -> Any:
    import pandas as pd

    return pd.DataFrame({"text": TEXTS}, index=range(7, 0, -1))


def _columns(folder: Path) -> dict[str, list[str]]:
    return {"text": TEXTS}


def _records(folder: Path) -> list[dict[str, str]]:
    return [{"text": text} for text in TEXTS]


def _pairs(folder: Path) -> list[tuple[str, str]]:
    return [(text, "again") for text in TEXTS]


def _texts(folder: Path) -> list[str]:
    return list(TEXTS)


MAKERS: list[Callable[[Path], Any]] = [
    _csv, _tsv, _quoted_tsv, _jsonl, _json, _txt, _dataset, _splits, _saved, _iterable, _parquet, _arrow, _arrow_stream,
    _frame, _columns, _records, _pairs, _texts,
]  # fmt: skip


def places(parts: list[Examples]) -> list[str]:
    return [part.origin.where(i) for part in parts for i in range(len(part))]


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__[1:])
def test_the_parts_are_the_whole(make: Callable[[Path], Any], size: int, tmp_path: Path) -> None:
    source = make(tmp_path)
    whole = read(source, schema=SEQUENCE, targets="none", split="test", name="source")
    parts = list(stream(source, schema=SEQUENCE, size=size, split="test", name="source"))
    assert [row for part in parts for row in part.inputs] == whole.inputs and len(whole.inputs) == 7
    assert places(parts) == places([whole])
    assert [len(part) for part in parts] == [size] * (7 // size) + ([7 % size] if 7 % size else [])
    assert parts[0].notes == whole.notes and not any(part.notes for part in parts[1:])
    assert all(part.columns == whole.columns for part in parts)


def test_conll_in_parts_of_sentences(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- O\n\n# id 1\nAda B-per\nleft O\n\n\nParis B-loc\n\nend O", encoding="utf-8")
    whole = read(path, schema=TOKEN)
    parts = list(stream(path, schema=TOKEN, size=1))
    assert [row for part in parts for row in part.inputs] == whole.inputs == [["Ada", "left"], ["Paris"], ["end"]]
    assert places(parts) == places([whole]) == ["a.conll, line 4", "a.conll, line 8", "a.conll, line 10"]


def test_any_iterable_is_gone_through_once() -> None:
    parts = stream((f"text {n}" for n in range(5)), schema=SEQUENCE, size=2)
    assert [part.inputs for part in parts] == [["text 0", "text 1"], ["text 2", "text 3"], ["text 4"]]
    assert list(stream([], schema=SEQUENCE, size=2)) == []


def test_what_the_first_rows_decide_holds_for_all(tmp_path: Path, told: Callable[..., Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"review": "a"}\n{"review": "b"}\n{"text": "c"}\n{"text": "d"}\n', encoding="utf-8")
    parts = stream(path, schema=SEQUENCE, size=2)
    assert next(parts).notes == ("text taken from column 'review'",)
    with told("no text", "a text", "fill it in", "a.jsonl, line 3", faults=2):
        next(parts)
    mixed = stream([{"text": "a"}, {"text": "b"}, "c", {"text": "d"}], schema=SEQUENCE, size=2)
    assert next(mixed).inputs == ["a", "b"]
    with told("{'text': 'd'}, of type dict", "a text (str)", "turn it into a str", "X[3]", faults=1):
        next(mixed)


@pytest.mark.parametrize(
    ("name", "content", "received", "where"),
    [
        ("a.csv", b"text\na\nb\n\xe9\n", "the byte 0xe9, which is not UTF-8 here", "a.csv, line 4, byte 1"),
        ("a.csv", b'text,x\na,1\nb,1\nc,1\n"d,1\n', "a row that is no CSV (", "a.csv, row 5 (line 5)"),
        ("a.csv", b"text,x\na,1\nb,1\nc\n", "1 fields", "a.csv, row 4"),
        ("a.csv", b"text,x\na,1\nb,1\n,1\n", "an empty text", "a.csv, row 4"),
        ("a.jsonl", b'{"text":"a"}\n{"text":"b"}\n{"text":"c"\n', "text that is no JSON (", "a.jsonl, line 3"),
        ("a.jsonl", b'{"text":"a"}\n{"text":"b"}\n["c"]\n', "a list of JSON", "a.jsonl, line 3"),
        ("a.txt", b"a\nb\n \nd", "a text of white space alone", "a.txt, line 3"),
    ],
)
def test_a_fault_is_told_with_its_place_and_after_the_parts_before_it(
    name: str, content: bytes, received: str, where: str, tmp_path: Path, told: Callable[..., Any]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with told(received, "", "", where):
        for _ in stream(path, schema=SEQUENCE, size=2):
            pass


def test_faults_of_all_parts_can_be_gathered(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n\nb\nc\n\n", encoding="utf-8")
    faults = Faults()
    assert sum(len(part) for part in stream(path, schema=SEQUENCE, size=2, faults=faults)) == 5
    assert [fault.where for fault in faults] == ["a.txt, line 2", "a.txt, line 5"]


def test_an_empty_file_is_a_fault(tmp_path: Path, told: Callable[..., Any]) -> None:
    (tmp_path / "a.txt").touch()
    with told("no rows", "one row or more", "check the source", "a.txt", faults=1):
        list(stream(tmp_path / "a.txt", schema=SEQUENCE, size=2))


def test_two_threads_read_documents_longer_than_pythons_csv_allows(tmp_path: Path) -> None:
    path, limit = tmp_path / "a.csv", csv.field_size_limit()
    path.write_text("text\n" + f"{'word ' * 40_000}\n" * 20, encoding="utf-8")
    rows: list[int] = []

    def go_through() -> None:
        rows.append(sum(len(part) for part in stream(path, schema=SEQUENCE, size=3)))

    threads = [threading.Thread(target=go_through) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == [20, 20, 20] and csv.field_size_limit() == limit


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "txt", "conll", "parquet"])
def test_a_file_of_any_length_takes_the_memory_of_a_part(suffix: str, tmp_path: Path) -> None:
    small, large = (_peak(_long(tmp_path / f"{rows}.{suffix}", rows), suffix) for rows in (2_000, 8_000))
    assert large < 1.5 * small


def _peak(path: Path, suffix: str) -> int:
    schema = TOKEN if suffix == "conll" else SEQUENCE
    tracemalloc.start()
    try:
        for _ in stream(path, schema=schema, size=500):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _long(path: Path, rows: int) -> Path:
    texts = [f'number {n} says "no", and more of it' for n in range(rows)]
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": texts}), path)
        return path
    lines: dict[str, list[str]] = {
        ".csv": ["text", *('"' + text.replace('"', '""') + '"' for text in texts)],
        ".tsv": ["text\tlabel", *(f'"{text}\t1' for text in texts)],
        ".jsonl": [json.dumps({"text": text}) for text in texts],
        ".txt": texts,
        ".conll": [f"{text.replace(' ', chr(10))}\n" for text in texts],
    }
    path.write_text("\n".join(lines[path.suffix]) + "\n", encoding="utf-8")
    return path


def test_the_rows_of_a_broken_file_are_refused_in_a_list_of_them_all(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("nothing\n" * 50, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(stream(path, schema=SEQUENCE, size=10))
    assert len(caught.value.faults) == 10  # those of the part, and not the whole file's
