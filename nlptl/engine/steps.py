"""One step of the optimiser: the gradients of a batch in parts that fit, over all processes, and what can go wrong."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nlptl.engine.agreement import Agreement, average_gradients, last_good, others_alive
from nlptl.engine.batching import micro_batches
from nlptl.engine.forward import unit_logits
from nlptl.engine.items import Item, collate
from nlptl.engine.memory import is_out_of_memory, release, smaller_budget
from nlptl.engine.optimise import penalty
from nlptl.engine.options import TrainingOptions
from nlptl.engine.runtime import Runtime
from nlptl.engine.scaling import LossScale
from nlptl.errors import NlptlWarning, TrainingError

#: logits (units, labels), targets (units, …) -> the loss of each unit (units,)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TrainingRows:
    """Rows with what is to be learnt of each: targets and weights one a unit."""

    items: Sequence[Item]
    targets: Sequence[npt.NDArray[Any]]
    weights: Sequence[npt.NDArray[np.float64]]
    #: the number that each row has where the user has it, and the name of that place
    numbers: Sequence[int] | None = None
    source: str = "the training rows"

    def told(self, rows: Sequence[int]) -> str:
        """Some rows as an error message names them."""
        numbers = sorted(rows if self.numbers is None else (self.numbers[row] for row in rows))
        more = f" and {len(numbers) - 32} more" if len(numbers) > 32 else ""
        return f"rows {numbers[:32]}{more} of {self.source}"


class Steps:
    """Takes one step after another, each on one batch whose loss is the mean over all its labelled units.

    Every draw of a step (dropout) is a pure function of the seed, the step, the process and the part of the batch: no
    random state needs to be kept, and a run that goes on draws what it would have drawn.
    """

    def __init__(
        self,
        plain: Any,
        model: Any,
        optimizer: Any,
        examples: TrainingRows,
        loss: Loss,
        options: TrainingOptions,
        runtime: Runtime,
        agreement: Agreement,
        *,
        seed: int,
        pad_id: int,
    ) -> None:
        self.plain, self.model, self.optimizer = plain, model, optimizer
        self.examples, self.loss, self.options, self.runtime = examples, loss, options, runtime
        self.agreement, self.seed, self.pad_id = agreement, seed, pad_id
        self.batch_tokens = runtime.batch_tokens
        self.scale = LossScale(runtime)
        #: DDP's own exchange begins within the backward pass, where a process that runs out of memory would leave the
        #: others waiting; a sharded model knows no other.
        self.exchanges = isinstance(model, torch.nn.parallel.DistributedDataParallel)
        if self.exchanges:
            model.broadcast_buffers = False  # another exchange within a pass; nothing here has buffers that change
        self.learning = [p for p in plain.parameters() if p.requires_grad]

    def take(self, rows: list[int], step: int, rate: float) -> float:
        """One step of the optimiser; returns the loss, over all processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradients(rows, step)
        if self.exchanges:
            with others_alive(step, self.agreement.checkpoints):
                average_gradients(self.learning, self.runtime)
        self.scale.unscale(self.optimizer)
        norm = None if self.options.clip is None else torch.nn.utils.clip_grad_norm_(self.learning, self.options.clip)
        value = self._checked(loss, norm, rows, step)
        self.scale.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _gradients(self, rows: list[int], step: int) -> torch.Tensor:
        """The gradients of a batch, in smaller parts from the moment on that one process runs out of memory."""
        while True:
            loss, failed = self._attempt(rows, step)
            loss, failed = self.agreement.settle(loss, failed, step)
            if not failed:
                return loss
            self.optimizer.zero_grad(set_to_none=True)
            release(self.runtime.device)
            self._cut_smaller(rows, step)

    def _attempt(self, rows: list[int], step: int) -> tuple[torch.Tensor, bool]:
        try:
            return self._accumulate(rows, step), False
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return torch.zeros((), device=self.runtime.device), True

    def _accumulate(self, rows: list[int], step: int) -> torch.Tensor:
        """Gradients of this process's share of a batch, part by part; returns its loss, times the processes."""
        mine = self.runtime.mine(rows)
        units = sum(float(self.examples.weights[row].sum()) for row in rows)
        # A process without a row of its own still needs gradients of nought, for the exchange.
        parts = list(micro_batches(mine or rows[:1], self.examples.items, self.batch_tokens))
        losses = []
        for n, part in enumerate(parts):
            torch.manual_seed(drawn_from(self.seed, step, self.runtime.rank, n))
            last = n == len(parts) - 1
            with self.runtime.accumulating(self.model, last=last and not self.exchanges):
                loss = self._loss(part) * (self.runtime.world / max(units, 1e-12) if mine else 0.0)
                losses.append(loss.detach())
                if last and (extra := penalty(self.plain, self.options)) is not None:
                    loss = loss + extra
                self.runtime.backward(self.scale.scaled(loss))
        return torch.stack(losses).sum()

    def _loss(self, part: list[int]) -> torch.Tensor:
        """The weighted sum of the loss over the units of some rows."""
        device = self.runtime.device
        batch = collate([self.examples.items[row] for row in part], self.pad_id).to(device)
        targets = torch.from_numpy(np.concatenate([self.examples.targets[row] for row in part])).to(device)
        weights = torch.from_numpy(np.concatenate([self.examples.weights[row] for row in part])).to(device)
        with self.runtime.arithmetic():
            logits = unit_logits(self.model, batch)
        return (self.loss(logits, targets) * weights.to(logits.dtype)).sum()

    def _cut_smaller(self, rows: list[int], step: int) -> None:
        """Halve what a part may weigh. Every process knows every share, and so comes to the same number."""
        shares = [rows[rank :: self.runtime.world] for rank in range(self.runtime.world)]
        parts = [part for mine in shares for part in micro_batches(mine, self.examples.items, self.batch_tokens)]
        former, where = self.batch_tokens, f"step {step + 1}, out of memory"
        self.batch_tokens = smaller_budget(parts, self.examples.items, where)
        if self.runtime.is_main:
            warnings.warn(
                f"{where}: from here on at most {self.batch_tokens} padded tokens a part (batch_tokens was {former}); "
                f"an optimiser step keeps its {self.options.batch_size} rows, in more parts",
                NlptlWarning,
                stacklevel=2,
            )

    def _checked(self, loss: torch.Tensor, norm: torch.Tensor | None, rows: list[int], step: int) -> float:
        """The loss as a number; nothing is learnt of one that is none, or of such gradients."""
        value = float(loss)
        wrong = None if math.isfinite(value) else f"a loss of {value}"
        if wrong is None and norm is not None and not math.isfinite(float(norm)) and not self.scale.may_overflow:
            wrong = f"gradients of norm {float(norm)}"
        if wrong is not None:
            raise TrainingError(
                f"step {step + 1}: received {wrong} on {self.examples.told(rows)}; expected a finite number; lower the "
                "learning rate, raise the warm-up, or use Compute(precision='fp32')"
                f".{last_good(self.agreement.checkpoints)}"
            )
        return value


def drawn_from(seed: int, step: int, rank: int, part: int) -> int:
    """The seed of all that is drawn in one part of one step on one process."""
    text = f"{int(seed)} {step} {rank} {part}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
