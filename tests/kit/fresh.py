"""Run as ``python -m tests.kit.fresh FOLDER``: load from the Hub what another process pushed, and compare.

FOLDER holds ``cells.json``, a list of ``[id, inputs]``, and ``N.npz`` with the scores of each; the environment names
the Hub.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from huggingface_hub import hf_hub_download

from nlptl import Learner
from tests.kit import cards
from tests.kit.cells import PLAIN, same_bits, scores


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    for n, (repo_id, inputs) in enumerate(json.loads((folder / "cells.json").read_text())):
        learner = Learner.load(repo_id)
        learner.compute = PLAIN
        with np.load(folder / f"{n}.npz") as kept:
            expected = [kept[str(i)] for i in range(len(kept.files))]
        assert same_bits(scores(learner, inputs), expected), repo_id
        page = Path(hf_hub_download(repo_id, "README.md")).read_text(encoding="utf-8")
        asked = inputs[:1] if learner._known.space.problem == "spans" else inputs
        assert cards.check(page, learner, asked, {}) >= 2, repo_id
        print(repo_id, json.dumps(_plain(learner.predict(inputs))), flush=True)


def _plain(predicted: object) -> object:
    return predicted.tolist() if hasattr(predicted, "tolist") else predicted


if __name__ == "__main__":
    main(Path(sys.argv[1]))
