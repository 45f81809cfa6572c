"""What processes settle at the end of each step, in one exchange: did all fit in memory, does one have to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed

from nlptl.engine.checkpoint import Checkpoints
from nlptl.engine.interruption import Interruption
from nlptl.engine.options import TrainingOptions
from nlptl.engine.runtime import Runtime
from nlptl.errors import TrainingError

#: Elements of gradients exchanged at once: large enough to be quick, small beside the model.
BUCKET = 2**24


class Agreement:
    """The wishes of every process, known to all of them after each step.

    Alone, a process agrees with itself at no cost. Together they exchange five numbers a step, the loss among them.
    """

    def __init__(
        self, runtime: Runtime, options: TrainingOptions, interruption: Interruption, checkpoints: Checkpoints | None
    ) -> None:
        self.runtime, self.options, self.interruption, self.checkpoints = runtime, options, interruption, checkpoints
        self.signal: int | None = None
        self.due = False
        self._written = time.monotonic()

    def settle(self, loss: torch.Tensor, out_of_memory: bool, step: int) -> tuple[torch.Tensor, bool]:
        """The loss over all processes, and whether any of them ran out of memory; sets `signal` and `due`."""
        heard, due = self.interruption.heard, self._due(step)
        if self.runtime.world == 1:
            self.signal, self.due = heard, due
            return loss, out_of_memory
        said = [out_of_memory, heard == signal.SIGINT, heard == signal.SIGTERM, due and self.runtime.is_main]
        votes = torch.tensor([0.0, *map(float, said)], dtype=torch.float64, device=self.runtime.device)
        votes[0] = loss.double() / self.runtime.world
        with others_alive(step, self.checkpoints):
            distributed.all_reduce(votes)
        _, full, interrupted, terminated, all_due = votes.tolist()
        self.signal = signal.SIGTERM if terminated else signal.SIGINT if interrupted else None
        self.due = bool(all_due)
        return votes[0], bool(full)

    def listen(self, step: int) -> None:
        """Hear of signals that came while nothing was settled, as in an evaluation."""
        self.settle(torch.zeros(()), False, step)

    def written(self) -> None:
        """A checkpoint is there: the minutes to the next one begin."""
        self._written, self.due = time.monotonic(), False

    def wait(self, step: int) -> None:
        with others_alive(step, self.checkpoints):
            self.runtime.wait()

    def same_start(self, step: int) -> None:
        """Every process goes on from the same step; a folder that only some of them see is told."""
        steps = self.runtime.merge([(self.runtime.rank, step)])
        if len(set(steps)) > 1:
            raise TrainingError(
                f"fit(resume=True): received checkpoints of steps {steps}, as the processes see them; expected one "
                "run_dir that all of them share; put it on a disk that every machine has"
            )

    def _due(self, step: int) -> bool:
        every, minutes = self.options.checkpoint_steps, self.options.checkpoint_minutes
        if self.checkpoints is None:
            return False
        if every is not None and (step + 1) % every == 0:
            return True
        return minutes is not None and time.monotonic() - self._written >= 60 * minutes


@contextmanager
def others_alive(step: int, checkpoints: Checkpoints | None) -> Iterator[None]:
    """An exchange that another process does not take part in, told as what it is."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"step {step + 1}: received no answer from another process ({str(error).splitlines()[0]}); expected all of "
            f"them to go on together; see what that one said, for it has ended.{last_good(checkpoints)}"
        ) from error


def average_gradients(parameters: Iterable[torch.nn.Parameter], runtime: Runtime) -> None:
    """The mean of every process's gradients, in buckets; every process has them for the same weights."""
    bucket: list[torch.Tensor] = []
    for gradient in [p.grad for p in parameters if p.grad is not None]:
        if bucket and (gradient.dtype != bucket[0].dtype or sum(g.numel() for g in bucket) + gradient.numel() > BUCKET):
            _average(bucket, runtime.world)
            bucket = []
        bucket.append(gradient)
    if bucket:
        _average(bucket, runtime.world)


def _average(gradients: list[torch.Tensor], world: int) -> None:
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    flat /= world
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def last_good(checkpoints: Checkpoints | None) -> str:
    """Where a run that had to stop can be taken up again, as the end of a message."""
    place: Path | None = None if checkpoints is None else checkpoints.newest()
    return "" if place is None else f" The last good checkpoint is {place}: fit(…, resume=True) goes on from it"
