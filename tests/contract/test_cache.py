"""Frozen heads, grids and folds ask for the same vectors again: the encoder runs once over each text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from nlptl import Embedder, Frozen, Learner, LoRA, tasks
from nlptl.engine import predict
from tests.kit.cells import PLAIN, Cell, same_bits, scores
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import tiny

PLAIN_HEAD = LogisticRegression(max_iter=500)


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many rows each forward pass of an encoder had."""
    seen: list[int] = []
    plain = predict.unit_vectors

    def counted(encoder, batch, *rest):
        seen.append(batch.n_items)
        return plain(encoder, batch, *rest)

    monkeypatch.setattr(predict, "unit_vectors", counted)
    return seen


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("task", tasks.names())
def test_a_second_learner_computes_nothing_and_says_the_same(task, family, passes, tmp_path):
    inputs, targets = rows(task)
    compute = replace(PLAIN, cache=tmp_path / "vectors")
    cell = Cell(task, "frozen", family)
    first = cell.learner(compute=compute, head=PLAIN_HEAD).fit(inputs, targets)
    computed = sum(passes)
    again = cell.learner(compute=compute, head=PLAIN_HEAD).fit(inputs, targets)
    report = again.evaluate(inputs, targets)
    assert computed == sum(passes) == len(inputs)
    assert same_bits(scores(first, inputs), scores(again, inputs))
    assert first.record_["choices"]["cache"] == "0 of 8 rows taken from it"
    assert again.record_["choices"]["cache"].startswith("8 of 8 rows taken from it, with the bits")
    assert report.choices["cache"].startswith("8 of 8 rows") and all(len(x) <= 100 for x in str(report).splitlines())


def test_a_grid_over_heads_and_folds_runs_the_encoder_once_a_text(passes, tmp_path):
    learner = Learner(tiny("bert"), mode=Frozen(head=PLAIN_HEAD), compute=replace(PLAIN, cache=tmp_path / "vectors"))
    grid = {"mode__head": [PLAIN_HEAD, KNeighborsClassifier(1)], "mode__normalize": [True, False]}
    GridSearchCV(learner, grid, cv=2, error_score="raise").fit(TEXTS, POLARITIES)
    cross_val_score(learner, TEXTS, POLARITIES, cv=4, error_score="raise")
    assert sum(passes) == len(TEXTS)


def test_what_save_compares_is_computed(passes, tmp_path):
    """Vectors from the cache would make the saved learner's scores those of the first, whatever was saved."""
    learner = Learner(tiny("bert"), mode=Frozen(head=PLAIN_HEAD), compute=replace(PLAIN, cache=tmp_path / "vectors"))
    learner.fit(TEXTS, POLARITIES)
    for n in range(2):
        passes.clear()
        learner.save(tmp_path / f"bundle-{n}")
        assert sum(passes) == 6


def test_gradient_modes_have_no_use_for_it_and_say_so():
    made = Cell("classification", "lora", "bert").learner(compute=replace(PLAIN, cache="auto")).fit(TEXTS, POLARITIES)
    made.predict(TEXTS)
    assert made.record_["choices"]["cache"] == "not used"


RANKS = """
import json, sys
from pathlib import Path
import numpy as np
from nlptl import Compute, Embedder, Learner, LoRA
from nlptl.engine import predict
from nlptl.engine.runtime import Runtime

backbone, folder, texts = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
rank = Runtime(Compute(device="cpu")).rank
seen, plain = [], predict.unit_vectors
predict.unit_vectors = lambda encoder, batch, *rest: (seen.append(batch.n_items), plain(encoder, batch, *rest))[1]
compute = Compute(device="cpu", precision="fp32", batch_tokens=40, cache=folder / f"vectors-{rank}")
embedder = Embedder(backbone, compute=compute)
vectors = [embedder.transform(some) for some in (texts[:3], texts, texts)]
np.save(folder / f"seen-{rank}.npy", np.concatenate(vectors))
mode = LoRA(targets=("layer.1.attention.self.query",), epochs=2, batch_size=4, dropout=0.0, optimizer="sgd")
made = Learner(backbone, mode=mode, compute=compute).fit(texts, ["good", "bad"] * 4)
told = {"world": Runtime(compute).world, "computed": sum(seen), "losses": [e["loss"] for e in made.history_]}
told["prefix"] = made.record_["choices"]["frozen_prefix"]
(folder / f"told-{rank}.json").write_text(json.dumps(told))
"""


def test_two_processes_agree_on_what_is_missing_and_share_it(tmp_path):
    """Each has a folder of its own, as on two machines; the main process's is the one that counts."""
    known = Embedder(tiny("bert"), compute=replace(PLAIN, cache=tmp_path / "vectors-0")).fit_transform(TEXTS[5:])
    from tests.unit.engine.test_cache import forget

    forget()
    script = tmp_path / "ranks.py"
    script.write_text(RANKS, encoding="utf-8")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [sys.executable, *launcher, str(script), str(tiny("bert")), str(tmp_path), json.dumps(TEXTS)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)]
    assert [t["world"] for t in told] == [2, 2]
    assert told[0]["computed"] + told[1]["computed"] == 5 and min(t["computed"] for t in told) >= 1
    zero, one = (np.load(tmp_path / f"seen-{rank}.npy") for rank in (0, 1))
    assert np.array_equal(zero, one)
    first, whole, again = zero[:3], zero[3:11], zero[11:]
    assert np.array_equal(whole, again) and np.array_equal(whole[:3], first) and np.array_equal(whole[5:], known)
    plain = Embedder(tiny("bert"), compute=PLAIN).fit_transform(TEXTS)
    np.testing.assert_allclose(whole, plain, atol=1e-6)
    assert not (tmp_path / "vectors-1").exists()  # only the main process writes
    mode = LoRA(targets=("layer.1.attention.self.query",), epochs=2, batch_size=4, dropout=0.0, optimizer="sgd")
    alone = Learner(tiny("bert"), mode=mode, compute=PLAIN).fit(TEXTS, ["good", "bad"] * 4)
    assert told[0]["losses"] == told[1]["losses"] == pytest.approx([e["loss"] for e in alone.history_], rel=1e-4)
    assert all("computed once (8 windows, 0 of them" in t["prefix"] for t in told)
