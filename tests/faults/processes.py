"""Processes to be killed, forked from one that has torch loaded already: a start takes no seconds."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.faults.runner import Run, perform

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.runner", "transformers.models.bert.modeling_bert", "sklearn.base"])

#: Nothing that these tests start may take longer; what does, hangs.
LONGEST = 90.0


class Started:
    """The processes of one run."""

    def __init__(self, run: Run, world: int, target: Callable[..., None]) -> None:
        self.run, self.world = run, world
        self.log = Path(run.folder) / "said.txt"
        self.progress = FORKS.RawValue("i", -1)
        port = _free_port()
        self.processes = [
            FORKS.Process(target=_entered, args=(target, run, self.progress, rank, world, port, str(self.log)))
            for rank in range(world)
        ]
        for process in self.processes:
            process.start()

    def wait_for_step(self, step: int) -> None:
        self.wait_until(lambda: self.progress.value >= step)

    def wait_until(self, there: Callable[[], bool]) -> None:
        end = time.monotonic() + LONGEST
        while not there():
            assert any(p.is_alive() for p in self.processes), f"ended too early:\n{self.said}"
            assert time.monotonic() < end, f"hangs at step {self.progress.value}:\n{self.said}"
            time.sleep(0.001)

    def signal(self, number: int, rank: int = 0) -> None:
        os.kill(self.processes[rank].pid, number)

    def kill(self) -> None:
        for rank in range(self.world):
            self.signal(signal.SIGKILL, rank)
        assert self.ended() == [-signal.SIGKILL] * self.world, f"ended before it was killed:\n{self.said}"

    def ended(self, within: float = LONGEST) -> list[int]:
        """The exit codes, of processes that must end by themselves."""
        end = time.monotonic() + within
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
            assert process.exitcode is not None, f"still there after {within} s:\n{self.said}"
        return [p.exitcode for p in self.processes]

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""


@contextlib.contextmanager
def started(run: Run, *, world: int = 1, target: Callable[..., None] = perform) -> Iterator[Started]:
    """A run in the background; none of its processes outlives the test."""
    Path(run.folder).mkdir(parents=True, exist_ok=True)
    running = Started(run, world, target)
    try:
        yield running
    finally:
        for process in running.processes:
            process.kill()
            process.join()


def finished(run: Run, *, world: int = 1) -> dict[str, Any]:
    """A run to its end; what it told, its weights among it."""
    with started(run, world=world) as running:
        assert running.ended() == [0] * world, running.said
    return result(run, world)


def result(run: Run, world: int = 1) -> dict[str, Any]:
    told = json.loads((Path(run.folder) / "final.json").read_text())
    assert told["world"] == str(world)
    return {**told, "weights": load_file(Path(run.folder) / "final.safetensors")}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit for bit: the weights, and the loss of each epoch."""
    assert one["weights"].keys() == other["weights"].keys()
    differing = [name for name, w in one["weights"].items() if not torch.equal(w, other["weights"][name])]
    assert not differing
    assert one["losses"] == other["losses"]


def moments(count: int, last: int, seed: int | None = None) -> Iterator[tuple[int, float]]:
    """Random moments as (step, seconds after it); the seed is printed, so that a failure can be repeated."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    print(f"moments drawn from seed {seed}")
    draw = random.Random(seed)
    for _ in range(count):
        yield draw.randrange(4, last), draw.uniform(0.0, 0.03)


def _entered(target: Callable[..., None], run: Run, progress: Any, rank: int, world: int, port: int, log: str) -> None:
    """In the new process: what a launcher would set, and a file for what is said."""
    if world > 1:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in told.items()} | {"MASTER_ADDR": "127.0.0.1"}
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    target(run, progress)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
