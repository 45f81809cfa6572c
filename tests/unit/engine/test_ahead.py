"""One part ahead of the reader: order, errors, and an end that leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nlptl.engine.ahead import Ahead


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "nlptl-ahead"]


def test_parts_come_in_order_and_the_thread_ends() -> None:
    assert list(Ahead(n for n in range(100))) == list(range(100))
    assert list(Ahead(n for n in range(0))) == []
    assert threads() == []


def test_the_next_part_is_made_while_the_reader_is_busy() -> None:
    made = [threading.Event() for _ in range(3)]

    def parts() -> Iterator[int]:
        for n, event in enumerate(made):
            event.set()
            yield n

    with Ahead(parts()) as ahead:
        assert next(ahead) == 0
        assert made[1].wait(10)


def test_no_more_than_one_part_waits() -> None:
    made: list[int] = []

    def parts() -> Iterator[int]:
        for n in range(100):
            made.append(n)
            yield n

    with Ahead(parts()) as ahead:
        next(ahead)
        threading.Event().wait(0.3)
        assert len(made) <= 3  # one taken, one ready, one in hand


def test_an_error_comes_after_the_parts_that_were_whole() -> None:
    def parts() -> Iterator[int]:
        yield 1
        raise ValueError("row 2")

    ahead = Ahead(parts())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="row 2"):
        next(ahead)
    assert list(ahead) == [] and threads() == []


def test_closing_early_ends_the_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def parts() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    ahead = Ahead(parts())
    assert next(ahead) == 0
    ahead.close()
    assert closed.is_set() and threads() == [] and list(ahead) == []
