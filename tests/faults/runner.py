"""A training run as a process of its own, slow enough to be killed in the middle: what the kill tests start.

    python tests/faults/runner.py '{"folder": "…", "backbone": "…"}'
    torchrun --nproc-per-node 2 tests/faults/runner.py '{"folder": "…", "backbone": "…"}'

It writes what it learnt into ``final.safetensors``, and into ``final.json`` the world's size, the steps it took and the
history.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nlptl import Compute, FullTuning, Learner, LoRA
from nlptl.engine import checkpoint
from nlptl.engine.train import Training
from tests.kit.rows import POLARITIES, TEXTS


@dataclass(frozen=True)
class Run:
    """What is to be run, and how slowly.

    Parameters
    ----------
    every : steps between checkpoints
    nap : seconds that a step waits, so that there is a middle to be killed in
    slow_disk : seconds that each flush to the disk waits
    largest_file : bytes that a file may have, as on a disk that is full
    out_of_memory : (rank, padded tokens): there, a forward pass of more raises what CUDA would
    fails_at : (rank, step): there, the process raises an error of its own
    """

    folder: str
    backbone: str
    mode: str = "full"
    epochs: int = 8
    every: int | None = 2
    nap: float = 0.01
    slow_disk: float = 0.0
    dropout: float = 0.2
    batch_size: int = 3
    evaluate: bool = False
    resume: bool = False
    save: bool = False
    largest_file: int | None = None
    out_of_memory: tuple[int, int] | None = None
    fails_at: tuple[int, int] | None = None
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def run_dir(self) -> Path:
        return Path(self.folder) / "run"

    def again(self, **changes: Any) -> Run:
        return replace(self, resume=True, **changes)

    def learner(self) -> Learner:
        options: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "dropout": self.dropout,
            "learning_rate": 1e-3,
            "checkpoint_steps": self.every,
            **dict(self.options),
        }
        mode = FullTuning(**options) if self.mode == "full" else LoRA(lora_dropout=self.dropout, **options)
        return Learner(self.backbone, mode=mode, compute=Compute(device="cpu", precision="fp32", progress=False))


def perform(run: Run, progress: Any = None) -> None:
    """Train, and write what came of it; `progress` is told each step's number before it is taken."""
    torch.set_num_threads(1)
    if run.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (run.largest_file, run.largest_file))
    taken = _slowed(run, progress)
    held = ([f"{text} indeed" for text in TEXTS[:4]], POLARITIES[:4]) if run.evaluate else None
    learner = run.learner().fit(TEXTS, POLARITIES, eval=held, run_dir=run.run_dir, resume=run.resume)
    if run.save:
        learner.save(Path(run.folder) / "model")
    if _rank() == 0:
        _write(learner, taken, Path(run.folder))


def _write(learner: Learner, taken: list[int], folder: Path) -> None:
    weights = dict(learner._known.fitted.model.named_parameters())  # type: ignore[attr-defined]
    save_file({name: w.detach().contiguous().clone() for name, w in weights.items()}, folder / "final.safetensors")
    told = {
        "world": learner.record_["choices"]["processes"],
        "batch_tokens": learner.record_["choices"]["batch_tokens"],
        "steps": taken,
        "losses": [entry["loss"] for entry in learner.history_],
    }
    (folder / "final.json").write_text(json.dumps(told))


def _slowed(run: Run, progress: Any) -> list[int]:
    """The numbers of the steps, as they are taken; each waits a little, and so does the disk."""
    taken: list[int] = []
    step, flush = Training._step, checkpoint.flush

    def slow_step(self: Training, rows: list[int]) -> float:
        time.sleep(run.nap)
        taken.append(self.at.step)
        if progress is not None:
            progress.value = self.at.step
        if run.fails_at == (_rank(), self.at.step):
            raise ValueError("this process has had enough")
        if run.out_of_memory is not None and self.at.step == taken[0] and len(taken) == 1:
            limit_memory(self.plain, run.out_of_memory)
        return step(self, rows)

    def slow_flush(path: Path) -> None:
        time.sleep(run.slow_disk)
        flush(path)

    Training._step = slow_step  # type: ignore[method-assign]
    checkpoint.flush = slow_flush
    return taken


def limit_memory(model: Any, limit: tuple[int, int]) -> Any:
    """Make a model raise on one rank what CUDA would, on forward passes of more padded tokens; returns the hook."""
    rank, tokens = limit

    def refuse(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if _rank() == rank and kwargs["input_ids"].numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    return model.register_forward_pre_hook(refuse, with_kwargs=True)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def as_words(run: Run) -> str:
    """A run as the one argument of this script."""
    return json.dumps(asdict(run))


if __name__ == "__main__":
    perform(Run(**json.loads(sys.argv[1])))
