"""What is exported says what the model says, for any number of rows and tokens; what cannot be is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from nlptl import BundleError, MissingExtraError, OptionError
from nlptl.bundle import export
from tests.kit.cells import Cell, fitted, gap, scores
from tests.kit.rows import SENTENCES, TEXTS


@pytest.mark.parametrize(("mode", "remedy"), [("lora", "merge it first"), ("frozen", "its head is sklearn's")])
def test_only_full_models_are_exported(mode, remedy, tmp_path):
    with pytest.raises(OptionError, match=remedy):
        fitted(Cell("sentiment", mode, "bert")).export(tmp_path / "onnx")


def test_other_formats_and_missing_packages_are_told(tmp_path, monkeypatch):
    learner = fitted(Cell("sentiment", "full", "bert"))
    with pytest.raises(OptionError, match="received an unknown format; expected 'onnx'"):
        learner.export(tmp_path / "x", to="coreml")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a))
    with pytest.raises(MissingExtraError, match=r"no package onnxscript; .*pip install nlptl\[onnx\]"):
        learner.export(tmp_path / "x")


def test_a_model_of_pairs_is_refused_where_the_graph_would_lose_the_types(tmp_path):
    pairs = [(text, "indeed") for text in TEXTS]
    learner = Cell("classification", "full", "bert").learner().fit(pairs, ["a", "b"] * 4)
    with pytest.raises(OptionError, match="a learner of pairs of texts whose model reads token types"):
        learner.export(tmp_path / "onnx")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "gpt2", "distilbert", "roberta"])
@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_an_exported_model_says_what_the_model_says(task, family, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from transformers import AutoTokenizer

    learner = fitted(Cell(task, "full", family))
    folder = learner.export(tmp_path / "onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = [s.split() for s in SENTENCES] if task == "ner" else TEXTS
    known = learner._known
    items = known.task.prepare(known.backbone, inputs, known.mode.window(known.backbone)).items
    for item, expected in zip(items, scores(learner, inputs), strict=True):
        ids = item.windows[0][None]
        (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        found = logits if item.units is None else logits[0][item.units[:, 1]]
        assert gap([found], [expected]) < 1e-4
    batch = tokenizer(TEXTS, padding=True, return_tensors="np")
    (logits,) = session.run(["logits"], {k: batch[k].astype(np.int64) for k in ("input_ids", "attention_mask")})
    assert len(logits) == len(TEXTS)
    assert not list(tmp_path.glob(".*")) and isinstance(folder, Path)


@pytest.mark.slow
def test_what_does_not_agree_is_not_exported(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="export: received logits of the ONNX model that differ by"):
        fitted(Cell("sentiment", "full", "bert")).export(tmp_path / "onnx")
    assert not list(tmp_path.iterdir())
