"""What a run needs to go on as if it had never stopped: tensors in safetensors, numbers in JSON, nothing pickled."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nlptl.errors import TrainingError

STEP_FOLDER = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a run."""

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in one folder; the newest ones are kept.

    A checkpoint is written aside, flushed to the disk and renamed, so that a folder named ``step-…`` is a whole one.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], keep: int = 2) -> None:
        self.folder = folder
        self.recipe = json.loads(json.dumps(recipe, sort_keys=True, default=str))
        self.keep = keep

    def write(self, step: int, checkpoint: Checkpoint) -> None:
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".step-{step}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        save_file(tensors, str(aside / "state.safetensors"))
        digest = hashlib.sha256((aside / "state.safetensors").read_bytes()).hexdigest()
        document = {"recipe": self.recipe, "state": checkpoint.state, "sha256": digest}
        (aside / "state.json").write_text(json.dumps(document), encoding="utf-8")
        for path in aside.iterdir():
            flush(path)
        os.replace(aside, self.folder / f"step-{step}")
        flush(self.folder)
        for _, old in self._steps()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def clear(self) -> None:
        """A run from the start has no use for the checkpoints of another; nothing else in the folder is touched."""
        for _, old in self._steps():
            shutil.rmtree(old)

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint of this recipe; None where there is none."""
        from safetensors.torch import load_file

        for step, folder in reversed(self._steps()):
            try:
                document = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                whole = hashlib.sha256((folder / "state.safetensors").read_bytes()).hexdigest() == document["sha256"]
            except (OSError, ValueError, KeyError):
                whole = False
            if not whole:
                continue  # truncated or altered: the one before it serves
            self._same_recipe(step, document["recipe"])
            return Checkpoint(load_file(str(folder / "state.safetensors")), document["state"])
        return None

    def _same_recipe(self, step: int, recipe: Mapping[str, Any]) -> None:
        differing = [
            f"{key} was {recipe.get(key)!r} and is {self.recipe.get(key)!r}"
            for key in sorted({*recipe, *self.recipe})
            if recipe.get(key) != self.recipe.get(key)
        ]
        if differing:
            raise TrainingError(
                f"fit(resume=True): received a checkpoint (step {step}) of another run in {self.folder}: "
                f"{'; '.join(differing)}; expected the same recipe and data; give the same ones, another run_dir, or "
                "resume=False to start afresh"
            )

    def _steps(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        found = [(STEP_FOLDER.fullmatch(p.name), p) for p in self.folder.iterdir() if (p / "state.json").is_file()]
        return sorted((int(m.group(1)), p) for m, p in found if m)


def flush(path: Path) -> None:
    """See a file, or the names in a folder, safely on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
