"""The truth table: every task in every mode on every family, found in the library's own registries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nlptl import Compute, Learner, modes, tasks
from nlptl.backbones import families
from tests.kit.rows import rows
from tests.kit.shelf import tiny

#: Numbers are compared in float32 on one device, whatever the machine could do faster.
#: What one test computed says nothing of what another would: no cache, but where it is what is tested.
PLAIN = Compute(device="cpu", precision="fp32", progress=False, cache=False)

#: One encoder and one decoder, for what costs more than a fit of two steps.
BOTH_KINDS = ("bert", "gpt2")


@dataclass(frozen=True)
class Cell:
    """One place of the truth table."""

    task: str
    mode: str
    family: str

    def __str__(self) -> str:
        return f"{self.task}-{self.mode}-{self.family}"

    def learner(self, *, seed: int = 0, compute: Compute = PLAIN, **options: Any) -> Learner:
        """A learner that has not learnt; `options` are those of its mode."""
        if self.mode == "frozen" and self.family not in BOTH_KINDS:
            from sklearn.linear_model import LogisticRegression

            options = {"head": LogisticRegression(max_iter=500), **options}  # choosing C costs most of a fit
        return Learner(tiny(self.family), task=self.task, mode=quick(self.mode, **options), seed=seed, compute=compute)


#: All of it. A fact sheet is tried on the first of its model types; `MODEL_TYPES` has the others too.
CELLS = tuple(
    Cell(task, mode, sheet.name) for task in tasks.names() for mode in modes.classes() for sheet in families.all()
)
SOME = tuple(cell for cell in CELLS if cell.family in BOTH_KINDS)
GRADIENT = tuple(name for name, cls in modes.classes().items() if "steps" in {f.name for f in fields(cls)})


def quick(mode: str, **options: Any) -> Any:
    """A mode by name, as brief as it can be."""
    brief = {"steps": 2, "batch_size": 4} if mode in GRADIENT else {}
    if "epochs" in options:
        brief.pop("steps", None)
    return replace(modes.classes()[mode](), **{**brief, **options})


@cache
def fitted(cell: Cell) -> Learner:
    """A learner of this cell after two steps; made once a process and not to be changed."""
    return cell.learner().fit(*rows(cell.task))


def scores(learner: Learner, inputs: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """Logits of every unit: probabilities near 0 and 1 would hide what differs."""
    return [row for part in learner._scored_rows(list(inputs)) for row in part.scores]


def model(learner: Learner) -> Any:
    """The torch model inside a learner of a gradient mode."""
    return learner._known.fitted.model  # type: ignore[attr-defined]


def same_bits(one: Sequence[npt.NDArray[Any]], other: Sequence[npt.NDArray[Any]]) -> bool:
    """Whether two lists of arrays are equal, bit for bit."""
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def gap(one: Sequence[npt.NDArray[Any]], other: Sequence[npt.NDArray[Any]]) -> float:
    """The largest difference between two lists of arrays, relative where numbers are beyond 1."""
    assert [a.shape for a in one] == [b.shape for b in other]
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a.size]
    return max((float((np.abs(a - b) / np.maximum(1, np.abs(b))).max()) for a, b in pairs), default=0.0)


def weights(module: Any) -> dict[str, torch.Tensor]:
    """A copy of every weight."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def checkpoint_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights as they lie in a checkpoint's file."""
    from safetensors.torch import load_file

    return load_file(str(folder / "model.safetensors"))
