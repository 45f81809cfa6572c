"""Signals: noted while a run has something to finish, told apart from their echo, and given back afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from nlptl.engine import interruption
from nlptl.engine.interruption import Interruption


def hear(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.getsignal(number)  # Python's handlers run between two instructions


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_is_noted_and_stops_when_asked(number, error, caplog):
    former = signal.getsignal(number)
    with pytest.raises(error) as raised, Interruption(listening=True) as heard:
        assert heard.heard is None and signal.getsignal(number) != former
        hear(number)
        assert heard.heard == number
        heard.stop(number, "stopped after step 7")
    assert signal.getsignal(number) == former
    if number == signal.SIGTERM:
        assert raised.value.code == 143 and [r.message for r in caplog.records] == ["stopped after step 7"]
    else:
        assert str(raised.value) == "stopped after step 7"


def test_an_echo_is_no_second_signal(clock):
    with pytest.raises(KeyboardInterrupt, match="stopped at once"), Interruption(listening=True) as heard:
        hear(signal.SIGINT)
        clock[0] += 0.5
        hear(signal.SIGINT)  # the launcher's, after the terminal's
        assert heard.heard == signal.SIGINT
        clock[0] += 5
        hear(signal.SIGINT)
        pytest.fail("a second one stops at once")


def test_one_that_came_after_the_last_step_is_not_forgotten():
    with pytest.raises(KeyboardInterrupt, match="when training was done"), Interruption(listening=True):
        hear(signal.SIGINT)


def test_an_error_is_not_hidden_by_a_signal():
    with pytest.raises(ValueError, match="mine"), Interruption(listening=True):
        hear(signal.SIGINT)
        raise ValueError("mine")


def test_whoever_embeds_us_is_told_as_well():
    told = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with pytest.raises(SystemExit), Interruption(listening=True) as heard:
            hear(signal.SIGTERM)
            assert told == []
            heard.stop(signal.SIGTERM, "")
        assert told == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)


def test_what_is_ignored_stays_ignored():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
    try:
        with Interruption(listening=True) as heard:
            hear(signal.SIGINT)
            assert heard.heard is None and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


def test_nothing_is_touched_without_checkpoints_or_in_another_thread():
    former = signal.getsignal(signal.SIGTERM)
    with Interruption(listening=False):
        assert signal.getsignal(signal.SIGTERM) == former
    seen = []

    def other() -> None:
        with Interruption(listening=True):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [former]
