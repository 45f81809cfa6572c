"""A training run as a process of its own, slow enough to be killed in the middle: what the kill tests start.

    python tests/faults/runner.py FOLDER [--resume] …          alone
    torchrun --nproc-per-node 2 tests/faults/runner.py FOLDER  two

It writes what it learnt into FOLDER/final.safetensors, and FOLDER/final.json: the world's size, the step that it went
on from, the history.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nlptl import Compute, FullTuning, Learner, LoRA
from nlptl.engine import checkpoint
from nlptl.engine.train import Training
from tests.kit.rows import POLARITIES, TEXTS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--mode", default="full")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--every", type=int, default=2, help="steps between checkpoints")
    parser.add_argument("--nap", type=float, default=0.01, help="seconds a step waits, so that it can be killed")
    parser.add_argument("--slow-disk", type=float, default=0.0, help="seconds a flush to the disk takes")
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    started = slowed(given.nap, given.slow_disk)
    learner = fitted(given)
    if int(os.environ.get("RANK", "0")) == 0:
        weights = dict(learner._known.fitted.model.named_parameters())
        save_file({name: w.detach().contiguous().clone() for name, w in weights.items()}, given.folder / "final.safetensors")
        told = {
            "world": learner.record_["choices"]["processes"],
            "first_step": started[0] if started else None,
            "steps": len(started),
            "losses": [entry["loss"] for entry in learner.history_],
        }
        (given.folder / "final.json").write_text(json.dumps(told))


def fitted(given: argparse.Namespace) -> Learner:
    options: dict[str, Any] = {"epochs": given.epochs, "batch_size": 3, "dropout": 0.2, "checkpoint_steps": given.every}
    mode = FullTuning(**options) if given.mode == "full" else LoRA(lora_dropout=0.2, **options)
    learner = Learner(given.backbone, mode=mode, compute=Compute(device="cpu", precision="fp32"))
    held = ([f"{text} indeed" for text in TEXTS[:4]], POLARITIES[:4]) if given.evaluate else None
    return learner.fit(TEXTS, POLARITIES, eval=held, run_dir=given.folder / "run", resume=given.resume)


def slowed(nap: float, slow_disk: float) -> list[int]:
    """The steps that are taken, as they are; each waits a little, and so does the disk."""
    taken: list[int] = []
    step, flush = Training._step, checkpoint.flush

    def napping(self: Training, rows: list[int]) -> float:
        time.sleep(nap)
        taken.append(self.at.step)
        return step(self, rows)

    def slow(path: Path) -> None:
        time.sleep(slow_disk)
        flush(path)

    Training._step = napping  # type: ignore[method-assign]
    checkpoint.flush = slow
    return taken


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
