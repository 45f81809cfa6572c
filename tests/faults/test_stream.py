"""Predictions over a file that end half-way: killed, interrupted, or out of room; none of it is lost."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nlptl.__main__ import main
from nlptl.cli import _unfinished
from tests.kit.cells import Cell, fitted
from tests.kit.rows import TEXTS

ROWS = 600
HOW = ["--compute.device", "cpu", "--compute.precision", "fp32", "--chunk-rows", "8"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(Cell("sentiment", "full", "bert")).save(tmp_path_factory.mktemp("runs") / "mood")


@pytest.fixture(scope="module")
def words(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, but for its output."""
    draw = random.Random(0)
    source = tmp_path_factory.mktemp("rows") / "rows.txt"
    texts = (" ".join(draw.choices(TEXTS, k=draw.randint(1, 3))) for _ in range(ROWS))
    source.write_text("".join(f"{text} {n}\n" for n, text in enumerate(texts)), encoding="utf-8")
    return ["predict", str(bundle), "--input", str(source), *HOW]


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that was never killed writes."""
    out = tmp_path_factory.mktemp("whole") / "out.jsonl"
    assert main([*words, "--output", str(out)]) == 0
    content = out.read_bytes()
    assert len(content.splitlines()) == ROWS
    return content


def kill_after(lines: int, command: list[str], part: Path) -> int:
    """Start the command in a process of its own, kill it when so many lines are there, and count what it left."""
    process = subprocess.Popen([sys.executable, "-m", "nlptl", *command], stderr=subprocess.PIPE)
    try:
        ends = time.monotonic() + 120
        while not (part.exists() and part.read_bytes().count(b"\n") >= lines):
            assert process.poll() is None, (process.communicate()[1] or b"").decode()
            assert time.monotonic() < ends
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return part.read_bytes().count(b"\n")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    words: list[str], whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    command = [*words, "--output", str(out)]
    left = kill_after(100, command, part)
    assert 100 <= left < ROWS and names(tmp_path) == ["out.jsonl.part", "out.jsonl.part.json"]
    assert main(command) == 2  # not begun again by mistake
    assert "of which an unfinished run has left out.jsonl.part; expected to go on with it" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    said = capsys.readouterr()
    assert f"· going on after the {left} rows that are there" in said.err and f"{ROWS} rows written" in said.out
    assert out.read_bytes() == whole and names(tmp_path) == ["out.jsonl"]


@pytest.mark.slow
def test_killed_again_and_again(words: list[str], whole: bytes, tmp_path: Path) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    draw, left = random.Random(1), 0
    command = [*words, "--output", str(out)]
    for _ in range(20):
        left = kill_after(left + draw.randint(0, 20), [*command, "--resume"], part)
    assert main([*command, "--resume"]) == 0
    assert out.read_bytes() == whole


@pytest.mark.parametrize(
    ("kept", "torn"), [(0, b""), (0, b'{"te'), (8, b"\0\0\0\n"), (13, b'{"text": "a mov'), (ROWS, b"")]
)
def test_it_goes_on_after_the_last_whole_line(
    words: list[str], whole: bytes, kept: int, torn: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    stop_after(kept, monkeypatch)
    assert main([*words, "--output", str(out)]) == 130
    monkeypatch.undo()
    part.write_bytes(b"".join(whole.splitlines(keepends=True)[:kept]) + torn)
    assert main([*words, "--output", str(out), "--resume"]) == 0
    assert out.read_bytes() == whole


def stop_after(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst of the writing."""
    write = _unfinished.Unfinished.write

    def interrupted(self: Any, lines: Any, every: int) -> int:
        def some() -> Any:
            for number, line in enumerate(lines):
                if number == rows:
                    break
                yield line
            raise KeyboardInterrupt

        return write(self, some(), every)

    monkeypatch.setattr(_unfinished.Unfinished, "write", interrupted)


def test_ctrl_c_says_in_one_line_how_to_go_on(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(5, monkeypatch)
    assert main([*words, "--output", str(tmp_path / "out.jsonl")]) == 130
    said = f"nlptl: stopped: 5 rows are in {tmp_path / 'out.jsonl.part'}; the same command with --resume goes on"
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


def test_rows_of_another_run_are_refused_with_what_differs(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    source = tmp_path / "rows.txt"
    source.write_text("a\nb\nc\n", encoding="utf-8")
    command = [*words[:3], str(source), *HOW, "--output", str(out)]
    stop_after(2, monkeypatch)
    assert main(command) == 130
    monkeypatch.undo()
    source.write_text("a\nb\nd\n", encoding="utf-8")
    assert main([*command, "--resume", "--chunk-rows", "16"]) == 2
    said = capsys.readouterr().err
    assert "rows of another run: chunk_rows was 8 and is 16; input was '" in said and "bundle was" not in said
    (tmp_path / "out.jsonl.part.json").unlink()
    assert main([*command, "--resume"]) == 2
    assert "received out.jsonl.part without a out.jsonl.part.json" in capsys.readouterr().err


def test_a_full_disk_keeps_what_is_there(
    words: list[str], whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    flush, flushed = _unfinished.Unfinished._flush, 0

    def full(self: Any) -> None:
        nonlocal flushed
        flushed += 1
        if flushed > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(self)

    monkeypatch.setattr(_unfinished.Unfinished, "_flush", full)
    assert main([*words, "--output", str(out)]) == 2
    said = capsys.readouterr().err
    assert "cannot be written (No space left on device)" in said and "--resume goes on from there" in said
    monkeypatch.undo()
    assert main([*words, "--output", str(out), "--resume"]) == 0
    assert out.read_bytes() == whole


def test_a_fault_in_the_last_row_is_told_before_the_first_is_predicted(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [json.dumps({"text": text}) for text in [*["fine"] * 30, ""]]
    source.write_text("\n".join(rows) + "\n", encoding="utf-8")
    command = [*words[:3], str(source), *HOW, "--output", str(out)]
    assert main(command) == 2
    assert "rows.jsonl, line 31: received an empty text" in capsys.readouterr().err
    source.write_text("\n".join(rows[:-1]) + "\n", encoding="utf-8")
    assert main(command) == 0  # what the first left behind, a file without a row, is no hindrance
    assert len(out.read_text(encoding="utf-8").splitlines()) == 30


def test_two_processes_do_not_write_one_file(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "out.jsonl"
    first = _unfinished.Unfinished(out, {}, False)
    assert main([*words, "--output", str(out)]) == 2
    assert "which another process is writing; expected one at a time" in capsys.readouterr().err
    first.write([], 1)
    assert out.read_bytes() == b""


@pytest.mark.parametrize("more", [[], ["--output", "x.jsonl"]])
def test_resume_needs_an_input_and_an_output(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "x", "a text", "--resume", *more]) == 2
    assert "--resume without --input and --output" in capsys.readouterr().err
