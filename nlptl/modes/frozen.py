"""Frozen: nothing of the backbone moves; an sklearn head learns from its vectors."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nlptl.backbones import Backbone
from nlptl.backbones.pooling import POOLINGS
from nlptl.data.labels import LabelSpace
from nlptl.engine.cache import Weights, load_encoder
from nlptl.engine.items import Item
from nlptl.engine.predict import embed
from nlptl.engine.runtime import Runtime
from nlptl.errors import Faults, OptionError, did_you_mean, listing
from nlptl.modes._heads import HEADS, fit_head, head_scores, is_estimator, save_head
from nlptl.modes._skops import check_head, load_head
from nlptl.modes.base import Fitted, Job, Mode, window_of
from nlptl.tasks.base import Array, Task, WindowSize


@dataclass(frozen=True)
class Frozen(Mode):
    """An sklearn head on frozen vectors: of the text, or of each word.

    Parameters
    ----------
    head : "logistic" (its C chosen by cross-validation), "svm" (a calibrated LinearSVC), "forest", or any sklearn
        estimator; for numbers the regressor of the same kind
    pooling : "auto" is what the checkpoint says, else the family's; "mean", "cls", "last", "max"
    layer : which layer's output, counted as in `hidden_states`; None is the last
    normalize : vectors of length 1; "auto" is what the checkpoint says
    class_weight : None, or "balanced", for the named heads
    max_length, stride : as in the other modes
    bidirectional : let a decoder see the words to the right as well
    """

    head: Any = "logistic"
    pooling: str = "auto"
    layer: int | None = None
    normalize: bool | str = "auto"
    class_weight: str | None = None
    max_length: int | None = None
    stride: int | None = None
    bidirectional: bool = False

    name: ClassVar[str] = "frozen"

    def __post_init__(self) -> None:
        faults = Faults()
        if isinstance(self.head, str) and self.head not in HEADS:
            faults.add(
                repr(self.head), f"one of {listing(HEADS)}, or an sklearn estimator",
                f"choose one.{did_you_mean(self.head, HEADS)}", "Frozen(head=…)",
            )  # fmt: skip
        if not isinstance(self.head, str) and not is_estimator(self.head):
            faults.add(
                repr(self.head), f"one of {listing(HEADS)}, or an object with fit and predict",
                "give an estimator, such as KNeighborsClassifier()", "Frozen(head=…)",
            )  # fmt: skip
        if self.pooling not in ("auto", *POOLINGS):
            faults.add(
                repr(self.pooling), f"'auto' or one of {listing(POOLINGS)}",
                f"choose one.{did_you_mean(self.pooling, POOLINGS)}", "Frozen(pooling=…)",
            )  # fmt: skip
        for name in ("max_length", "stride", "layer"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
                faults.add(repr(value), "a whole number, or None", "give one, or leave it out", f"Frozen({name}=…)")
        if self.normalize not in (True, False, "auto"):
            faults.add(repr(self.normalize), "True, False or 'auto'", "choose one", "Frozen(normalize=…)")
        if self.class_weight not in (None, "balanced"):
            faults.add(repr(self.class_weight), "None or 'balanced'", "choose one", "Frozen(class_weight=…)")
        if self.class_weight and not isinstance(self.head, str):
            faults.add(
                "class_weight beside an estimator of your own", "None", "set it on the estimator itself",
                "Frozen(class_weight=…)",
            )  # fmt: skip
        faults.raise_if_any(OptionError)

    def window(self, backbone: Backbone) -> WindowSize:
        asked = backbone.embedding_window if self.max_length is None else self.max_length
        return window_of(asked, self.stride, backbone.window)

    def fit(self, job: Job) -> Fitted:
        if job.runtime.compute.gradient_checkpointing:
            raise OptionError(
                "Compute(gradient_checkpointing=True): received it for mode 'frozen', which has no gradients; expected "
                "a mode that moves weights; leave it out"
            )
        if job.task.level == "token" and self.pooling != "auto":
            raise OptionError(
                f"Frozen(pooling={self.pooling!r}): received a pooling for words, each of which is its first piece's "
                "vector; expected 'auto'; leave it out"
            )
        probe = self._probe(job.backbone, job.space, job.task)
        vectors = np.concatenate(probe.vectors(job.prepared.items, job.runtime))
        targets = np.concatenate(job.task.unit_targets(job.gold, job.prepared.items))
        weights = None if job.weights is None else np.concatenate(job.unit_weights(None))
        probe.head, chosen = fit_head(
            self.head, job.space.problem, vectors, targets, weights, self.class_weight, seed=job.seed
        )
        probe.choices = {
            "pooling": "word pieces' first" if job.task.level == "token" else probe.pooling,
            "normalize": str(probe.normalize).lower(),
            "layer": "last" if self.layer is None else str(self.layer),
            "vectors": f"{len(vectors)} of width {vectors.shape[1]}",
            **chosen,
        }
        return probe

    def read(self, folder: Path, kept: dict[str, Any], backbone: Backbone, task: Task, space: LabelSpace) -> Fitted:
        probe = self._probe(backbone, space, task)
        probe.pooling, probe.normalize = kept["pooling"], kept["normalize"]
        probe.named_head = kept["head"]
        path = folder / "head.skops"
        probe.head = load_head(path, kept["head"], tuple(kept.get("trusted", ())))
        check_head(path, probe.head, space.problem, len(space), backbone.width if self.layer is None else None)
        return probe

    def as_fitted(self, fitted: Fitted) -> Mode:
        """An estimator of the user's own is no option that a file can tell: it is taken from the fitted head."""
        if not isinstance(fitted, Probe) or fitted.named_head is not None:
            return self
        from sklearn.base import clone

        head = getattr(fitted.head, "estimator", fitted.head) if fitted.problem == "multi" else fitted.head
        return replace(self, head=clone(head))

    def _probe(self, backbone: Backbone, space: LabelSpace, task: Task) -> Probe:
        layers = backbone.layers
        if self.layer is not None and not -layers - 1 <= self.layer <= layers:
            raise OptionError(
                f"Frozen(layer={self.layer}): received a layer that the backbone does not have; expected a number from "
                f"{-layers - 1} to {layers} (0 is the embeddings); leave it out for the last"
            )
        encoder, weights = load_encoder(backbone, bidirectional=self.bidirectional)
        return Probe(
            backbone,
            encoder=encoder,
            weights=weights,
            problem=space.problem,
            n_labels=len(space),
            pooling=backbone.pooling if self.pooling == "auto" else self.pooling,
            normalize=backbone.normalize if isinstance(self.normalize, str) else self.normalize,
            layer=self.layer,
            named_head=self.head if isinstance(self.head, str) else None,
            of_words=task.level == "token",
        )


