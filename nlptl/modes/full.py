"""Full fine-tuning: every weight learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nlptl.backbones import Backbone, Opened
from nlptl.backbones.sources import quiet
from nlptl.data.labels import LabelSpace
from nlptl.errors import BundleError
from nlptl.modes.base import Fitted, Job
from nlptl.modes.gradient import Gradient, Tuned
from nlptl.tasks.base import Task


@dataclass(frozen=True)
class FullTuning(Gradient):
    """Every weight learns; what is saved is a plain transformers checkpoint."""

    name: ClassVar[str] = "full"

    def adapt(self, opened: Opened, job: Job) -> tuple[Any, dict[str, str]]:
        opened.model.requires_grad_(True)
        return opened.model, {}

    def finish(self, model: Any, job: Job) -> Any:
        return model

    def default_rate(self, width: int) -> float:
        # 1.5e-4 serves MiniLM (384 wide) best; wider models want less, in proportion.
        return 1.5e-4 * min(1.0, 384 / width)

    def fitted(self, backbone: Backbone, model: Any) -> Tuned:
        return FullyTuned(backbone, model=model)

    def read(self, folder: Path, kept: dict[str, Any], backbone: Backbone, task: Task, space: LabelSpace) -> Fitted:
        opened = self.open(backbone, task, space, seed=0)
        if opened.fresh:
            raise BundleError(
                f"{folder}: received weights without {', '.join(opened.fresh)}; expected every weight of the model; "
                "save the learner again"
            )
        total = sum(p.numel() for p in opened.model.parameters())
        return FullyTuned(backbone, model=opened.model.eval(), trainable=total, total=total)


@dataclass
class FullyTuned(Tuned):
    """A plain transformers model."""

    def write(self, folder: Path) -> dict[str, Any]:
        with quiet():
            self.model.save_pretrained(folder, safe_serialization=True)
        self.backbone.tokenizer.save_pretrained(folder)
        return {}
