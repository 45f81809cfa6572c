"""The one training loop. Modes give it a model, rows, a loss and options; none of them rewrites it."""

from __future__ import annotations

import math
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from nlptl.engine import snapshot
from nlptl.engine.agreement import Agreement
from nlptl.engine.batching import training_plan
from nlptl.engine.checkpoint import Checkpoint, Checkpoints
from nlptl.engine.fast import accelerated
from nlptl.engine.interruption import Interruption
from nlptl.engine.optimise import build_optimizer, learning_rate_at, total_steps
from nlptl.engine.options import TrainingOptions
from nlptl.engine.progress import Progress
from nlptl.engine.runtime import Runtime
from nlptl.engine.steps import Loss, Steps, TrainingRows
from nlptl.errors import NlptlWarning, OptionError, did_you_mean, listing
from nlptl.metrics import LOWER_IS_BETTER

__all__ = ["Loss", "Progressed", "Training", "TrainingRows", "Validate"]

#: asked after each epoch: metrics of the rows held out, the first the one to watch
Validate = Callable[[], dict[str, float]]

#: What a run's bits depend on beside its recipe, as `Runtime.describe` tells it.
MACHINE = ("device", "precision", "processes", "threads", "batch_tokens")


@dataclass
class Progressed:
    """How far a run is: all of it that is not a tensor.

    The learning rate, the batches and everything drawn are pure functions of the seed and the step.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    stale: int = 0
    #: of the epoch that is running
    losses: float = 0.0
    taken: int = 0
    seconds: float = 0.0


class Training:
    """One run of the loop over one model."""

    def __init__(
        self,
        model: Any,
        examples: TrainingRows,
        loss: Loss,
        options: TrainingOptions,
        runtime: Runtime,
        *,
        seed: int,
        peak: float,
        pad_id: int,
        validate: Validate | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        if validate is None and (options.patience is not None or options.monitor != "auto"):
            raise OptionError(
                f"patience={options.patience}, monitor={options.monitor!r}: received no rows to evaluate on; expected "
                "fit(…, eval=…) with them; give eval (a fraction such as 0.1 will do), or leave them out"
            )
        self.plain, self.examples, self.loss = model, examples, loss
        self.options, self.runtime, self.seed, self.peak, self.pad_id = options, runtime, seed, peak, pad_id
        self.validate, self.checkpoints = validate, checkpoints
        self.total = total_steps(options, len(examples.items))
        self.a_pass = math.ceil(len(examples.items) / options.batch_size)
        self.at = Progressed()
        self.best: dict[str, torch.Tensor] = {}
        self.kernels: dict[str, str] = {}

    def run(self, *, resume: bool = False) -> list[dict[str, float]]:
        """Train to the end (or to where it stops early); returns the history, one entry an epoch.

        With checkpoints, Ctrl-C and SIGTERM let the step end, write one, and stop then.
        """
        self.runtime.place(self.plain)
        optimizer = build_optimizer(self.plain, self.options, self.peak, self.runtime.device)
        self.model, self.optimizer = self.runtime.prepare(self.plain, optimizer)
        self.interruption = Interruption(listening=self.checkpoints is not None)
        self.agreement = Agreement(self.runtime, self.options, self.interruption, self.checkpoints)
        self.steps = Steps(
            self.plain, self.model, self.optimizer, self.examples, self.loss, self.options, self.runtime,
            self.agreement, seed=self.seed, pad_id=self.pad_id,
        )  # fmt: skip
        devices = [self.runtime.device] if self.runtime.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), self.interruption:
            self._begin(resume)
            with accelerated(self.plain, self.runtime) as self.kernels:
                self._epochs()
        if self.best:
            snapshot.load_weights(self.plain, self.best)
        self.plain.eval()
        return self.at.history

    @property
    def batch_tokens(self) -> int:
        """Padded tokens a part of a batch may have at last: fewer than asked for where memory ran out."""
        return self.steps.batch_tokens

    def _epochs(self) -> None:
        rows = len(self.examples.items)
        epochs = self.total / self.a_pass
        with Progress(self.runtime, math.ceil(epochs * rows), "train") as progress:
            progress.step(min(self.at.step * self.options.batch_size, rows * math.ceil(epochs)))
            while self.at.step < self.total and not self._stop():
                self._epoch(self.at.step // self.a_pass, progress)

    def _epoch(self, number: int, progress: Progress) -> None:
        plan = training_plan(self.examples.items, self.options.batch_size, seed=self.seed, epoch=number)
        end = min(self.total, (number + 1) * self.a_pass)
        self.model.train()
        self._clock = time.perf_counter()
        for rows in plan[self.at.step % self.a_pass :]:
            loss = self._step(rows)
            self.at.losses += loss
            self.at.taken += 1
            self.at.step += 1
            progress.step(len(rows), loss=loss, **self._last_metric())
            self.runtime.track({"loss": loss, "learning_rate": self._rate(self.at.step - 1)}, self.at.step)
            if self.at.step == end:
                break
            if self.agreement.due or self.agreement.signal is not None:
                self._keep()
        self._close_epoch()
        self.agreement.listen(self.at.step)
        self._keep()

    def _step(self, rows: list[int]) -> float:
        return self.steps.take(rows, self.at.step, self._rate(self.at.step))

    def _last_metric(self) -> dict[str, float]:
        """The task's first metric at the last evaluation, for the bar."""
        last = self.at.history[-1] if self.at.history else {}
        return dict([entry for entry in last.items() if entry[0].startswith("eval_")][:1])

    def _rate(self, step: int) -> float:
        return learning_rate_at(step, self.total, self.options, self.peak)

    def _close_epoch(self) -> None:
        self._count_time()
        entry: dict[str, float] = {
            "epoch": round(self.at.step / self.a_pass, 4),
            "step": self.at.step,
            "loss": self.at.losses / self.at.taken,
            "learning_rate": self._rate(self.at.step - 1),
            "rows_per_second": round(self.at.taken * self.options.batch_size / max(self.at.seconds, 1e-9), 1),
        }
        self.at.losses, self.at.taken, self.at.seconds = 0.0, 0, 0.0
        if self.validate is not None:
            self.model.eval()
            metrics = self.validate()
            self._watch(metrics)
            entry |= {f"eval_{name}": value for name, value in metrics.items()}
            self.runtime.track({k: v for k, v in entry.items() if k.startswith("eval_")}, self.at.step)
        self.at.history.append(entry)

    def _watch(self, metrics: dict[str, float]) -> None:
        if self.options.patience is None:
            return
        name = next(iter(metrics)) if self.options.monitor == "auto" else self.options.monitor
        if name not in metrics:
            raise OptionError(
                f"monitor={name!r}: received a name that is no metric of this task; expected one of "
                f"{listing(metrics)}; choose one.{did_you_mean(name, metrics)}"
            )
        value = -metrics[name] if name in LOWER_IS_BETTER else metrics[name]
        if self.at.best is None or value > self.at.best:
            self.at.best, self.at.stale = value, 0
            self.best = {n: p.detach().cpu().clone() for n, p in snapshot.learning(self.plain)}
        else:
            self.at.stale += 1

    def _stop(self) -> bool:
        return self.options.patience is not None and self.at.stale >= self.options.patience

    def _keep(self) -> None:
        """Write a checkpoint, and stop there if a signal asks for it."""
        if self.checkpoints is None:
            return
        self._count_time()
        if self.runtime.is_main:
            self.checkpoints.write(self.at.step, Checkpoint(self._tensors(), self._state()))
        self.agreement.written()
        if self.agreement.signal is not None:
            self.agreement.wait(self.at.step)  # a launcher ends all processes when the first one has left
            self.interruption.stop(self.agreement.signal, self._told() if self.runtime.is_main else "")

    def _told(self) -> str:
        by = "Ctrl-C" if self.agreement.signal == signal.SIGINT else "SIGTERM"
        place = None if self.checkpoints is None else self.checkpoints.newest()
        return f"stopped by {by} after step {self.at.step} of {self.total}; resume goes on from {place}"

    def _count_time(self) -> None:
        now = time.perf_counter()
        self.at.seconds += now - self._clock
        self._clock = now

    def _tensors(self) -> dict[str, torch.Tensor]:
        return snapshot.take(self.plain, self.optimizer, self.best)

    def _state(self) -> dict[str, Any]:
        return {
            "at": vars(self.at),
            "batch_tokens": self.steps.batch_tokens,
            "scale": self.steps.scale.state(),
            "machine": self._machine(),
        }

    def _machine(self) -> dict[str, str]:
        return {name: value for name, value in self.runtime.describe().items() if name in MACHINE}

    def _begin(self, resume: bool) -> None:
        """From the start, or from the newest whole checkpoint."""
        if self.checkpoints is None:
            return
        found = self.checkpoints.latest(tell=self.runtime.is_main) if resume else None
        self.agreement.same_start(0 if found is None else found.state["at"]["step"])
        if found is not None:
            self._restore(found)
        if not self.runtime.is_main:
            return
        if found is not None:
            self.checkpoints.tidy()
            return
        if resume:
            warnings.warn(
                f"resume: no whole checkpoint in {self.checkpoints.folder}; starting afresh", NlptlWarning, stacklevel=2
            )
        self.checkpoints.clear()

    def _restore(self, found: Checkpoint) -> None:
        self.at = Progressed(**found.state["at"])
        self.best = snapshot.put_back(self.plain, self.optimizer, found.tensors)
        self.steps.scale.load(found.state["scale"])
        then, now = found.state["machine"], self._machine()
        if then["batch_tokens"] == now["batch_tokens"]:
            self.steps.batch_tokens = found.state["batch_tokens"]  # fewer than asked for, where memory had run out
        differing = [f"{name} was {then[name]} and is {now[name]}" for name in MACHINE if then[name] != now[name]]
        if differing and self.runtime.is_main:
            warnings.warn(
                f"resume: {', '.join(differing)}: the run goes on from step {self.at.step}, but not with the very bits "
                "of one that was never stopped",
                NlptlWarning,
                stacklevel=2,
            )
