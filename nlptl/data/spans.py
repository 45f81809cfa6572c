"""Tag schemes and the spans they stand for: BIO, IOB1, BIOES, BILOU, and character spans."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from nlptl.data.words import Word
from nlptl.errors import DataError, Fault, Faults, listing

Scheme = Literal["BIO", "IOB1", "BIOES", "BILOU"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

# BIOES is the richest alphabet; BILOU spells it with other letters.
_AS_BIOES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
_AS_BILOU = {"B": "B", "I": "I", "E": "L", "S": "U"}
_PREFIXES: dict[Scheme, str] = {"BIO": "BI", "IOB1": "BI", "BIOES": "BIES", "BILOU": "BILU"}


class Span(NamedTuple):
    """An entity from ``start`` up to, not including, ``end``: of words, or of characters."""

    start: int
    end: int
    label: str


def detect_scheme(tag_lists: Sequence[Sequence[str]], where: Callable[[int], str] | None = None) -> Scheme:
    """The scheme that tags are written in; plain BIO where they could be of several.

    Parameters
    ----------
    tag_lists : sequence of tag sequences
    where : callable, optional
        Tells where a row comes from, for the message; ``Origin.where`` fits.

    Raises
    ------
    DataError
        Some tags are of no scheme, or of two that exclude each other.
    """
    where = where or "row {}".format
    first_seen: dict[str, int] = {}
    faults = Faults()
    for row, tags in enumerate(tag_lists):
        for tag in tags:
            prefix = _prefix(tag)
            if prefix is not None:
                first_seen.setdefault(prefix, row)
            elif tag not in first_seen:  # each bad spelling is told once
                first_seen[tag] = row
                faults.add(
                    f"the tag {tag!r}",
                    "'O', or a prefix of BIO, IOB1, BIOES or BILOU and a label, as in 'B-person'",
                    "write the tags in one of these schemes, or give character spans",
                    where(row),
                )
    faults.raise_if_any(DataError)
    return _scheme_of(tag_lists, first_seen, where)


def entities(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """The entities of a tag sequence, in words, read as conlleval reads: nothing is dropped.

    Where a tag does not follow from the one before it, an entity is closed, or opened.
    """
    found: list[Span] = []
    start, label, closed = 0, "", True  # closed: the next inside tag opens an entity of its own
    for i, tag in enumerate(tags):
        prefix, kind = _parts(tag, scheme)
        if not closed and (prefix in "OBS" or kind != label):
            found.append(Span(start, i, label))
            closed = True
        if prefix == "O":
            continue
        if closed:
            start, label, closed = i, kind, False
        if prefix in "ES":
            found.append(Span(start, i + 1, label))
            closed = True
    if not closed:
        found.append(Span(start, len(tags), label))
    return found


def to_tags(spans: Iterable[Span], n: int, scheme: Scheme) -> list[str]:
    """One tag a word, for ``n`` words and spans of words that do not overlap."""
    tags = ["O"] * n
    previous = Span(0, 0, "")
    for span in sorted(spans):
        if not previous.end <= span.start < span.end <= n:
            raise DataError(
                Fault(
                    f"{span} after {previous} among {n} words",
                    "spans inside the sentence, not empty, none over another",
                    "mend the spans",
                )
            )
        adjacent = span.start == previous.end and span.label == previous.label
        for i, prefix in enumerate(_spelling(span.end - span.start, scheme, adjacent), span.start):
            tags[i] = f"{prefix}-{span.label}"
        previous = span
    return tags


def convert(tags: Sequence[str], source: Scheme, target: Scheme) -> list[str]:
    """The same entities in another scheme; an illegal sequence comes out legal."""
    return to_tags(entities(tags, source), len(tags), target)


def repairs(tags: Sequence[str], scheme: Scheme) -> int:
    """How many tags a legal sequence with the same entities writes otherwise."""
    legal = convert(tags, scheme, scheme)
    return sum(a != b for a, b in zip(tags, legal, strict=True))


def is_legal(tags: Sequence[str], scheme: Scheme) -> bool:
    """Whether the scheme would write these entities with just these tags."""
    return repairs(tags, scheme) == 0


def char_to_word_spans(words: Sequence[Word], spans: Iterable[Span]) -> tuple[list[Span], int]:
    """Spans of characters as spans of the words that they touch.

    Returns
    -------
    spans : list of Span
        In words, in order, none over another. Of two that share a word the first keeps it; a
        span left without any word is dropped.
    snapped : int
        How many spans did not begin and end with a word, and so were moved or dropped.
    """
    found: list[Span] = []
    snapped, free = 0, 0  # free: the first word that no span holds yet
    starts, ends = [word.start for word in words], [word.end for word in words]
    for span in sorted(spans):
        first = max(free, bisect_right(ends, span.start))  # the first word that ends after the start
        after = bisect_left(starts, span.end)  # the first word that begins at the end or later
        if first >= after:
            snapped += 1
            continue
        snapped += (starts[first], ends[after - 1]) != (span.start, span.end)
        found.append(Span(first, after, span.label))
        free = after
    return found, snapped


def word_to_char_spans(words: Sequence[Word], spans: Iterable[Span]) -> list[Span]:
    """Spans of words as spans of the text's characters."""
    return [Span(words[s.start].start, words[s.end - 1].end, s.label) for s in spans]


