"""The machine under a run: devices, precision, processes. The only module that imports accelerate."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from nlptl.engine import sharding
from nlptl.engine.activations import checkpoint_activations
from nlptl.engine.batching import DEFAULT_BATCH_TOKENS
from nlptl.engine.compute import Compute
from nlptl.engine.hardware import fastest, named_device
from nlptl.engine.launcher import Launch, launched, warn_if_left_alone, warn_of_threads
from nlptl.engine.store import Cache
from nlptl.errors import MissingExtraError, OptionError, TrainingError, did_you_mean, listing

T = TypeVar("T")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: What torch's backends say when a process on the other side is no more.
LOST = ("closed by peer", "connection reset", "broken pipe", "connection refused", "timed out", "nccl", "gloo")


class Runtime:
    """One process's view of the machine that a job runs on.

    Accelerate is given no precision: it takes one a process and refuses a second, and a notebook may well train in one
    and predict in another. The autocast is ours instead.
    """

    def __init__(self, compute: Compute, *, logs: Path | None = None) -> None:
        from accelerate import Accelerator

        if compute.trackers and logs is None:
            raise OptionError(
                f"Compute(trackers={compute.trackers!r}): received no folder for their logs; expected "
                "fit(…, run_dir=…) with it; name a run_dir, or leave the trackers out."
            )
        _check_trackers(compute.trackers)
        self.compute = compute
        self.launch = launched()
        warn_if_left_alone()
        if self.launch.sharding:
            from accelerate.utils import disable_fsdp_ram_efficient_loading

            # transformers would otherwise open checkpoints without their weights on all processes but the first.
            disable_fsdp_ram_efficient_loading()
        with self._together():
            self.accelerator = Accelerator(
                cpu=compute.device == "cpu" or _launched_on_cpus(self.launch),
                mixed_precision="no",
                log_with=list(compute.trackers) or None,
                project_dir=None if logs is None else str(logs),
            )
        self.shares = True
        self.device = self._device()
        self.precision, self.precision_by = self._precision()
        self.batch_tokens = self._batch_tokens()
        self.cache = Cache(compute)
        if self.device.type == "cpu":
            warn_of_threads(self.launch, torch.get_num_threads())

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes) if self.shares else 1

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index) if self.shares else 0

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def spreads(self) -> bool:
        """Whether weights that learn are spread over the processes instead of held by each."""
        return self.launch.sharding is not None and self.shares and torch.distributed.is_initialized()

    @property
    def checkpoints_activations(self) -> bool:
        by_launcher = self.launch.sharding is not None and self.launch.sharding.checkpointing
        return self.compute.gradient_checkpointing or by_launcher

    def alone(self) -> Runtime:
        """The same machine without the other processes: for what one of them does while the others wait."""
        solo = copy.copy(self)
        solo.shares = False
        return solo

    def describe(self) -> dict[str, str]:
        """What was chosen, and who chose it, for the record."""
        by = {
            "device": "Compute" if self.compute.device != "auto" else "the hardware",
            "precision": self.precision_by,
            "batch_tokens": "Compute" if self.compute.batch_tokens != "auto" else "the hardware",
        }
        told = {
            "device": str(self.device),
            "precision": self.precision,
            "processes": str(self.world),
            "threads": str(torch.get_num_threads()),
            "batch_tokens": str(self.batch_tokens),
            "cache": self.cache.told(),
            "chosen_by": ", ".join(f"{name}: {who}" for name, who in by.items()),
        }
        if self.spreads:
            told["sharding"] = f"FSDP2 over {self.world} processes"
        if self.checkpoints_activations:
            told["gradient_checkpointing"] = "on"
        return told

    @contextlib.contextmanager
    def arithmetic(self) -> Iterator[None]:
        """The autocast of the chosen precision; nothing for fp32."""
        if self.precision == "fp32":
            yield
            return
        with torch.autocast(self.device.type, dtype=DTYPES[self.precision]):
            yield

    def place(self, model: Any) -> Any:
        """A model on the device, without wrapping it for training."""
        return model.to(self.device)

    def prepare(self, model: Any, optimizer: Any) -> tuple[Any, Any]:
        """A model and its optimiser ready for one or many processes."""
        if self.checkpoints_activations:
            checkpoint_activations(model)
        with self._together():
            if self.spreads and self.launch.sharding is not None:
                return sharding.shard(model, optimizer, self.device, self.world, self.launch.sharding), optimizer
            # The model stands on its device already; the one that the user named need not be the launcher's.
            prepared: tuple[Any, Any] = self.accelerator.prepare(model, optimizer, device_placement=[False, False])
        return prepared

    def bare(self, model: Any) -> Any:
        """The module inside a prepared one: its weights are those that the optimiser moves."""
        return model if self.spreads else self.accelerator.unwrap_model(model)

    def collect(self, model: Any, whole: Any) -> None:
        """The weights of a prepared model in the one it was made of; every process must take part."""
        if self.spreads:
            with self._together():
                sharding.fill(whole.to("cpu"), model)

    def spread(self, whole: Any, model: Any, optimizer: Any) -> None:
        """The other way round, with an optimiser's state that is whole; every process must take part."""
        if self.spreads:
            with self._together():
                sharding.spread(whole, model, optimizer)

    def set_aside(self, whole: Any) -> None:
        """Off the device, where it is spread there: a model that has predicted makes room for training again."""
        if self.spreads:
            whole.to("cpu")

    def backward(self, loss: torch.Tensor) -> None:
        with self._together():
            self.accelerator.backward(loss)

    def accumulating(self, model: Any, last: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients are exchanged between processes at the last part of a batch only.

        Spread ones are exchanged at every part: to keep them whole until the last is what there is no memory for.
        """
        if last or self.world == 1 or self.spreads:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[None] = self.accelerator.no_sync(model)
        return context

    def mine(self, rows: list[T]) -> list[T]:
        """This process's share of a list that every process knows."""
        return rows[self.rank :: self.world]

    def merge(self, mine: list[tuple[int, T]]) -> list[T]:
        """The shares of every process, put together by their numbers."""
        if self.world > 1:
            from accelerate.utils import gather_object

            with self._together():
                mine = gather_object(mine)
        return [value for _, value in sorted(mine, key=lambda pair: pair[0])]

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        with self._together():
            return float(self.accelerator.reduce(tensor, reduction="sum"))

    def from_main(self, value: T) -> T:
        """What the main process has, on every process."""
        if self.world == 1:
            return value
        from accelerate.utils import broadcast_object_list

        with self._together():
            agreed: list[T] = broadcast_object_list([value])
        return agreed[0]

    def on_main(self, work: Callable[[], Any]) -> None:
        """Done by the main process while the others wait; an error there ends them all, with its message."""
        error: Exception | None = None
        if self.is_main:
            try:
                work()
            except Exception as caught:  # told to the others first, and raised below
                error = caught
        said = self.from_main(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        if said is not None:
            raise TrainingError(
                f"process {self.rank} of {self.world}: received an error from the main process ({said}); expected "
                "none; mend it there"
            )

    def wait(self) -> None:
        with self._together():
            self.accelerator.wait_for_everyone()

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """What several processes do at once: one that is no more is told in a line."""
        try:
            yield
        except RuntimeError as error:
            if self.launch.world == 1 or not any(word in str(error).lower() for word in LOST):
                raise
            raise TrainingError(
                f"one of {self.launch.world} processes: received no answer from another one, which has ended or cannot "
                f"be reached ({str(error).splitlines()[0][:200]}); expected all of them to the end; see what that one "
                "said, here or in its own log"
            ) from error

    def start_trackers(self, config: dict[str, Any]) -> None:
        if self.compute.trackers:
            self.accelerator.init_trackers("nlptl", config=config)

    def track(self, values: dict[str, float], step: int) -> None:
        if self.compute.trackers:
            self.accelerator.log(values, step=step)

    def end_trackers(self) -> None:
        # Accelerator.end_training would part the processes as well, which still have to evaluate and to save.
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def _device(self) -> torch.device:
        if self.compute.device == "auto":
            return torch.device(self.accelerator.device)
        return named_device(self.compute.device, self.world)

    def _precision(self) -> tuple[str, str]:
        """The precision, and who chose it: the user before the launcher, the launcher before the hardware."""
        wanted, by = self.compute.precision, "Compute"
        if wanted == "auto":
            wanted, by = self.launch.precision or "auto", "ACCELERATE_MIXED_PRECISION"
        if wanted == "fp16" and self.device.type != "cuda":
            raise OptionError(
                f"precision, by {by}: received 'fp16' on {self.device.type}; expected a CUDA device for it; "
                "use 'bf16' or 'fp32' there."
            )
        return (fastest(self.device), "the hardware") if wanted == "auto" else (wanted, by)

    def _batch_tokens(self) -> int:
        if isinstance(self.compute.batch_tokens, int):
            return self.compute.batch_tokens
        if self.device.type == "cuda":
            return 32 * DEFAULT_BATCH_TOKENS
        return DEFAULT_BATCH_TOKENS if self.precision == "fp32" else 2 * DEFAULT_BATCH_TOKENS


def _launched_on_cpus(launch: Launch) -> bool:
    """Whether a launcher started several processes where they can only use CPUs.

    Accelerate, told nothing, would leave each of them alone: as many separate runs, all writing to one folder.
    """
    return launch.world > 1 and not (torch.cuda.is_available() or torch.xpu.is_available())


def _check_trackers(names: tuple[str, ...]) -> None:
    """Known and installed: Accelerate itself would go on without one that is not there."""
    if not names:
        return
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    known = [str(kind) for kind in LoggerType if str(kind) != "all"]
    there = {str(kind) for kind in get_available_trackers()}
    for name in names:
        if name not in known:
            raise OptionError(
                f"Compute(trackers=…): received {name!r}; expected names among {listing(known)}; correct it."
                f"{did_you_mean(name, known)}"
            )
        if name not in there:
            raise MissingExtraError(
                f"Compute(trackers=…): received {name!r}, whose package is not installed; expected it; "
                f"install it (pip install {name}), or leave it out"
            )
