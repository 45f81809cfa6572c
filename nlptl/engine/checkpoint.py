"""What a run needs to go on as if it had never stopped: tensors in safetensors, numbers in JSON, nothing pickled."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nlptl.errors import NlptlWarning, TrainingError

#: Of the folder's layout and of what stands in its files; a newer one is refused, not guessed at.
FORMAT = 2

TENSORS, STATE, SUMS = "state.safetensors", "state.json", "SHA256SUMS"
STEP_FOLDER = re.compile(r"step-(\d+)")
UNFINISHED = re.compile(r"\.step-\d+\.tmp")


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a run."""

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


class Damaged(Exception):
    """A checkpoint that cannot be trusted, and why."""


class Checkpoints:
    """The checkpoints of one run, in one folder; the newest ones are kept.

    A checkpoint is written aside, flushed to the disk and renamed, so that a folder named ``step-…`` is a whole one.
    ``SHA256SUMS`` in it, which ``sha256sum --check`` reads as well, tells whether it still is.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], keep: int = 2) -> None:
        self.folder = folder
        self.recipe = json.loads(json.dumps(recipe, sort_keys=True, default=str))
        self.keep = keep

    def write(self, step: int, checkpoint: Checkpoint) -> Path:
        """Write one, and remove what is then too old, or of a later step: what this run went back behind."""
        from safetensors import SafetensorError

        aside, place = self.folder / f".step-{step}.tmp", self.folder / f"step-{step}"
        try:
            self._write_aside(aside, checkpoint)
            if place.exists():
                shutil.rmtree(place)  # damaged, or this run would not have come by again
            os.replace(aside, place)
            flush(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise TrainingError(self._unwritten(step, checkpoint, error)) from error
        found = self._steps()
        known = [number for number, _ in found if number <= step][-self.keep :]
        for number, old in found:
            if number not in known:
                shutil.rmtree(old, ignore_errors=True)
        return place

    def clear(self) -> None:
        """A run from the start has no use for the checkpoints of another; nothing else in the folder is touched."""
        self.tidy()
        for _, old in self._steps():
            shutil.rmtree(old)

    def tidy(self) -> None:
        """Remove what a killed process left half written."""
        if self.folder.is_dir():
            for path in [p for p in self.folder.iterdir() if UNFINISHED.fullmatch(p.name)]:
                shutil.rmtree(path, ignore_errors=True)

    def latest(self, *, tell: bool = True) -> Checkpoint | None:
        """The newest whole checkpoint of this recipe; None without one. Damaged ones are passed by, and told."""
        for _, folder in reversed(self._steps()):
            try:
                return self._read(folder)
            except Damaged as reason:
                if tell:
                    warnings.warn(
                        f"resume: {folder} is damaged ({reason}); going back to the checkpoint before it",
                        NlptlWarning,
                        stacklevel=2,
                    )
        return None

    def newest(self) -> Path | None:
        """The folder of the newest checkpoint, for a message."""
        steps = self._steps()
        return steps[-1][1] if steps else None

    def _write_aside(self, aside: Path, checkpoint: Checkpoint) -> None:
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        save_file(tensors, str(aside / TENSORS))
        document = {"format": FORMAT, "recipe": self.recipe, "state": checkpoint.state}
        (aside / STATE).write_text(json.dumps(document), encoding="utf-8")
        sums = "".join(f"{_sha256(aside / name)}  {name}\n" for name in (STATE, TENSORS))
        (aside / SUMS).write_text(sums, encoding="utf-8")
        for path in aside.iterdir():
            flush(path)
        flush(aside)

    def _unwritten(self, step: int, checkpoint: Checkpoint, error: Exception) -> str:
        size = sum(t.numel() * t.element_size() for t in checkpoint.tensors.values()) / 1e6
        former = self.newest()
        kept = "there is none before it" if former is None else f"the one before it, {former}, is whole"
        remedy = "start again" if former is None else "go on from there with resume=True"
        return (
            f"checkpoint of step {step}: received '{getattr(error, 'strerror', None) or error}' while writing it in "
            f"{self.folder}; expected a place with room for {size:.1f} MB; {kept}: make room there, and {remedy}"
        )

    def _read(self, folder: Path) -> Checkpoint:
        """One checkpoint, every byte of it checked before any of it is believed."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            _check_sums(folder)
            document = json.loads((folder / STATE).read_text(encoding="utf-8"))
            self._same_format(folder, document["format"])
            self._same_recipe(folder, document["recipe"])
            return Checkpoint(load_file(str(folder / TENSORS)), document["state"])
        except FileNotFoundError as error:
            raise Damaged(f"{Path(str(error.filename)).name} is missing") from None
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise Damaged(str(error)) from None

    def _same_format(self, folder: Path, found: int) -> None:
        if found != FORMAT:
            age = "a newer" if found > FORMAT else "an older"
            raise TrainingError(
                f"fit(resume=True): received {folder}, a checkpoint of format {found}, which {age} nlptl wrote; "
                f"expected format {FORMAT}; go on with the nlptl that wrote it, or start afresh with resume=False"
            )

    def _same_recipe(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        differing = [
            f"{key} was {recipe.get(key)!r} and is {self.recipe.get(key)!r}"
            for key in sorted({*recipe, *self.recipe})
            if recipe.get(key) != self.recipe.get(key)
        ]
        if differing:
            raise TrainingError(
                f"fit(resume=True): received a checkpoint of another run, {folder}: {'; '.join(differing)}; expected "
                "the same recipe and data; give the same ones, another run_dir, or resume=False to start afresh"
            )

    def _steps(self) -> list[tuple[int, Path]]:
        """The checkpoints by their steps, damaged ones too; a folder that holds anything else is somebody else's."""
        if not self.folder.is_dir():
            return []
        found = [(STEP_FOLDER.fullmatch(p.name), p) for p in self.folder.iterdir() if p.is_dir()]
        return sorted((int(m.group(1)), p) for m, p in found if m and _is_ours(p))


def flush(path: Path) -> None:
    """See a file, or the names in a folder, safely on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_ours(folder: Path) -> bool:
    """Whether a folder named like a checkpoint is one, or what is left of one."""
    try:
        names = {p.name for p in folder.iterdir()}
    except OSError:  # just removed by the process that writes
        return False
    return not names or not names.isdisjoint((TENSORS, STATE, SUMS))


def _check_sums(folder: Path) -> None:
    """Every file is what was written; one flipped bit tells, be it in the list of sums itself."""
    told = (folder / SUMS).read_bytes()
    names = [line.partition(b"  ")[2].decode("utf-8", "replace") for line in told.splitlines()]
    for name in dict.fromkeys((STATE, TENSORS, *names)):
        if f"{_sha256(folder / name)}  {name}\n".encode() not in told.splitlines(keepends=True):
            raise Damaged(f"{name} is not what was written, or {SUMS} is not")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
