"""Every fault that a row can have, found before a model is loaded, all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nlptl.data.examples import Level, Origin, TargetForm
from nlptl.data.spans import Span
from nlptl.data.words import is_visible
from nlptl.errors import Faults

REMOVE = "fill it in, or remove the row"


def check_inputs(inputs: Sequence[Any], level: Level, origin: Origin, faults: Faults) -> None:
    """Texts, pairs of texts, or lists of words."""
    pairs = bool(inputs) and isinstance(inputs[0], tuple | list) and level == "sequence"
    for i, given in enumerate(inputs):
        if level == "token" and not isinstance(given, str):
            _check_words(given, origin.where(i), faults)
        elif pairs:
            if not isinstance(given, tuple | list) or len(given) != 2:
                faults.add(_told(given), "two texts, as in the first row", "give pairs in every row", origin.where(i))
            else:
                for text in given:
                    _check_text(text, origin.where(i), faults)
        else:
            _check_text(given, origin.where(i), faults)


def check_targets(
    inputs: Sequence[Any], targets: Sequence[Any], form: TargetForm, origin: Origin, faults: Faults
) -> None:
    """Labels, tags or spans, against the inputs that they belong to."""
    if form == "scalar":
        _check_scalars(targets, origin, faults)
    elif form == "lists":
        for i, row in enumerate(targets):
            if any(label is None or isinstance(label, list | tuple | dict) for label in row):
                faults.add(_told(row), "a list of labels", "give plain labels", origin.where(i))
        _check_kinds([(label, i) for i, row in enumerate(targets) for label in row], origin, faults)
    elif form == "indicator":
        _check_indicators(targets, origin, faults)
    elif form == "tags":
        for i, (words, tags) in enumerate(zip(inputs, targets, strict=True)):
            _check_tags(words, tags, origin.where(i), faults)
    elif form == "spans":
        for i, (text, spans) in enumerate(zip(inputs, targets, strict=True)):
            _check_spans(text, spans, origin.where(i), faults)


def check_weights(weights: Sequence[Any], n: int, origin: Origin, faults: Faults) -> list[float]:
    """One finite number of at least 0 a row."""
    if len(weights) != n:
        faults.add(f"{len(weights)} weights for {n} rows", "one weight a row", "give as many as rows", origin.name)
        return []
    numbers = []
    for i, weight in enumerate(weights):
        try:
            number = float(weight)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or number < 0:
            faults.add(f"the weight {weight!r}", "a finite number of at least 0", "correct it", origin.where(i))
        numbers.append(number)
    if numbers and not any(numbers):
        faults.add("weights that are all 0", "at least one row that counts", "correct them", origin.name)
    return numbers


def _check_text(text: Any, where: str, faults: Faults) -> None:
    if text is None:
        faults.add("no text", "a text", REMOVE, where)
    elif not isinstance(text, str):
        faults.add(_told(text), "a text (str)", "convert it with str(), or remove the row", where)
    elif not text.strip():
        faults.add("an empty text", "a text with something to read in it", REMOVE, where)
    elif not is_visible(text):
        faults.add(
            f"a text of invisible characters only ({text[:10]!r})", "a text with something to read in it", REMOVE, where
        )


def _check_words(words: Any, where: str, faults: Faults) -> None:
    if not isinstance(words, list | tuple) or not words:
        faults.add(_told(words), "a text, or a list of words", REMOVE, where)
        return
    for n, word in enumerate(words):
        if not isinstance(word, str) or not word:
            faults.add(f"{_told(word)} as word {n}", "a word (str)", REMOVE, where)


def _check_scalars(targets: Sequence[Any], origin: Origin, faults: Faults) -> None:
    there = []
    for i, label in enumerate(targets):
        if label is None or label == "" or (isinstance(label, float) and math.isnan(label)):
            faults.add("no label", "one label a row", REMOVE, origin.where(i))
        elif isinstance(label, dict | list | tuple | set):
            faults.add(_told(label), "one label a row, as in the first row", "give one label", origin.where(i))
        else:
            there.append((label, i))
    _check_kinds(there, origin, faults)


def _check_kinds(labels: Sequence[tuple[Any, int]], origin: Origin, faults: Faults) -> None:
    """Labels of one kind: 1 and '1' in one column are one label to a person and two to a program."""
    first: dict[str, tuple[Any, int]] = {}
    for label, i in labels:
        first.setdefault(_kind(label), (label, i))
    if len(first) > 1 and set(first) != {"whole numbers", "numbers"}:
        told = ", ".join(f"{kind} ({label!r} in {origin.where(i)})" for kind, (label, i) in first.items())
        faults.add(
            f"labels of mixed type: {told}",
            "labels of one type",
            "write them all as text, or all as numbers",
            origin.name,
        )


def _check_indicators(targets: Sequence[Any], origin: Origin, faults: Faults) -> None:
    width = len(targets[0])
    for i, row in enumerate(targets):
        if len(row) != width:
            faults.add(
                f"{len(row)} columns of 0/1", f"{width}, as in the first row", "give all of them", origin.where(i)
            )
        elif any(value not in (0, 1) for value in row):
            faults.add(_told(list(row)), "0 or 1 in each label's column", "write 0 or 1", origin.where(i))


def _check_tags(words: Any, tags: Any, where: str, faults: Faults) -> None:
    if isinstance(words, str):
        faults.add("tags for a text that is not split into words", "a list of words", "give words, or spans", where)
    elif len(tags) != len(words):
        faults.add(
            f"{len(words)} words and {len(tags)} tags",
            "one tag a word",
            "make them equally long, or drop the row",
            where,
        )
    elif not all(isinstance(tag, str) for tag in tags):
        faults.add(
            f"tags that are no text ({_told(next(t for t in tags if not isinstance(t, str)))})",
            "tags such as 'B-person' and 'O'",
            "write the names of the tags instead of their numbers",
            where,
        )


def _check_spans(text: Any, spans: Sequence[Span], where: str, faults: Faults) -> None:
    if not isinstance(text, str):
        faults.add("spans of characters for a list of words", "a text", "give the text, or a tag for each word", where)
        return
    previous: Span | None = None
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        told = f"the span {span.start}:{span.end} ({span.label!r})"
        if not 0 <= span.start <= span.end <= len(text):
            faults.add(
                f"{told}, out of range", f"numbers from 0 to {len(text)}, the text's length", "correct it", where
            )
        elif not text[span.start : span.end].strip():
            faults.add(f"{told}, empty", "at least one visible character", "correct it, or drop the span", where)
        elif previous is not None and span.start < previous.end:
            faults.add(
                f"{told}, overlapping {previous.start}:{previous.end} ({previous.label!r})",
                "spans that do not overlap",
                "keep one of the two",
                where,
            )
        else:
            previous = span


def spans_of(row: Any, where: str, faults: Faults) -> list[Span]:
    """Spans from dicts, triples or `Span`."""
    out = []
    for given in row or ():
        try:
            parts = (given["start"], given["end"], given["label"]) if isinstance(given, Mapping) else given
            span = Span(*parts)
        except (KeyError, TypeError):
            span = Span(None, None, None)  # type: ignore[arg-type]
        if type(span.start) is int and type(span.end) is int and isinstance(span.label, str) and span.label:
            out.append(span)
        else:
            faults.add(
                f"the span {given!r}",
                "{'start': int, 'end': int, 'label': str}, or (start, end, label)",
                "write it like that",
                where,
            )
    return out


def _kind(label: Any) -> str:
    value = label.item() if hasattr(label, "item") else label
    if isinstance(value, bool):
        return "truth values"
    if isinstance(value, int):
        return "whole numbers"
    return "numbers" if isinstance(value, float) else "text" if isinstance(value, str) else type(value).__name__


def _told(value: Any) -> str:
    text = repr(value)
    return f"{text[:40]}{'…' if len(text) > 40 else ''} ({type(value).__name__})"
