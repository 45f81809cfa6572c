"""Bundles of older formats open, and those of newer ones say what to install."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nlptl import BundleError, Learner
from nlptl.bundle import manifest
from nlptl.bundle.migrations import MIGRATIONS
from tests.kit.cells import PLAIN, scores
from tests.kit.rows import TEXTS

#: Written by the code of format 1: two steps of full fine-tuning on one layer of width 8.
FORMAT_1 = Path(__file__).parent / "format-1"


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(FORMAT_1, tmp_path / "old"))


def test_format_1_opens_and_scores_as_it_did(old, tmp_path):
    learner = Learner.load(old)
    learner.compute = PLAIN
    expected = [[-0.0020958693, 0.0009896812], [-0.002094436, 0.0009895965], [-0.002096493, 0.0009894033]]
    np.testing.assert_allclose(np.concatenate(scores(learner, TEXTS[:3])), expected, atol=1e-6)
    assert list(learner.classes_) == ["negative", "positive"]
    found = manifest.read(old)
    assert (found.format, found.fresh, found.metrics["accuracy"]) == (manifest.FORMAT, [], 0.5)
    assert not [name for name in found.metrics if name.startswith("eval_") or name in ("loss", "step")]
    again = learner.save(tmp_path / "new")
    assert json.loads((again / "nlptl.json").read_text())["manifest"]["format"] == manifest.FORMAT
    assert (again / "probe.json").is_file() and not (old / "probe.json").exists()


def test_there_is_a_step_from_every_older_format():
    assert sorted(MIGRATIONS) == list(range(1, manifest.FORMAT))


@pytest.mark.parametrize("format", [manifest.FORMAT + 1, 0, -1, "2", 1.0, True, None, [1], 10**30])
def test_other_formats_are_refused(old, format):
    page = json.loads((old / "nlptl.json").read_text())["manifest"]
    page |= {"format": format, "versions": {"nlptl": "9.1"}}
    (old / "nlptl.json").write_text(
        json.dumps({"sha256": manifest._digest(json.dumps(page, sort_keys=True)), "manifest": page})
    )
    newer = isinstance(format, int) and format > manifest.FORMAT
    with pytest.raises(BundleError, match=r"install nlptl 9\.1 or later" if newer else r"received format .*save the"):
        Learner.load(old)


def test_an_altered_page_of_format_1_is_refused(old):
    page = old / "nlptl.json"
    page.write_text(page.read_text().replace('"positive"', '"negativ2"'))
    with pytest.raises(BundleError, match="a manifest that is not the one that was written"):
        Learner.load(old)
