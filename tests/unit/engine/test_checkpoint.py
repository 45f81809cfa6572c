"""Checkpoints: whole or not there at all, of this recipe or refused, the newest kept."""

from __future__ import annotations

import hashlib
import json
import os
import random

import pytest
import torch

from nlptl.engine.checkpoint import FORMAT, STATE, SUMS, TENSORS, Checkpoint, Checkpoints
from nlptl.errors import NlptlWarning, TrainingError

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
    for step in (2, 9, 10, 30):
        store.write(step, at(step))
    assert sorted(p.name for p in store.folder.iterdir()) == ["step-10", "step-30"]
    assert store.latest().state["step"] == 30


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("cut", "state.safetensors is not what was written"),
        ("changed", "state.safetensors is not what was written"),
        ("no state", "state.json is missing"),
        ("bad state", "state.json is not what was written"),
        ("no tensors", "state.safetensors is missing"),
        ("no sums", "SHA256SUMS is missing"),
        ("empty sums", "state.json is not what was written, or SHA256SUMS is not"),
        ("empty", "SHA256SUMS is missing"),
    ],
)
def test_a_damaged_one_is_told_and_makes_place_for_the_one_before(store, harm, why):
    store.write(1, at(1))
    store.write(2, at(2))
    tensors, state, sums = (store.folder / "step-2" / name for name in (TENSORS, STATE, SUMS))
    data = bytearray(tensors.read_bytes())
    if harm == "cut":
        tensors.write_bytes(data[:-4])
    elif harm == "changed":
        data[-1] ^= 1
        tensors.write_bytes(data)
    elif harm == "bad state":
        state.write_text(state.read_text()[:20])
    elif harm == "empty sums":
        sums.write_text("")
    else:
        for path in {"no state": [state], "no tensors": [tensors], "no sums": [sums]}.get(harm, [state, tensors, sums]):
            path.unlink()
    with pytest.warns(NlptlWarning, match=rf"step-2 is damaged \({why}.*\); going back to the checkpoint before it"):
        assert store.latest().state["step"] == 1
    assert store.latest(tell=False).state["step"] == 1


@pytest.mark.parametrize("name", [TENSORS, STATE, SUMS])
def test_one_flipped_bit_tells_wherever_it_is(store, name):
    store.write(1, at(1))
    place = store.folder / "step-1" / name
    whole = place.read_bytes()
    draw = random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        place.write_bytes(data)
        with pytest.warns(NlptlWarning, match="step-1 is damaged"):
            assert store.latest() is None
    place.write_bytes(whole)
    assert store.latest().state["step"] == 1


def test_a_newer_format_is_named_and_not_passed_by(store, monkeypatch):
    store.write(1, at(1))
    monkeypatch.setattr("nlptl.engine.checkpoint.FORMAT", FORMAT + 1)
    store.write(2, at(2))
    monkeypatch.undo()
    with pytest.raises(TrainingError, match=rf"step-2, a checkpoint of format {FORMAT + 1}, which a newer nlptl wrote"):
        store.latest()


def test_its_sums_are_those_of_sha256sum(store):
    store.write(1, at(1))
    folder = store.folder / "step-1"
    listed = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
    assert listed == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (STATE, TENSORS)}


def test_writing_removes_what_the_run_went_back_behind(store):
    for step in (4, 8, 12):
        store.write(step, at(step))
    (store.folder / "step-12" / STATE).write_text("{}")
    with pytest.warns(NlptlWarning, match="step-12 is damaged"):
        assert store.latest().state["step"] == 8
    store.write(10, at(10))
    assert sorted(p.name for p in store.folder.iterdir()) == ["step-10", "step-8"]
    store.write(12, at(12))
    assert store.latest().state["step"] == 12


def test_what_a_killed_process_left_is_no_checkpoint(store):
    store.write(1, at(1))
    aside = store.folder / ".step-2.tmp"
    aside.mkdir()
    (aside / "state.safetensors").write_bytes(b"half")
    (store.folder / "step-notes").mkdir()
    assert store.latest().state["step"] == 1
    store.write(2, at(2))
    assert store.latest().state["step"] == 2 and not aside.exists()
    aside.mkdir()
    store.tidy()
    assert sorted(p.name for p in store.folder.iterdir()) == ["step-1", "step-2", "step-notes"]


def test_a_write_that_fails_leaves_the_former_and_says_so(store, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(
            TrainingError, match=r"'No space left on device' while .* there is none before it: make room"
        ):
            store.write(1, at(1))
    store.write(1, at(1))
    monkeypatch.setattr(os, "replace", fail)
    said = r"checkpoint of step 2: .* expected a place with room for 0.0 MB; the one before it, .*step-1, is whole"
    with pytest.raises(TrainingError, match=said):
        store.write(2, at(2))
    assert [p.name for p in store.folder.iterdir()] == ["step-1"]
    assert store.latest().state["step"] == 1


def test_folders_of_somebody_else_stay(store):
    store.write(1, at(1))
    (store.folder / "step-7").mkdir()
    (store.folder / "step-7" / "holiday.jpg").write_bytes(b"x")
    assert store.newest().name == "step-1" and store.latest().state["step"] == 1
    store.clear()
    assert [p.name for p in store.folder.iterdir()] == ["step-7"]


def test_another_recipe_is_refused(store, tmp_path):
    store.write(1, at(1))
    other = Checkpoints(tmp_path / "run", {**RECIPE, "rows": 9})
    with pytest.raises(
        TrainingError, match=r"received a checkpoint of another run, .*step-1: rows was 8 and is 9; exp"
    ):
        other.latest()


def test_nothing_is_pickled_and_all_is_cleared(store):
    store.write(1, at(1))
    assert {p.name for p in store.folder.glob("step-1/*")} == {TENSORS, STATE, SUMS}
    json.loads((store.folder / "step-1" / "state.json").read_text())
    store.clear()
    store.clear()
    assert store.latest() is None
