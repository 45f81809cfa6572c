"""The one training loop. Modes give it a model, rows, a loss and options; none of them rewrites it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nlptl.engine.batching import micro_batches, training_plan
from nlptl.engine.checkpoint import Checkpoint, Checkpoints
from nlptl.engine.forward import unit_logits
from nlptl.engine.items import Item, collate
from nlptl.engine.optimise import build_optimizer, learning_rate_at, penalty, total_steps
from nlptl.engine.options import TrainingOptions
from nlptl.engine.progress import Progress
from nlptl.engine.runtime import Runtime
from nlptl.engine.sharding import gathered
from nlptl.errors import NlptlWarning, OptionError, TrainingError, did_you_mean, listing
from nlptl.metrics import LOWER_IS_BETTER

#: logits (units, labels), targets (units, …) -> the loss of each unit (units,)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: asked after each epoch: metrics of the rows held out, the first the one to watch
Validate = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class TrainingRows:
    """Rows with what is to be learnt of each: targets and weights one a unit."""

    items: Sequence[Item]
    targets: Sequence[npt.NDArray[Any]]
    weights: Sequence[npt.NDArray[np.float64]]


@dataclass
class Progressed:
    """How far a run is: all of it that is not a tensor."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    stale: int = 0
    losses: list[float] = field(default_factory=list)


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

    def run(self, *, resume: bool = False) -> list[dict[str, float]]:
        """Train to the end (or to where it stops early); returns the history, one entry an epoch."""
        if not self.runtime.spreads:
            self.runtime.place(self.plain)
        self.optimizer = build_optimizer(self.plain, self.options, self.peak, self.runtime.device)
        devices = [self.runtime.device] if self.runtime.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed * 1009 + self.runtime.rank)
            if self.checkpoints is not None:
                self._restore() if resume else self.runtime.on_main(self.checkpoints.clear)
            # Now that weights and optimiser are those of the checkpoint: spread ones are cut from them.
            self.model, self.optimizer = self.runtime.prepare(self.plain, self.optimizer)
            self.moved = self.runtime.bare(self.model)
            self._epochs()
        self.runtime.collect(self.model, self.plain)
        if self.best:
            self._load(self.best)
        self.plain.eval()
        return self.at.history

    def _epochs(self) -> None:
        rows = len(self.examples.items)
        epochs = self.total / self.a_pass
        with Progress(self.runtime, math.ceil(epochs * rows), "train") as progress:
            progress.step(min(self.at.step * self.options.batch_size, rows * math.ceil(epochs)))
            while self.at.step < self.total and not self._stop():
                self._epoch(self.at.step // self.a_pass, progress)

    def _epoch(self, number: int, progress: Progress) -> None:
        start = time.perf_counter()
        plan = training_plan(self.examples.items, self.options.batch_size, seed=self.seed, epoch=number)
        self.model.train()
        for rows in plan[self.at.step % self.a_pass :]:
            loss = self._step(rows)
            self.at.losses.append(loss)
            self.at.step += 1
            progress.step(len(rows), loss=loss, **self._last_metric())
            self.runtime.track({"loss": loss, "learning_rate": self._rate(self.at.step - 1)}, self.at.step)
            if self.at.step == self.total:
                break
        self._close_epoch(number, time.perf_counter() - start)

    def _step(self, rows: list[int]) -> float:
        """One optimiser step on one batch, whose loss is the mean over all its labelled units on all processes."""
        units = sum(float(self.examples.weights[row].sum()) for row in rows)
        parts = self._parts(rows)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.at.step)
        total = 0.0
        for n, (part, counts) in enumerate(parts, 1):
            with self.runtime.accumulating(self.model, last=n == len(parts)):
                loss = self._loss(part) * (self.runtime.world / max(units, 1e-12) if counts else 0.0)
                total += float(loss.detach()) / self.runtime.world
                if n == len(parts) and (extra := penalty(self.moved, self.options)) is not None:
                    loss = loss + extra
                self.runtime.backward(loss)
        total = self.runtime.total(total)
        if not math.isfinite(total):
            raise TrainingError(
                f"step {self.at.step + 1}: received a loss of {total} on rows {sorted(rows)[:32]}; expected a finite "
                "number; lower the learning rate, raise the warm-up, or use Compute(precision='fp32')"
            )
        if self.options.clip is not None:
            torch.nn.utils.clip_grad_norm_([p for p in self.moved.parameters() if p.requires_grad], self.options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _parts(self, rows: list[int]) -> list[tuple[list[int], bool]]:
        """This process's share of a batch, cut to the token budget; False marks parts that do not count.

        A process without a row of its own must still take part in the exchange of gradients, and where the model is
        spread, in every pass of the others.
        """
        runtime, items = self.runtime, self.examples.items
        shares = [
            list(micro_batches(rows[r :: runtime.world], items, runtime.batch_tokens)) for r in range(runtime.world)
        ]
        parts = [(part, True) for part in shares[runtime.rank]]
        passes = max(map(len, shares)) if runtime.spreads else 1
        return parts + [(rows[:1], False)] * (passes - len(parts))

    def _loss(self, part: list[int]) -> torch.Tensor:
        """The weighted sum of the loss over the units of some rows."""
        device = self.runtime.device
        batch = collate([self.examples.items[row] for row in part], self.pad_id).to(device)
        targets = torch.from_numpy(np.concatenate([self.examples.targets[row] for row in part])).to(device)
        weights = torch.from_numpy(np.concatenate([self.examples.weights[row] for row in part])).to(device)
        with self.runtime.arithmetic():
            logits = unit_logits(self.model, batch)
        return (self.loss(logits, targets) * weights.to(logits.dtype)).sum()

    def _last_metric(self) -> dict[str, float]:
        """The task's first metric at the last evaluation, for the bar."""
        last = self.at.history[-1] if self.at.history else {}
        return dict([entry for entry in last.items() if entry[0].startswith("eval_")][:1])

    def _rate(self, step: int) -> float:
        return learning_rate_at(step, self.total, self.options, self.peak)

    def _close_epoch(self, number: int, seconds: float) -> None:
        entry: dict[str, float] = {
            "epoch": round(self.at.step / self.a_pass, 4),
            "step": self.at.step,
            "loss": float(np.mean(self.at.losses)),
            "learning_rate": self._rate(self.at.step - 1),
            "rows_per_second": round(len(self.at.losses) * self.options.batch_size / max(seconds, 1e-9), 1),
        }
        self.at.losses = []
        self.runtime.collect(self.model, self.plain)
        if self.validate is not None:
            self.model.eval()
            # One process decides for all: an early stop must be the same everywhere.
            metrics = self.runtime.from_main(self.validate())
            self.runtime.set_aside(self.plain)
            self._watch(metrics)
            entry |= {f"eval_{name}": value for name, value in metrics.items()}
            self.runtime.track({k: v for k, v in entry.items() if k.startswith("eval_")}, self.at.step)
        self.at.history.append(entry)
        if self.checkpoints is not None:
            checkpoints, snapshot = self.checkpoints, self._snapshot()
            self.runtime.on_main(lambda: checkpoints.write(self.at.step, snapshot))

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
            self.best = {n: p.detach().cpu().clone() for n, p in self._learning()}
        else:
            self.at.stale += 1

    def _stop(self) -> bool:
        return self.options.patience is not None and self.at.stale >= self.options.patience

    def _learning(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, p) for name, p in self.plain.named_parameters() if p.requires_grad]

    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, p in self._learning():
                p.copy_(weights[name])

    def _snapshot(self) -> Checkpoint:
        tensors = {f"weight.{name}": p for name, p in self._learning()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": gathered(torch.as_tensor(value)) for key, value in state.items()}
        tensors["rng"] = torch.get_rng_state()
        if self.runtime.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.runtime.device)
        return Checkpoint(tensors, dict(vars(self.at)))

    def _restore(self) -> None:
        found = self.checkpoints.latest() if self.checkpoints is not None else None
        if found is None:
            folder = None if self.checkpoints is None else self.checkpoints.folder
            warnings.warn(f"resume: no whole checkpoint in {folder}; starting afresh", NlptlWarning, stacklevel=2)
            return
        self.at = Progressed(**found.state)
        self._load(_under("weight.", found.tensors))
        self.best = _under("best.", found.tensors)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under("optimizer.", found.tensors).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        torch.set_rng_state(found.tensors["rng"])
        if "rng.cuda" in found.tensors and self.runtime.device.type == "cuda":
            torch.cuda.set_rng_state(found.tensors["rng.cuda"], self.runtime.device)


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
