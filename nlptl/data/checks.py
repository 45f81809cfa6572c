"""What a row must be before a model sees it: texts, pairs, words and weights. Every fault is collected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from nlptl.data.examples import Inputs, Level
from nlptl.data.words import is_visible
from nlptl.errors import Faults

Where = Callable[[int], str]
Kind = Literal["text", "pair", "words"]


def check_inputs(rows: Sequence[Any], level: Level, where: Where, faults: Faults, kind: Kind | None = None) -> Inputs:
    """Texts, pairs of texts, or lists of words: what they are said to be, or else what most rows are."""
    kind = kind or kind_of(rows, level)
    if kind == "text":
        return [_text(row, where(i), faults) for i, row in enumerate(rows)]
    if kind == "pair":
        return [_pair(row, where(i), faults) for i, row in enumerate(rows)]
    return [_words(row, where(i), faults) for i, row in enumerate(rows)]


def kind_of(rows: Sequence[Any], level: Level) -> Kind:
    """What most rows are."""
    nested = sum(isinstance(row, list | tuple) for row in rows)
    return "text" if 2 * nested <= len(rows) else "pair" if level == "sequence" else "words"


def check_weights(values: Any, count: int, where: Where, faults: Faults) -> list[float]:
    """One finite number a row, none below zero, not all zero."""
    if not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        faults.add(f"the weights {short(values)}", "one weight a row", "give a list of weights", "weights")
        return []
    values = list(values)
    if len(values) != count:
        faults.add(
            f"{len(values)} weights for {count} rows", "one weight a row", "give as many weights as rows", "weights"
        )
        return []
    weights = [_weight(value) for value in values]
    for i, weight in enumerate(weights):
        if weight is None:
            faults.add(
                f"the weight {values[i]!r}",
                "a finite number, zero or more",
                "correct it, or leave the row out",
                where(i),
            )
    if weights and not any(weight is None or weight > 0 for weight in weights):
        faults.add("weights that are all zero", "at least one above zero", "raise some weights", where(0))
    return [weight or 0.0 for weight in weights]


def short(value: Any) -> str:
    """A value as a message can carry it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _text(value: Any, where: str, faults: Faults) -> str:
    if isinstance(value, str):
        wrong = _unreadable(value)
        if wrong:
            faults.add(wrong, "a text that a reader could see", "fill it in, or leave the row out", where)
    elif value is None:
        faults.add("no text", "a text", "fill it in, or leave the row out", where)
    else:
        kind = type(value).__name__
        faults.add(f"{short(value)}, of type {kind}", "a text (str)", _remedy_for(value), where)
    return value if isinstance(value, str) else ""


def _pair(value: Any, where: str, faults: Faults) -> tuple[str, str]:
    if isinstance(value, list | tuple) and len(value) == 2:
        first = _text(value[0], f"{where}, first text", faults)
        return first, _text(value[1], f"{where}, second text", faults)
    got = f"{len(value)} items" if isinstance(value, list | tuple) else short(value)
    faults.add(got, "a pair of texts, as in the other rows", "give (first, second), or one text, in every row", where)
    return "", ""


def _words(value: Any, where: str, faults: Faults) -> list[str]:
    if not isinstance(value, list | tuple):
        got = "no words" if value is None else short(value)
        faults.add(got, "a list of words", "give a list in every row (CSV holds none: use JSONL or CoNLL)", where)
        return []
    for number, word in enumerate(value):
        if not isinstance(word, str):
            got = f"{short(word)}, of type {type(word).__name__}, as word {number}"
            faults.add(got, "words of type str", "turn it into a str", where)
            return []
        if _surrogate(word):
            faults.add(f"{_surrogate(word)} in word {number}", "characters that UTF-8 can hold", "mend the word", where)
            return []
    if not any(is_visible(word) for word in value):
        got = f"the words {short(list(value))}, in which nothing can be seen" if value else "no words"
        faults.add(got, "a sentence of one word or more", "leave the row out", where)
    return list(value)


def _unreadable(text: str) -> str:
    """What is wrong with a text; nothing where it can be read."""
    if not text:
        return "an empty text"
    if text.isspace():
        return "a text of white space alone"
    if _surrogate(text):
        return _surrogate(text)
    return (
        ""
        if is_visible(text)
        else f"a text without visible characters ({short(text.encode('unicode_escape').decode())})"
    )


def _surrogate(text: str) -> str:
    """Half of a character, as a broken ``\\ud83d`` escape in JSON leaves it: no tokenizer takes it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"half a character (U+{ord(text[error.start]):04X} at {error.start})"
    return ""


def _remedy_for(value: Any) -> str:
    if isinstance(value, bytes):
        return "decode it: text.decode('utf-8')"
    if isinstance(value, list | tuple):
        return "join it into one text, or give a list in every row"
    return "turn it into a str, or leave the row out"


def _weight(value: Any) -> float | None:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return None
    return weight if math.isfinite(weight) and weight >= 0 else None
