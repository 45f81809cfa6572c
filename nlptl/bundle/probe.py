"""A few texts scored at the time of saving, kept in the bundle, so that it can be tried on any machine.

At saving the scores of what was loaded again must equal those of the learner, bit for bit. At loading, on another
machine and with other versions perhaps, token ids must be the same and scores alike within `TOLERANCE`. That costs one
pass over three short texts; models beyond `LARGEST` weights are spared it, for there it would take long.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlptl.bundle.contents import Contents, Scorer
from nlptl.bundle.files import read_json
from nlptl.errors import BundleError
from nlptl.tasks.base import Array

NAME = "probe.json"
MAX_BYTES = 16 << 20

#: Texts of ours, so that no bundle carries a user's.
PROBES = (
    "The train from Lisbon arrives at nine, if it arrives at all.",
    "Not bad!",
    "Ada Lovelace wrote to Charles Babbage about the engine, and he wrote back the same week.",
)

#: Logits in float32, relative where they are beyond 1. Machines differ by 1e-5 or so, other weights by far more.
TOLERANCE = 1e-3
#: Probabilities of an sklearn head: a forest may send a text down another branch for a rounding.
HEAD_TOLERANCE = 0.05
#: Weights beyond which loading does not compute scores.
LARGEST = 2_000_000_000


def write(contents: Contents, scores: Sequence[Array], folder: Path) -> None:
    """Keep the probe texts, their token ids and their scores in float32."""
    page = {
        "texts": list(PROBES),
        "ids": _ids(contents),
        "scores": [np.asarray(rows, dtype=np.float64).tolist() for rows in scores],
    }
    (folder / NAME).write_text(json.dumps(page), encoding="utf-8")


def check(contents: Contents, folder: Path, scorer: Scorer, versions: str) -> None:
    """Compare what was loaded with what was saved: the pieces of each text, then their scores."""
    if not (folder / NAME).is_file():
        return  # of format 1
    page = read_json(folder / NAME, MAX_BYTES)
    texts, ids, scores = _parts(folder, page)
    if ids != _ids(contents, texts):
        raise BundleError(
            f"{folder}: received a tokenizer that cuts the probe texts into other pieces than when it was saved "
            f"({versions}); expected the same ones; install the versions it was saved with"
        )
    if contents.fitted.parameters[1] > LARGEST:
        return
    for old, new in zip(scores, scorer(contents, texts), strict=True):
        gap, most = _gap(contents, old, np.asarray(new, dtype=np.float64))
        if not gap <= most:
            raise BundleError(
                f"{folder}: received scores of the probe texts that differ by {gap:.3g} from those it was saved with "
                f"({versions}); expected at most {most:g}; install the versions it was saved with, or save the "
                "learner again"
            )


def same(before: Sequence[Array], after: Sequence[Array], folder: Path) -> None:
    """At saving: the same bits."""
    for old, new in zip(before, after, strict=True):
        if not np.array_equal(old, new):
            gap = float(np.abs(old - new).max()) if old.shape == new.shape else float("inf")
            raise BundleError(
                f"{folder}: received scores from the saved files that differ by {gap:.3g} from the learner's own; "
                "expected the same bits; nothing was saved, and this is a fault of nlptl worth reporting"
            )


def _ids(contents: Contents, texts: Sequence[str] = PROBES) -> list[list[list[int]]]:
    size = contents.mode.window(contents.backbone)
    prepared = contents.task.prepare(contents.backbone, list(texts), size)
    return [[window.tolist() for window in item.windows] for item in prepared.items]


def _parts(folder: Path, page: Any) -> tuple[list[str], Any, list[Array]]:
    try:
        texts, ids = page["texts"], page["ids"]
        scores = [np.asarray(rows, dtype=np.float64) for rows in page["scores"]]
        if all(isinstance(t, str) for t in texts) and len(texts) == len(scores) == len(ids) <= len(PROBES):
            return list(texts), ids, scores
    except (KeyError, TypeError, ValueError):
        pass
    raise BundleError(
        f"{folder / NAME}: received a damaged probe; expected texts, ids and scores; save the learner again"
    )


def _gap(contents: Contents, old: Array, new: Array) -> tuple[float, float]:
    """How far two rows of scores are apart, and how far they may be."""
    if old.shape != new.shape and old.size + new.size:
        return float("inf"), TOLERANCE
    if not old.size:
        return 0.0, TOLERANCE
    if contents.mode.name == "frozen" and contents.space.problem != "regression":
        # A head's score of a label that it rules out is the logarithm of almost nothing: probabilities tell more.
        chances = [1 / (1 + np.exp(-s)) if contents.space.problem == "multi" else np.exp(s) for s in (old, new)]
        return float(np.abs(chances[0] - chances[1]).max()), HEAD_TOLERANCE
    most = HEAD_TOLERANCE if contents.mode.name == "frozen" else TOLERANCE
    return float((np.abs(old - new) / np.maximum(1, np.abs(old))).max()), most
