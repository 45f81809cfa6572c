"""Processes really killed: what goes on afterwards ends with the very bits of a run that was never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import assert_same, finished, moments, result, started
from tests.faults.runner import Run, as_words
from tests.kit.shelf import tiny

#: Epochs of three steps each.
STEPS = 24


def run_in(folder: Path, **options: Any) -> Run:
    return Run(str(folder), str(tiny("bert")), **options)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What one process and two learn when nobody disturbs them."""
    folder = tmp_path_factory.mktemp("whole")
    return {world: finished(run_in(folder / str(world), nap=0.0), world=world) for world in (1, 2)}


def kill_and_go_on(run: Run, world: int, times: int) -> dict[str, Any]:
    """Kill a run at random moments, each time later than it had come before; then let it come to its end."""
    for step, seconds in sorted(moments(times, STEPS - 2)):
        with started(run, world=world) as running:
            running.wait_for_step(step)
            time.sleep(seconds)
            running.kill()
        assert not (Path(run.folder) / "final.json").exists()
        run = run.again()
    told = finished(run, world=world)
    assert told["steps"][0] > 0 and told["steps"][-1] == STEPS - 1, "it did not go on, but began afresh"
    return told


@pytest.mark.parametrize("world", [1, 2])
def test_killed_twice_and_as_if_nothing_had_been(world, never_stopped, tmp_path):
    assert never_stopped[world]["steps"] == list(range(STEPS))
    assert_same(kill_and_go_on(run_in(tmp_path), world, 2), never_stopped[world])


def test_killed_while_a_checkpoint_is_written(never_stopped, tmp_path):
    run = run_in(tmp_path, slow_disk=0.02)
    unfinished = run.run_dir / "checkpoints"
    with started(run) as running:
        running.wait_for_step(9)
        running.wait_until(lambda: any(unfinished.glob(".step-*.tmp/*")))
        running.kill()
    left = list(unfinished.glob(".step-*.tmp"))
    assert left, "it was to be killed while it wrote"
    told = finished(run.again(slow_disk=0.0))
    assert 0 < told["steps"][0] <= 10
    assert_same(told, never_stopped[1])
    assert not list(unfinished.glob(".*"))


@pytest.mark.parametrize("world", [1, 2])
def test_sigterm_ends_the_step_writes_and_leaves(world, never_stopped, tmp_path):
    run = run_in(tmp_path, every=None)
    with started(run, world=world) as running:
        running.wait_for_step(10)
        running.signal(signal.SIGTERM, rank=world - 1)  # one hears of it, and all stop
        assert running.ended(20) == [143] * world
    lines = [line for line in running.said.splitlines() if "stopped by SIGTERM after step" in line]
    assert len(lines) == 1 and "Traceback" not in running.said
    newest = max(int(p.name.removeprefix("step-")) for p in (run.run_dir / "checkpoints").iterdir())
    assert newest >= 10 and lines[0].endswith(f"step-{newest}")
    told = finished(run.again(), world=world)
    assert told["steps"][0] == newest
    assert_same(told, never_stopped[world])


def command(run: Run, progress: Any) -> None:
    """``nlptl fit`` on the rows of the tests, slowed like all the others."""
    from nlptl.__main__ import main
    from tests.faults.runner import _slowed
    from tests.kit.rows import POLARITIES, TEXTS

    rows = Path(run.folder) / "rows.csv"
    rows.write_text("text,label\n" + "".join(f'"{t}",{p}\n' for t, p in zip(TEXTS, POLARITIES, strict=True)))
    _slowed(run, progress)
    words = ["fit", "--backbone", run.backbone, "--mode", "full", "--train", str(rows), "--out", f"{run.folder}/out"]
    words += ["--mode.epochs", "8", "--mode.batch_size", "3", "--compute.precision", "fp32", "--compute.device", "cpu"]
    sys.exit(main([*words, "--resume"] if run.resume else words))


def test_ctrl_c_on_the_command_line_and_resume(tmp_path):
    whole, run = run_in(tmp_path / "whole", nap=0.0), run_in(tmp_path / "stopped")
    with started(whole, target=command) as running:
        assert running.ended() == [0], running.said
    with started(run, target=command) as running:
        running.wait_for_step(10)
        running.signal(signal.SIGINT)
        assert running.ended(20) == [130]
    last = running.said.splitlines()[-1]
    assert last.startswith("nlptl: stopped by Ctrl-C after step 1") and "resume goes on from" in last
    assert "Traceback" not in running.said
    with started(run.again(), target=command) as running:
        assert running.ended() == [0], running.said
    one, other = (Path(r.folder) / "out" / "model" / "model.safetensors" for r in (whole, run))
    assert one.read_bytes() == other.read_bytes()


def test_a_process_that_dies_ends_the_others_within_seconds(tmp_path):
    for number, said in ((signal.SIGKILL, "received no answer from another process"), (None, "has had enough")):
        fails = None if number else (1, 10)
        run = run_in(tmp_path / str(number), nap=0.05, fails_at=fails)
        with started(run, world=2) as running:
            running.wait_for_step(10)
            if number:
                running.signal(number, rank=1)
            codes = running.ended(20)
        assert all(codes) and said in running.said
        assert "The last good checkpoint is" in running.said and "resume=True" in running.said


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_killed_at_twenty_random_moments(world, mode, tmp_path):
    run = run_in(tmp_path / "killed", mode=mode, evaluate=True, every=3)
    whole = finished(run_in(tmp_path / "whole", mode=mode, evaluate=True, nap=0.0), world=world)
    assert_same(kill_and_go_on(run, world, 20), whole)


@pytest.mark.slow
def test_two_processes_of_torchrun(tmp_path):
    """The launcher itself: killed with its workers, told to stop, and started again."""
    whole, run = run_in(tmp_path / "whole", nap=0.0), run_in(tmp_path / "stopped", nap=0.05)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = str(Path(__file__).with_name("runner.py"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def start(run: Run) -> subprocess.Popen[bytes]:
        Path(run.folder).mkdir(exist_ok=True)
        return subprocess.Popen([*torchrun, script, as_words(run)], env=env, start_new_session=True)

    assert start(whole).wait(200) == 0
    for number in (signal.SIGTERM, signal.SIGKILL):
        running = start(run)
        checkpoints = run.run_dir / "checkpoints"
        before = {p.name for p in checkpoints.glob("step-*")}
        while len({p.name for p in checkpoints.glob("step-*")} - before) < 2:
            assert running.poll() is None
            time.sleep(0.01)
        if number == signal.SIGKILL:
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        assert running.wait(60) != 0
        run = run.again()
    assert start(run).wait(200) == 0
    assert_same(result(run, 2), result(whole, 2))
