"""Adapt a pretrained BERT- or GPT-style checkpoint to your text.

>>> from nlptl import Learner, LoRA
>>> mood = Learner("roberta-base", task="sentiment", mode=LoRA(rank=8)).fit("reviews.csv")

This is the one door: every public name is here, and is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nlptl._version import __version__

if TYPE_CHECKING:
    from nlptl.backbones import open_backbone
    from nlptl.data.spans import Span
    from nlptl.embedder import Embedder
    from nlptl.engine.compute import Compute
    from nlptl.errors import (
        BackboneError,
        BundleError,
        DataError,
        MissingExtraError,
        NlptlError,
        NlptlWarning,
        NotFittedError,
        OptionError,
        TrainingError,
    )
    from nlptl.learner import Learner
    from nlptl.modes.frozen import Frozen
    from nlptl.modes.full import FullTuning
    from nlptl.modes.lora import LoRA
    from nlptl.report import Report
    from nlptl.streams import Answer
    from nlptl.tasks.classification import Classification
    from nlptl.tasks.ner import NER, Entity
    from nlptl.tasks.sentiment import Sentiment

__all__ = [
    "Answer",
    "BackboneError",
    "BundleError",
    "Classification",
    "Compute",
    "DataError",
    "Embedder",
    "Entity",
    "Frozen",
    "FullTuning",
    "Learner",
    "LoRA",
    "MissingExtraError",
    "NER",
    "NlptlError",
    "NlptlWarning",
    "NotFittedError",
    "OptionError",
    "Report",
    "Sentiment",
    "Span",
    "TrainingError",
    "__version__",
    "open_backbone",
]

# Where each name lives. Importing nlptl must cost nothing: torch and its kin take seconds.
_HOMES = {
    "Answer": "nlptl.streams",
    "BackboneError": "nlptl.errors",
    "BundleError": "nlptl.errors",
    "Classification": "nlptl.tasks.classification",
    "Compute": "nlptl.engine.compute",
    "DataError": "nlptl.errors",
    "Embedder": "nlptl.embedder",
    "Entity": "nlptl.tasks.ner",
    "Frozen": "nlptl.modes.frozen",
    "FullTuning": "nlptl.modes.full",
    "Learner": "nlptl.learner",
    "LoRA": "nlptl.modes.lora",
    "MissingExtraError": "nlptl.errors",
    "NER": "nlptl.tasks.ner",
    "NlptlError": "nlptl.errors",
    "NlptlWarning": "nlptl.errors",
    "NotFittedError": "nlptl.errors",
    "OptionError": "nlptl.errors",
    "Report": "nlptl.report",
    "Sentiment": "nlptl.tasks.sentiment",
    "Span": "nlptl.data.spans",
    "TrainingError": "nlptl.errors",
    "open_backbone": "nlptl.backbones",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
