"""Checkpoints: whole or not there at all, of this recipe or refused, the newest kept."""

from __future__ import annotations

import json
import os

import pytest
import torch

from nlptl.engine.checkpoint import Checkpoint, Checkpoints
from nlptl.errors import TrainingError

RECIPE = {"task": "NER()", "rows": 8}


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "run", RECIPE)


def at(step):
    return Checkpoint(
        {"weight.a": torch.full((2, 3), float(step)), "rng": torch.arange(4)}, {"step": step, "best": 0.1}
    )


def test_what_is_written_is_read(store):
    assert store.latest() is None
    store.write(5, at(5))
    found = store.latest()
    assert found.state == {"step": 5, "best": 0.1}
    assert torch.equal(found.tensors["weight.a"], torch.full((2, 3), 5.0))
    assert found.tensors["rng"].dtype == torch.int64


def test_the_newest_two_are_kept_and_the_newest_is_taken(store):
    for step in (2, 10, 9, 30):
        store.write(step, at(step))
    assert sorted(p.name for p in store.folder.iterdir()) == ["step-10", "step-30"]
    assert store.latest().state["step"] == 30


@pytest.mark.parametrize("harm", ["cut", "changed", "no state", "bad state", "no tensors"])
def test_a_damaged_one_makes_place_for_the_one_before(store, harm):
    store.write(1, at(1))
    store.write(2, at(2))
    tensors, state = store.folder / "step-2" / "state.safetensors", store.folder / "step-2" / "state.json"
    data = bytearray(tensors.read_bytes())
    if harm == "cut":
        tensors.write_bytes(data[:-4])
    elif harm == "changed":
        data[-1] ^= 1
        tensors.write_bytes(data)
    elif harm == "no state":
        state.unlink()
    elif harm == "bad state":
        state.write_text(state.read_text()[:20])
    else:
        tensors.unlink()
    assert store.latest().state["step"] == 1


def test_what_a_killed_process_left_is_no_checkpoint(store):
    store.write(1, at(1))
    aside = store.folder / ".step-2.tmp"
    aside.mkdir()
    (aside / "state.safetensors").write_bytes(b"half")
    (store.folder / "step-notes").mkdir()
    assert store.latest().state["step"] == 1
    store.write(2, at(2))
    assert store.latest().state["step"] == 2 and not aside.exists()


def test_a_write_that_fails_leaves_the_former(store, monkeypatch):
    store.write(1, at(1))

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write(2, at(2))
    assert store.latest().state["step"] == 1


def test_another_recipe_is_refused(store, tmp_path):
    store.write(1, at(1))
    other = Checkpoints(tmp_path / "run", {**RECIPE, "rows": 9})
    with pytest.raises(
        TrainingError, match=r"received a checkpoint \(step 1\) of another run .*rows was 8 and is 9; exp"
    ):
        other.latest()


def test_nothing_is_pickled_and_all_is_cleared(store):
    store.write(1, at(1))
    assert {p.name for p in store.folder.glob("step-1/*")} == {"state.safetensors", "state.json"}
    json.loads((store.folder / "step-1" / "state.json").read_text())
    store.clear()
    store.clear()
    assert store.latest() is None
