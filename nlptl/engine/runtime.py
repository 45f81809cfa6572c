"""The machine under a run: devices, precision, processes. The only module that imports accelerate."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from nlptl.engine.batching import DEFAULT_BATCH_TOKENS
from nlptl.engine.compute import Compute
from nlptl.engine.store import Cache
from nlptl.errors import MissingExtraError, OptionError, did_you_mean, listing

T = TypeVar("T")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
        self.accelerator = Accelerator(
            cpu=compute.device == "cpu" or _launched_on_cpus(),
            mixed_precision="no",
            log_with=list(compute.trackers) or None,
            project_dir=None if logs is None else str(logs),
        )
        self.shares = True
        self.device = self._device()
        self.precision = self._precision()
        self.batch_tokens = self._batch_tokens()
        self.cache = Cache(compute)

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes) if self.shares else 1

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index) if self.shares else 0

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def alone(self) -> Runtime:
        """The same machine without the other processes: for what one of them does while the others wait."""
        solo = copy.copy(self)
        solo.shares = False
        return solo

    def describe(self) -> dict[str, str]:
        """What was chosen, for the record."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "processes": str(self.world),
            "threads": str(torch.get_num_threads()),
            "batch_tokens": str(self.batch_tokens),
            "cache": self.cache.told(),
        }

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
        # The model stands on its device already; the one that the user named need not be the launcher's.
        prepared: tuple[Any, Any] = self.accelerator.prepare(model, optimizer, device_placement=[False, False])
        return prepared

    def backward(self, loss: torch.Tensor) -> None:
        self.accelerator.backward(loss)

    def accumulating(self, model: Any, last: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients are exchanged between processes at the last part of a batch only."""
        if last or self.world == 1:
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

            mine = gather_object(mine)
        return [value for _, value in sorted(mine, key=lambda pair: pair[0])]

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        return float(self.accelerator.reduce(tensor, reduction="sum"))

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def start_trackers(self, config: dict[str, Any]) -> None:
        if self.compute.trackers:
            self.accelerator.init_trackers("nlptl", config=config)

    def track(self, values: dict[str, float], step: int) -> None:
        if self.compute.trackers:
            self.accelerator.log(values, step=step)

    def end_trackers(self) -> None:
        if self.compute.trackers:
            self.accelerator.end_training()

    def _device(self) -> torch.device:
        wanted = self.compute.device
        if wanted == "auto":
            return torch.device(self.accelerator.device)
        kind = wanted.split(":")[0]
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[kind]
        if not there:
            raise OptionError(
                f"Compute(device=…): received {wanted!r}, which this machine or this build of torch does not have; "
                "expected a device that is there; leave it at 'auto', or use 'cpu'."
            )
        return torch.device(wanted)

    def _precision(self) -> str:
        wanted = self.compute.precision
        if wanted == "fp16" and self.device.type != "cuda":
            raise OptionError(
                f"Compute(precision=…): received 'fp16' on {self.device.type}; expected a CUDA device for it; "
                "use 'bf16' or 'fp32' there."
            )
        return self._fastest() if wanted == "auto" else wanted

    def _fastest(self) -> str:
        """bf16 where the hardware multiplies it; where it is emulated, fp32 is the faster one."""
        if self.device.type == "cuda":
            return "bf16" if torch.cuda.get_device_capability(self.device)[0] >= 8 else "fp32"
        if self.device.type == "cpu" and _cpu_multiplies_bf16():
            return "bf16"
        return "fp32"

    def _batch_tokens(self) -> int:
        if isinstance(self.compute.batch_tokens, int):
            return self.compute.batch_tokens
        return DEFAULT_BATCH_TOKENS if self.device.type != "cuda" else 16 * DEFAULT_BATCH_TOKENS


def _launched_on_cpus() -> bool:
    """Whether a launcher started several processes where they can only use CPUs.

    Accelerate, told nothing, would leave each of them alone: as many separate runs, all writing to one folder.
    """
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and not (torch.cuda.is_available() or torch.xpu.is_available())


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


def _cpu_multiplies_bf16() -> bool:
    """AMX or AVX512-BF16; the probe is private in torch, so its absence means no."""
    probes = (getattr(torch.cpu, "_is_amx_tile_supported", None), getattr(torch.cpu, "_is_avx512_bf16_supported", None))
    return any(bool(probe()) for probe in probes if probe is not None)