@dataclass
class Probe(Fitted):
    """A frozen encoder and a head on its vectors."""

    encoder: Any = None
    weights: Weights | None = None
    head: Any = None
    problem: str = "single"
    n_labels: int = 0
    pooling: str = "mean"
    normalize: bool = False
    layer: int | None = None
    named_head: str | None = None
    of_words: bool = False

    def vectors(self, items: Sequence[Item], runtime: Runtime) -> list[Array]:
        """Frozen vectors of each row's units: (units, width)."""
        found = embed(
            self.encoder,
            items,
            runtime,
            pad_id=self.backbone.pad_id,
            pooling=self.pooling,
            layer=self.layer,
            weights=self.weights,
        )
        return [unit_length(v) for v in found] if self.normalize else found

    def scores(self, items: Sequence[Item], runtime: Runtime) -> list[Array]:
        found = self.vectors(items, runtime)
        sizes = [item.n_units for item in items]
        filled = [v for v, size in zip(found, sizes, strict=True) if size]
        flat = (
            head_scores(self.head, np.concatenate(filled), self.problem, self.n_labels)
            if filled
            else np.zeros((0, self.n_labels))
        )
        return np.split(flat, np.cumsum(sizes)[:-1])

    @property
    def parameters(self) -> tuple[int, int]:
        """The head's coefficients, where it has any, and the backbone's weights with them."""
        learnt = _coefficients(self.head)
        return learnt, learnt + sum(p.numel() for p in self.encoder.parameters())

    def write(self, folder: Path) -> dict[str, Any]:
        save_head(self.head, folder / "head.skops")
        self.backbone.tokenizer.save_pretrained(folder)
        return {"pooling": self.pooling, "normalize": self.normalize, "head": self.named_head}


def _coefficients(head: Any) -> int:
    """How many numbers a linear head has learnt, in all of its parts; 0 where it is no linear one."""
    parts = [step for _, step in getattr(head, "steps", ())] or list(getattr(head, "estimators_", ()))
    parts += [c.estimator for c in getattr(head, "calibrated_classifiers_", ())]
    own = sum(np.size(getattr(head, name, ())) for name in ("coef_", "intercept_"))
    return int(own) + sum(_coefficients(part) for part in parts)


def unit_length(vectors: Array) -> Array:
    """Vectors of length 1; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12))
