"""What is to be learnt of a row: scalars, lists of labels, 0/1 rows, tags or spans, told apart and checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nlptl.data.checks import Where, short
from nlptl.data.examples import Inputs, Level, TargetForm
from nlptl.data.spans import Span
from nlptl.data.words import is_visible
from nlptl.errors import Faults

_MANY = (list, tuple, set, frozenset)


def check_targets(
    rows: Sequence[Any], inputs: Inputs, level: Level, where: Where, faults: Faults, *, indicator: bool = False
) -> tuple[list[Any], TargetForm]:
    """The targets in one form, which all rows must share.

    Parameters
    ----------
    rows : the targets, one a row
    inputs : what they belong to, checked already
    indicator : whether they are known to be 0/1 rows
    """
    if level == "token":
        if inputs and isinstance(inputs[0], str):
            return [_spans(row, str(inputs[i]), where(i), faults) for i, row in enumerate(rows)], "spans"
        return [_tags(row, len(inputs[i]), where(i), faults) for i, row in enumerate(rows)], "tags"
    if indicator or _are_indicators(rows):
        return [_indicator(row, where(i), faults) for i, row in enumerate(rows)], "indicator"
    if 2 * sum(isinstance(row, _MANY) for row in rows) > sum(row is not None for row in rows):
        return _lists(rows, where, faults), "lists"
    _check_labels([(label, where(i)) for i, label in enumerate(rows)], faults)
    return list(rows), "scalar"


def _check_labels(labels: Sequence[tuple[Any, str]], faults: Faults) -> None:
    """No label missing, none of a kind that is no label, and all of the one kind most of them are."""
    kinds = [_kind(label) for label, _ in labels]
    known = Counter(kind for kind in kinds if kind in ("text", "number", "true/false"))
    usual, count = known.most_common(1)[0] if known else ("text", 0)
    for (label, place), kind in zip(labels, kinds, strict=True):
        if kind == "missing":
            faults.add("no label", "one label", "label the row, or leave it out", place)
        elif kind == "other":
            faults.add(
                f"the label {short(label)}, of type {type(label).__name__}",
                "a text, a finite number, or true/false",
                "turn it into one of these, or leave the row out",
                place,
            )
        elif kind != usual:
            faults.add(
                f"the label {short(label)}, a {kind}, among labels of mixed type",
                f"a {usual}, as {count} of the {len(labels)} labels are",
                "write all labels in one type",
                place,
            )


def _kind(label: Any) -> str:
    if label is None or (isinstance(label, str) and not label.strip()):
        return "missing"
    if isinstance(label, bool):
        return "true/false"
    if isinstance(label, str):
        return "text"
    return "number" if isinstance(label, int | float) and math.isfinite(label) else "other"


def _lists(rows: Sequence[Any], where: Where, faults: Faults) -> list[list[Any]]:
    """Any number of labels a row; none at all is an answer too."""
    found: list[list[Any]] = []
    places: list[tuple[Any, str]] = []
    for i, row in enumerate(rows):
        if not isinstance(row, _MANY):
            got = "no label" if row is None else f"the label {short(row)} by itself"
            faults.add(got, "a list of labels, as in the other rows", "write it as a list; [] is none", where(i))
        # a set has no order of its own, and the order must not depend on the run
        labels = (
            sorted(row, key=str) if isinstance(row, set | frozenset) else list(row) if isinstance(row, _MANY) else []
        )
        found.append(labels)
        places += [(label, where(i)) for label in labels]
    _check_labels(places, faults)
    return found


def _are_indicators(rows: Sequence[Any]) -> bool:
    """Rows of equal length, of nothing but the numbers 0 and 1: scikit-learn's form, not lists of labels."""
    return (
        len(rows) > 0
        and all(isinstance(row, list | tuple) and len(row) > 1 for row in rows)
        and len({len(row) for row in rows}) == 1
        and all(type(v) in (int, float, bool) and v in (0, 1) for row in rows for v in row)
    )


def _indicator(row: Sequence[Any], where: str, faults: Faults) -> list[int]:
    digits = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}  # a CSV file holds text
    found = [digits.get(str(value).strip().casefold(), -1) for value in row]
    for column, value in enumerate(found):
        if value < 0:
            got = "nothing" if row[column] is None else short(row[column])
            faults.add(f"{got} in label column {column}", "0 or 1", "write 1 where the label applies, else 0", where)
    return found


def _tags(row: Any, words: int, where: str, faults: Faults) -> list[str]:
    if not isinstance(row, list | tuple):
        got = "no tags" if row is None else f"the tags {short(row)}"
        faults.add(got, "a list with one tag a word", "split the tags into a list, or leave the row out", where)
        return []
    wrong = next((tag for tag in row if not isinstance(tag, str) or not tag), None)
    if wrong is not None or None in row:
        faults.add(
            f"the tag {wrong!r}",
            "tags as text, such as 'O' or 'B-person'",
            "write the tag's name; numbers have names only in a data set with ClassLabel features",
            where,
        )
        return []
    if len(row) != words:
        faults.add(f"{words} words and {len(row)} tags", "one tag a word", "mend the row, or leave it out", where)
    return list(row)


def _spans(row: Any, text: str, where: str, faults: Faults) -> list[Span]:
    if not isinstance(row, list | tuple):
        got = "no spans" if row is None else f"the spans {short(row)}"
        faults.add(got, "a list of (start, end, label); [] is none", "write the spans as a list", where)
        return []
    if row and all(isinstance(item, str) for item in row):
        faults.add(
            f"tags for a text, {short(list(row))}",
            "spans of characters for a text, or tags for a list of words",
            "split the text into its words, one a tag",
            where,
        )
        return []
    spans = sorted(filter(None, (_span(item, text, where, faults) for item in row)))
    furthest = spans[0] if spans else None
    for span in spans[1:]:
        if furthest is not None and span.start < furthest.end:
            faults.add(
                f"the spans {tuple(furthest)} and {tuple(span)}, which overlap",
                "spans that share no character",
                "keep one of them",
                where,
            )
        furthest = max(furthest or span, span, key=lambda s: s.end)
    return spans


def _span(item: Any, text: str, where: str, faults: Faults) -> Span | None:
    values = [item.get(key) for key in ("start", "end", "label")] if isinstance(item, Mapping) else item
    if not isinstance(values, list | tuple) or len(values) != 3 or not _is_span(*values):
        faults.add(
            f"the span {short(item)}",
            "a start, an end and a label: two whole numbers and a text",
            'write {"start": 0, "end": 3, "label": "person"}, or (0, 3, "person")',
            where,
        )
        return None
    span = Span(*values)
    if not 0 <= span.start <= span.end <= len(text):
        faults.add(
            f"the span {tuple(span)}, out of range",
            f"0 ≤ start < end ≤ {len(text)}, the length of the text",
            "count characters (not bytes) from 0, and let end be the place after the last",
            where,
        )
    elif not is_visible(text[span.start : span.end]):
        faults.add(f"the span {tuple(span)}, which is empty", "a span of one word or more", "remove or mend it", where)
    else:
        return span
    return None


def _is_span(start: Any, end: Any, label: Any) -> bool:
    return type(start) is int and type(end) is int and isinstance(label, str) and bool(label.strip())
