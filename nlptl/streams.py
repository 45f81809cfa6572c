"""Rows that pass through a model part by part, so that a file of any length takes the memory of a few thousand rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple, TypeVar

from nlptl.bundle.storage import Contents
from nlptl.data.examples import Examples, Schema
from nlptl.data.labels import plain
from nlptl.data.sources import Columns, stream
from nlptl.engine.ahead import Ahead
from nlptl.engine.items import Item
from nlptl.engine.progress import Progress
from nlptl.engine.runtime import Runtime
from nlptl.errors import DataError, Faults, OptionError
from nlptl.report import Record
from nlptl.rows import check_kind, warn_of
from nlptl.tasks.base import Prepared

Made = TypeVar("Made")

log = logging.getLogger("nlptl")

#: Rows a part. Enough that sorting them by length leaves little padding; the tokenizers' own calls are as large.
CHUNK_ROWS = 4096
#: A source with more faults than these is told to be wrong without all of them.
MOST_FAULTS = 1000


class Answer(NamedTuple):
    """What a learner says of one row.

    Parameters
    ----------
    input : the text, the pair, or the words, as given
    prediction : as `predict` gives it: a label, the labels, a number, tags, or entities
    probabilities : as `predict_proba` gives them; None where a number is predicted
    """

    input: Any
    prediction: Any
    probabilities: Any


@dataclass(frozen=True)
class Flow:
    """A source, and how it is to be gone through.

    Parameters
    ----------
    source : what `read` takes, or any iterable of rows
    schema : what a row must have
    columns : role -> column
    size : rows a part; answers keep their bits wherever they begin, because parts are cut from the first row
    start : rows that are passed over
    check : go through the whole source before the first answer, so that every fault is told at once
    """

    source: Any
    schema: Schema
    columns: Columns | None
    size: int = CHUNK_ROWS
    start: int = 0
    check: bool = False

    def __post_init__(self) -> None:
        faults = Faults()
        for name, value, least in (("chunk_rows", self.size, 1), ("start", self.start, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                faults.add(repr(value), f"a whole number of {least} or more", "correct it", f"stream({name}=…)")
        if self.check and isinstance(self.source, Iterator):
            faults.add(
                f"check=True and a {type(self.source).__name__}, which can be gone through once", "a list or a path",
                "leave check out: faults are then told where they are met", "stream(check=…)",
            )  # fmt: skip
        faults.raise_if_any(OptionError)

    def rows(self) -> int | None:
        """How many rows there are: counted by checking them, or known anyway; None where only reading would tell."""
        if self.check:
            faults = Faults()
            total = 0
            for part in self._parts(faults):
                total += len(part)
                if len(faults) >= MOST_FAULTS:
                    break
            faults.raise_if_any(DataError)
            return total
        known = isinstance(self.source, Sized) and not isinstance(self.source, str | PathLike)
        return None if not known or isinstance(self.source, dict) else len(self.source)

    def parts(self) -> Iterator[tuple[int, Examples]]:
        """Each part that is not passed over, and how many of its rows are."""
        first = 0
        for part in self._parts(None):
            if first + len(part) > self.start:
                yield max(self.start - first, 0), part
            first += len(part)

    def _parts(self, faults: Faults | None) -> Iterator[Examples]:
        return stream(
            self.source,
            schema=self.schema,
            size=self.size,
            columns=self.columns,
            split="test",
            name="source",
            faults=faults,
        )


def run(
    flow: Flow,
    runtime: Runtime,
    what: str,
    prepare: Callable[[Examples], Prepared],
    work: Callable[[list[Item], Runtime], Made],
) -> Iterator[tuple[int, Examples, Prepared, Made]]:
    """Each part with what the model made of it; the next one is read and tokenised meanwhile."""
    total = flow.rows()
    counts: Counter[str] = Counter()
    steps = ((passed, part, prepare(part)) for passed, part in flow.parts())
    with Progress(runtime, None if total is None else max(total - flow.start, 0), what) as bar, Ahead(steps) as ahead:
        for passed, part, prepared in ahead:
            for note in part.notes:
                log.info("%s", note)
            with bar.inner():
                made = work(prepared.items, runtime)
            counts.update(prepared.counts)
            yield passed, part, prepared, made
    warn_of(counts)


def answers(known: Contents, record: Record, flow: Flow, runtime: Runtime) -> Iterator[Answer]:
    """What a learner says of each row, in the order of the rows."""
    task, space = known.task, known.space
    window = known.mode.window(known.backbone)

    def prepare(part: Examples) -> Prepared:
        check_kind(part, record)
        return task.prepare(known.backbone, part.inputs, window)

    for passed, part, prepared, scores in run(flow, runtime, "predict", prepare, known.fitted.scores):
        numbers = task.decode(scores, prepared, space)
        given = task.as_given(numbers, scores, prepared, space)
        chances = None if space.problem == "regression" else task.probabilities(scores, prepared, space)
        for i in range(passed, len(part)):
            yield Answer(part.inputs[i], plain(given[i]), None if chances is None else chances[i])
