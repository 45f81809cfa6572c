"""A bundle: all of it or nothing, nothing altered goes unseen, and it tells no secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from nlptl import BundleError, Learner, NlptlWarning, OptionError
from nlptl.bundle import bases, manifest, storage
from tests.kit.cells import Cell, fitted, same_bits, scores
from tests.kit.checkpoints import tiny_checkpoint
from tests.kit.rows import TEXTS
from tests.kit.shelf import tiny

FULL, LORA, FROZEN = (Cell("classification", mode, "bert") for mode in ("full", "lora", "frozen"))
CELLS = (FULL, LORA, FROZEN)


@pytest.fixture
def bundle(tmp_path):
    return fitted(LORA).save(tmp_path / "bundle")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_it_holds_what_it_says_and_no_pickle_and_no_path(cell, tmp_path):
    folder = fitted(cell).save(tmp_path / "bundle")
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(manifest.read(folder).files) == files - {"nlptl.json"}
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".pth", ".joblib")) for name in files)
    here = [str(tiny("bert")), str(tiny("bert").parent), str(tmp_path)]
    for name in files:
        data = (folder / name).read_bytes()
        assert not any(path.encode() in data for path in here), name
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("harm", ["altered", "missing", "manifest altered", "manifest cut", "no manifest", "weights"])
def test_what_was_altered_is_refused(bundle, harm):
    page = bundle / "nlptl.json"
    said = {
        "altered": r"tokenizer.json: received a file that is not the one that was written; expected sha256 .*; copy",
        "weights": r"adapter_model.safetensors: received a file that is not the one that was written",
        "missing": r"tokenizer.json: received a bundle without this file; expected it; copy the bundle again",
        "manifest altered": r"received a manifest that is not the one that was written; expected sha256",
        "manifest cut": r"received a damaged file .*; expected valid JSON; save the learner again",
        "no manifest": r"received a folder without nlptl.json; expected one that Learner.save wrote",
    }[harm]
    if harm == "altered":
        (bundle / "tokenizer.json").write_text((bundle / "tokenizer.json").read_text() + " ")
    elif harm == "weights":
        data = bytearray((bundle / "adapter_model.safetensors").read_bytes())
        data[-1] ^= 1
        (bundle / "adapter_model.safetensors").write_bytes(data)
    elif harm == "missing":
        (bundle / "tokenizer.json").unlink()
    elif harm == "manifest altered":
        page.write_text(page.read_text().replace('"seed": 0', '"seed": 1'))
    elif harm == "manifest cut":
        page.write_text(page.read_text()[:100])
    else:
        page.unlink()
    with pytest.raises(BundleError, match=said):
        Learner.load(bundle)


def rewritten(bundle: Path, **changes) -> None:
    """A manifest that was made wrong on purpose, with its hash put right."""
    body = json.loads((bundle / "nlptl.json").read_text())["manifest"] | changes
    text = json.dumps(body, sort_keys=True)
    (bundle / "nlptl.json").write_text(json.dumps({"sha256": manifest._digest(text), "manifest": body}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 3, "versions": {"nlptl": "9.1"}}, r"received format 3, written by nlptl 9.1; .*install nlptl 9.1"),
        ({"files": {"../x": "0" * 64}}, r"received the file name '../x'; expected one inside the bundle; do not use"),
        ({"files": {"/etc/passwd": "0" * 64}}, r"expected one inside the bundle"),
        (
            {"mode": {"name": "future", "options": {}}},
            r"received a bundle of 'future'; expected one of frozen, full, lora",
        ),
        ({"mode": {"name": "lora", "options": {"warp": 1}}}, r"received the options \['warp'\] of 'lora'"),
        ({"extra": 1}, r"received a manifest of another shape"),
    ],
)
def test_what_cannot_be_understood_is_told(bundle, changes, said):
    rewritten(bundle, **changes)
    with pytest.raises(BundleError, match=said):
        Learner.load(bundle)


def test_a_page_of_megabytes_is_none(bundle):
    (bundle / "nlptl.json").write_bytes(b" " * (manifest.MAX_BYTES + 1))
    with pytest.raises(BundleError, match="expected at most"):
        Learner.load(bundle)


@pytest.mark.parametrize("cell", [LORA, FROZEN], ids=str)
def test_the_base_is_pinned(cell, tmp_path):
    folder = fitted(cell).save(tmp_path / "bundle")
    other = tiny_checkpoint("bert", tmp_path / "other", seed=1)
    with pytest.raises(BundleError, match=r"received a base .* whose weights have fingerprint .*; give that base, or"):
        Learner.load(folder, backbone=other)
    with pytest.warns(NlptlWarning, match="going on, as allow_base_drift=True asks"):
        drifted = Learner.load(folder, backbone=other, allow_base_drift=True)
    drifted.compute = fitted(cell).compute
    assert not same_bits(scores(drifted, TEXTS), scores(fitted(cell), TEXTS))


def test_a_base_that_nobody_knows_must_be_named(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("NLPTL_CACHE", str(tmp_path / "empty"))
    with pytest.raises(
        BundleError, match=r"local folder that this machine does not know; .*Learner.load\(…, backbone="
    ):
        Learner.load(bundle)
    again = Learner.load(bundle, backbone=tiny("bert"))
    again.compute = fitted(LORA).compute
    assert same_bits(scores(again, TEXTS), scores(fitted(LORA), TEXTS))


def test_the_cache_of_bases_survives_what_may_befall_it(monkeypatch, tmp_path):
    monkeypatch.setenv("NLPTL_CACHE", str(tmp_path))
    assert bases.locate("abc") is None
    bases.remember("abc", tmp_path)
    assert bases.locate("abc") == tmp_path.resolve()
    bases.remember("gone", tmp_path / "gone")
    assert bases.locate("gone") is None and bases.locate("abc") is not None
    (tmp_path / "bases.json").write_text("{")
    assert bases.locate("abc") is None
    monkeypatch.setenv("NLPTL_CACHE", "/proc/nowhere")
    bases.remember("abc", tmp_path)


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="received a place that holds something else; expected a new name"):
        fitted(FULL).save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="something else"):
        fitted(FULL).save(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    fitted(FULL).save(tmp_path / "empty")
    fitted(LORA).save(tmp_path / "empty")  # a former bundle is replaced
    assert Learner.load(tmp_path / "empty").mode.name == "lora"


def test_a_save_that_does_not_reload_alike_saves_nothing(tmp_path, monkeypatch):
    folder = fitted(FULL).save(tmp_path / "bundle")
    before = (folder / "nlptl.json").read_bytes()
    load = storage.load

    def wrong(*args, **options):
        found = load(*args, **options)
        next(found.fitted.model.parameters()).data.add_(1)
        return found

    monkeypatch.setattr(storage, "load", wrong)
    with pytest.raises(BundleError, match=r"differ by .* expected the same bits; nothing was saved"):
        fitted(FULL).save(folder)
    assert (folder / "nlptl.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_save_that_is_cut_short_leaves_the_former(tmp_path, monkeypatch):
    folder = fitted(FULL).save(tmp_path / "bundle")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted(LORA).save(folder)
    monkeypatch.undo()
    assert Learner.load(folder).mode.name == "full"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_only_folders_are_loaded(tmp_path):
    with pytest.raises(OptionError, match=r"received no folder of this machine; expected one that Learner.save wrote"):
        Learner.load(tmp_path / "nowhere")


def test_a_changed_tokenizer_of_the_base_does_not_matter(tmp_path):
    base = tiny_checkpoint("bert", tmp_path / "base")
    made = Learner(base, mode=FROZEN.learner().mode, compute=fitted(FROZEN).compute).fit(TEXTS, ["a", "b"] * 4)
    folder = made.save(tmp_path / "bundle")
    page = json.loads((base / "tokenizer.json").read_text())
    vocabulary = page["model"]["vocab"]
    names = sorted(vocabulary, key=vocabulary.get)
    vocabulary[names[-1]], vocabulary[names[-9]] = vocabulary[names[-9]], vocabulary[names[-1]]
    (base / "tokenizer.json").write_text(json.dumps(page))
    again = Learner.load(folder)
    again.compute = made.compute
    assert all(np.array_equal(a, b) for a, b in zip(scores(again, TEXTS), scores(made, TEXTS), strict=True))
