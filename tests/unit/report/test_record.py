"""The record of a fit."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from pathlib import Path

import numpy as np
import pytest

from nlptl.report import Record
from nlptl.report.plain import plain


def test_a_record_is_read_by_section():
    record = Record(data={"rows": 3})
    assert record["data"] == {"rows": 3}
    assert list(record) == ["data", "choices", "counts", "training", "evaluation", "notes"]
    assert dict(record)["counts"] == {}
    with pytest.raises(KeyError):
        record["to_dict"]


def test_counts_add_up_and_a_count_of_nothing_stays():
    record = Record()
    record.count("windowed", 2)
    record.count("windowed")
    record.count("truncated", 0)
    assert record.counts == {"windowed": 3, "truncated": 0}


def test_a_note_is_kept_once():
    record = Record()
    record.note("text taken from column 'review'", "label taken from column 'stars'")
    record.note("text taken from column 'review'")
    assert record.notes == ["text taken from column 'review'", "label taken from column 'stars'"]


def test_records_share_nothing():
    Record().count("windowed")
    assert Record().counts == {}


def test_json_and_back_is_the_same_record():
    record = Record(data={"rows": 3}, choices={"precision": "bf16"}, training={"losses": [0.5, 0.25]})
    record.count("windowed")
    record.note("said")
    saved = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert Record.from_dict(saved) == record
    assert Record.from_dict({**saved, "a later section": {}}) == record


def test_an_empty_record_says_so():
    assert str(Record()) == "nothing recorded yet"
    assert "windowed  3" in str(Record(counts={"windowed": 3}))


class Colour(str, enum.Enum):  # noqa: UP042 -- a StrEnum would hide that str() of these is "Colour.RED"
    RED = "red"


@dataclasses.dataclass
class Options:
    rank: int = 8


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.str_("a"), "a"),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (math.inf, None),
        (np.array([np.nan, 1.0]), [None, 1.0]),
        (Path("a") / "b", str(Path("a") / "b")),
        (Colour.RED, "red"),
        (Options(), {"rank": 8}),
        ({1: (True, None)}, {"1": [True, None]}),
        ({"b", "a"}, ["a", "b"]),
        (Options, str(Options)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values_are_jsons(value, expected):
    found = plain(value)
    assert found == expected and type(found) is type(expected)
    assert json.loads(json.dumps(found, allow_nan=False)) == expected
