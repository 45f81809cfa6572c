"""Starting several processes, and being sure that they are gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended: 124 where it had to be ended here."""

    code: int
    said: str
    seconds: float


def torchrun(processes: int, *words: str, timeout: float = 240) -> Ended:
    """A script under torchrun, in that many processes."""
    return run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *words],
        timeout=timeout,
    )


def run(words: Sequence[str], *, timeout: float = 240) -> Ended:
    """A command with one thread a process; it and its descendants are ended where it takes too long."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as running:
        try:
            said, _ = running.communicate(timeout=timeout)
            return Ended(running.returncode, said, time.monotonic() - started)
        except subprocess.TimeoutExpired:
            end(running.pid)
            said, _ = running.communicate()
            return Ended(124, f"still running after {timeout} s\n{said}", time.monotonic() - started)
        except BaseException:
            end(running.pid)
            raise


def end(root: int) -> None:
    """Kill a process that is still ours and all that descend from it: torchrun's workers are sessions of their own."""
    for number in descendants(root):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """A process and its children, their children and so on, as far as they can be seen."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found
