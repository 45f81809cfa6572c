"""A few rows for any task, found by its level: a new task gets its contract tests without a line here."""

from __future__ import annotations

from typing import Any

from nlptl import tasks

#: Two polarities, so that sentiment reads them as well as classification does; lengths differ, so that batches pad.
TEXTS = [
    "the movie was good",
    "the film was bad , a waste of time .",
    "a joy to watch , and the story was great !",
    "awful",
    "we really loved this lovely place and its people",
    "i did not like it at all",
    "what a lovely day : good !",
    "the plot was poor and the bank wants a fee of 25 pounds",
]
POLARITIES = ["positive", "negative"] * 4

#: Entities at the start, at the end, next to one another, and none at all.
SENTENCES = [
    "ada lovelace left london for paris in 1843",
    "charles babbage stayed",
    "my card was lost",
    "we loved paris",
    "london ada",
    "ada lovelace and charles babbage left",
    "the bank of london wants a fee",
    "paris",
]
TAGS = [
    "B-person I-person O B-place O B-place O O",
    "B-person I-person O",
    "O O O O",
    "O O B-place",
    "B-place B-person",
    "B-person I-person O B-person I-person O",
    "O B-firm I-firm I-firm O O O",
    "B-place",
]


def rows(task: str) -> tuple[list[Any], list[Any]]:
    """Eight rows of a task and their targets."""
    if tasks.resolve(task).level == "token":
        return [s.split() for s in SENTENCES], [t.split() for t in TAGS]
    return list(TEXTS), list(POLARITIES)
