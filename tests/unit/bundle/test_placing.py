"""A save is killed at every point: what is found afterwards is the former bundle or the new one, whole."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import pytest

from nlptl import Learner
from nlptl.bundle import manifest, placing
from tests.kit.cells import Cell, fitted

CELL, OTHER = Cell("classification", "lora", "bert"), Cell("sentiment", "frozen", "bert")

#: What a save does to the disk, as Python's audit hooks tell it before it is done; the first only in its place.
EVENTS = ("open", "os.mkdir", "os.listdir", "shutil.rmtree")
ALWAYS = ("os.rename", "os.remove", "os.rmdir", "ctypes.call_function")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def killed_at(point: int | None, save, place: Path) -> int:
    """Save in a child that is killed at its n-th step on the disk; returns how many steps there were, or -9."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while threads are there: nothing runs in them
        child = os.fork()
    if not child:
        steps = 0

        def count(event: str, values: tuple[object, ...]) -> None:
            nonlocal steps
            if event in ALWAYS or (event in EVENTS and str(place) in str(values)):
                steps += 1
                if steps == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(count)
            save()
            os.write(writer, str(steps).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    told = os.read(reader, 100)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert status == (0 if told else signal.SIGKILL), status
    return int(told) if told else -9


def run(tmp_path: Path, points) -> None:
    kept = fitted(CELL).save(tmp_path / "kept")
    place = tmp_path / "here" / "bundle"
    save = fitted(OTHER).save
    save(tmp_path / "warm")  # what is imported late is imported here, and not in every child

    def former() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept, place)

    former()
    steps = killed_at(None, lambda: save(place), place.parent)
    assert steps > 30
    seen = set()
    for point in points(steps):
        former()
        assert killed_at(point, lambda: save(place), place.parent) == -9
        # Every file is the one that was written, and none is of another bundle.
        seen.add(manifest.read(placing.standing(place)).mode["name"])
    assert seen == {"lora", "frozen"}
    save(place)
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]  # what the dead left is cleared away


@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_at_some_points_of_a_save(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(placing, "_exchange", lambda *_: False)
    # Most of a save is writing aside: what may go wrong lies at its end.
    run(tmp_path, lambda steps: [steps // 2, *range(steps - 14, steps + 1)])


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_at_every_point_of_a_save(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(placing, "_exchange", lambda *_: False)
    run(tmp_path, lambda steps: range(1, steps + 1))


def test_a_kill_at_the_first_save_leaves_a_bundle_or_none(tmp_path):
    place = tmp_path / "here" / "bundle"
    place.parent.mkdir()
    save = fitted(CELL).save
    steps = killed_at(None, lambda: save(tmp_path / "there" / "bundle"), tmp_path / "there")
    for point in range(1, steps, 9):
        killed_at(point, lambda: save(place), place.parent)
        if place.exists():
            manifest.read(place)
    save(place)
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def test_what_was_left_between_two_renames_is_found_by_load_and_mended_by_save(tmp_path):
    place = fitted(CELL).save(tmp_path / "bundle")
    # The place of a process that is gone: no process has this number.
    os.replace(place, tmp_path / ".bundle.4194999.old")
    assert Learner.load(place).mode.name == "lora"
    assert not place.exists()  # loading only reads
    with placing.aside(place):
        assert place.is_dir()
    assert Learner.load(place).mode.name == "lora"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_two_folders_change_places_in_one_step(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not placing._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot")
    assert (tmp_path / "a" / "file").read_text() == "b" and (tmp_path / "b" / "file").read_text() == "a"