def bio_transitions(labels: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which BIO tags may begin a sequence, and which may follow which.

    Returns
    -------
    start : ndarray of bool (n_labels,)
    follows : ndarray of bool (n_labels, n_labels)
        ``follows[i, j]``: label ``j`` may come right after label ``i``.
    """
    parts = [_parts(label, "BIO") for label in labels]
    start = np.array([prefix != "I" for prefix, _ in parts], dtype=np.bool_)
    follows = np.array(
        [[b != "I" or (a != "O" and kind_a == kind_b) for b, kind_b in parts] for a, kind_a in parts],
        dtype=np.bool_,
    )
    return start, follows.reshape(len(labels), len(labels))


def _prefix(tag: object) -> str | None:
    """The prefix of a tag of any scheme; None where it is of none."""
    if tag == "O":
        return "O"
    if not isinstance(tag, str):
        return None
    prefix, dash, label = tag.partition("-")
    return prefix if prefix in _AS_BIOES and dash and label else None


def _parts(tag: str, scheme: Scheme) -> tuple[str, str]:
    """The prefix in BIOES letters, and the label."""
    prefix, _, label = tag.partition("-")
    if tag == "O":
        return "O", ""
    if _prefix(tag) is None or prefix not in _PREFIXES[scheme]:
        raise DataError(
            Fault(
                f"the tag {tag!r}",
                f"tags of {scheme}: 'O', or one of {listing(_PREFIXES[scheme])} and a label",
                "write all tags in the one scheme",
            )
        )
    return _AS_BIOES[prefix], label


def _scheme_of(tag_lists: Sequence[Sequence[str]], first_seen: dict[str, int], where: Callable[[int], str]) -> Scheme:
    bioes, bilou = first_seen.keys() & {"E", "S"}, first_seen.keys() & {"L", "U"}
    if bioes and bilou:
        one, two = min(bioes), min(bilou)
        raise DataError(
            Fault(
                f"the prefix '{one}-' of BIOES ({where(first_seen[one])}) and '{two}-' of BILOU",
                "one scheme for all tags",
                "write 'L-' and 'U-' as 'E-' and 'S-'",
                where(first_seen[two]),
            )
        )
    if bioes or bilou:
        return "BIOES" if bioes else "BILOU"
    return "IOB1" if _is_iob1(tag_lists) else "BIO"


def _is_iob1(tag_lists: Iterable[Sequence[str]]) -> bool:
    """In IOB1 entities begin with I-, and B- stands only right after one of the same label."""
    begins_inside = False
    for tags in tag_lists:
        before = ""
        for tag in tags:
            prefix, _, label = tag.partition("-")
            if prefix == "B" and label != before:
                return False
            begins_inside |= prefix == "I" and label != before
            before = label
    return begins_inside


def _spelling(length: int, scheme: Scheme, adjacent: bool) -> list[str]:
    """The prefixes of one entity, word by word."""
    if scheme == "IOB1":
        return ["B" if adjacent else "I"] + ["I"] * (length - 1)
    if scheme == "BIO":
        return ["B"] + ["I"] * (length - 1)
    prefixes = ["S"] if length == 1 else ["B"] + ["I"] * (length - 2) + ["E"]
    return prefixes if scheme == "BIOES" else [_AS_BILOU[p] for p in prefixes]
