"""What a run meets in its folder: damaged checkpoints, none, another run's, and a disk without room."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nlptl import FullTuning, Learner, LoRA, OptionError
from nlptl.engine.checkpoint import STATE, SUMS, TENSORS
from nlptl.engine.train import Training
from nlptl.errors import NlptlWarning, TrainingError
from tests.faults.processes import assert_same, finished, started
from tests.faults.runner import Run
from tests.kit.cells import PLAIN, model, scores, weights
from tests.kit.rows import POLARITIES, TEXTS
from tests.kit.shelf import tiny

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 2, "dropout": 0.2, "checkpoint_steps": 3, "learning_rate": 1e-3}


def fit(run_dir: Path | None, *, resume: bool = False, **options: Any) -> Learner:
    learner = Learner(tiny("bert"), mode=FullTuning(**{**OPTIONS, **options}), compute=PLAIN)
    return learner.fit(TEXTS, POLARITIES, run_dir=run_dir, resume=resume)


def stopped_at(step: int, run_dir: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """A run that ended with an error at that step."""
    take = Training._step

    def failing(self: Training, rows: list[int]) -> float:
        if self.at.step == step:
            raise RuntimeError("the machine is on fire")
        return take(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", failing)
        with pytest.raises(RuntimeError, match="on fire"):
            fit(run_dir, **options)


@pytest.fixture
def steps_taken(monkeypatch):
    taken = []
    take = Training._step

    def counting(self, rows):
        taken.append(self.at.step)
        return take(self, rows)

    monkeypatch.setattr(Training, "_step", counting)
    return taken


def kept(run_dir: Path) -> list[str]:
    return sorted(p.name for p in (run_dir / "checkpoints").iterdir())


def same_weights(one: Learner, other: Learner) -> bool:
    a, b = weights(model(one)), weights(model(other))
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", [TENSORS, STATE, SUMS])
@pytest.mark.parametrize("harm", ["cut", "flipped", "missing", "emptied"])
def test_a_damaged_checkpoint_costs_no_more_than_the_way_back(name, harm, tmp_path, monkeypatch, whole):
    stopped_at(7, tmp_path, monkeypatch)  # with those of steps 4 (the epoch's end) and 6
    assert kept(tmp_path) == ["step-4", "step-6"]
    place = tmp_path / "checkpoints" / "step-6" / name
    data = bytearray(place.read_bytes())
    if harm == "flipped":
        data[len(data) // 2] ^= 4
    if harm == "missing":
        place.unlink()
    else:
        place.write_bytes({"cut": data[:-1], "emptied": b""}.get(harm, data))
    with pytest.warns(NlptlWarning, match=r"step-6 is damaged \(.*\); going back to the checkpoint before it"):
        resumed = fit(tmp_path, resume=True)
    assert same_weights(resumed, whole) and resumed.history_[-1]["loss"] == whole.history_[-1]["loss"]
    assert kept(tmp_path) == ["step-6", "step-8"]
    assert same_weights(fit(tmp_path, resume=True), whole)


@pytest.fixture(scope="module")
def whole():
    """The run of these tests, never stopped."""
    return fit(None, checkpoint_steps=None)


def test_where_none_is_whole_the_run_begins_afresh(tmp_path, monkeypatch, whole):
    stopped_at(7, tmp_path, monkeypatch)
    for folder in (tmp_path / "checkpoints").iterdir():
        (folder / STATE).write_text("{}")
    with pytest.warns(NlptlWarning) as told:
        resumed = fit(tmp_path, resume=True)
    said = [str(w.message) for w in told]
    assert ["step-6" in said[0], "step-4" in said[1]] == [True, True]
    assert said[2].startswith("resume: no whole checkpoint in") and "starting afresh" in said[2]
    assert same_weights(resumed, whole)


def test_what_a_killed_run_left_half_written_goes(tmp_path, monkeypatch):
    stopped_at(7, tmp_path, monkeypatch)
    (tmp_path / "checkpoints" / ".step-7.tmp").mkdir()
    fit(tmp_path, resume=True)
    assert kept(tmp_path) == ["step-6", "step-8"]


def test_a_finished_run_is_not_trained_again(tmp_path, steps_taken, whole):
    first = fit(tmp_path)
    assert len(steps_taken) == 8
    again = fit(tmp_path, resume=True)
    assert len(steps_taken) == 8
    assert same_weights(again, first) and same_weights(first, whole) and again.history_ == first.history_


def test_stopped_after_the_last_step_and_before_the_end(tmp_path, monkeypatch, steps_taken, whole):
    with monkeypatch.context() as patch:
        patch.setattr(FullTuning, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path)
    assert len(steps_taken) == 8
    assert same_weights(fit(tmp_path, resume=True), whole) and len(steps_taken) == 8


def test_when_checkpoints_are_written_makes_no_other_run(tmp_path, monkeypatch, whole):
    stopped_at(7, tmp_path, monkeypatch)
    resumed = fit(tmp_path, resume=True, checkpoint_steps=1, checkpoint_minutes=None, checkpoints_kept=3)
    assert same_weights(resumed, whole)
    assert kept(tmp_path) == ["step-6", "step-7", "step-8"]
    with pytest.raises(
        TrainingError, match=r"another run, .*step-8: mode.epochs was 2 and is 3; mode.l2 was 0.0 and is"
    ):
        fit(tmp_path, resume=True, epochs=3, l2=0.1)
    with pytest.raises(TrainingError, match=r"another run, .*: mode was 'full' and is 'lora'; mode.alpha was None"):
        Learner(tiny("bert"), mode=LoRA(alpha=3.0, **OPTIONS), compute=PLAIN).fit(
            TEXTS, POLARITIES, run_dir=tmp_path, resume=True
        )


def test_every_so_many_minutes(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr("nlptl.engine.agreement.time.monotonic", lambda: next(clock))
    stopped_at(3, tmp_path, monkeypatch, checkpoint_steps=None, checkpoint_minutes=1.0)
    assert kept(tmp_path) == ["step-2"]
    stopped_at(3, tmp_path / "never", monkeypatch, checkpoint_steps=None, checkpoint_minutes=None)
    assert not (tmp_path / "never" / "checkpoints").exists()


@pytest.mark.parametrize("option", [{"checkpoint_steps": 5}, {"checkpoint_minutes": None}, {"checkpoints_kept": 7}])
def test_said_of_checkpoints_without_a_place_for_them(option):
    name, value = next(iter(option.items()))
    said = rf"FullTuning\({name}=…\): received {name}={value!r} without run_dir; expected a folder .*; give fit\("
    with pytest.raises(OptionError, match=said):
        Learner(tiny("bert"), mode=FullTuning(**option), compute=PLAIN).fit(TEXTS, POLARITIES)


@pytest.mark.parametrize("option", [{"checkpoint_steps": 0}, {"checkpoint_minutes": 0.0}, {"checkpoints_kept": 0}])
def test_options_out_of_range(option):
    with pytest.raises(OptionError, match=rf"FullTuning\({next(iter(option))}=…\): received 0"):
        FullTuning(**option)


def test_another_machine_is_told(tmp_path, monkeypatch):
    from nlptl import Compute

    stopped_at(7, tmp_path, monkeypatch)
    other = Learner(tiny("bert"), mode=FullTuning(**OPTIONS), compute=Compute(device="cpu", precision="bf16"))
    said = "resume: precision was fp32 and is bf16, batch_tokens was 2048 and is 4096: the run goes on from step 6"
    with pytest.warns(NlptlWarning, match=said):
        other.fit(TEXTS, POLARITIES, run_dir=tmp_path, resume=True)


def test_running_statistics_go_on_as_well(tmp_path, monkeypatch):
    """No backbone here has any; one that had (a BatchNorm) would otherwise come back with those of the start."""
    from nlptl.engine import snapshot

    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    kept = {
        name: t.detach().clone() for name, t in snapshot.take(module, optimizer, {"0.weight": torch.ones(3, 3)}).items()
    }
    assert {"buffer.1.running_mean", "buffer.1.running_var", "optimizer.0.momentum_buffer"} <= set(kept)
    mean = module[1].running_mean.clone()
    module(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(module[1].running_mean, mean)
    assert torch.equal(snapshot.put_back(module, optimizer, kept)["0.weight"], torch.ones(3, 3))
    assert torch.equal(module[1].running_mean, mean) and torch.equal(module[0].weight, kept["weight.0.weight"])


def test_weights_that_are_no_numbers_are_not_written():
    from nlptl.engine import snapshot

    module = torch.nn.Linear(2, 2)
    with torch.no_grad():
        module.weight[0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"received weight with values that are no numbers; .* nothing was written"):
        snapshot.take(module, torch.optim.SGD(module.parameters()), {})


def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path):
    """A limit on the size of files, as on a full disk, met by the second part of a run."""
    run = Run(str(tmp_path), str(tiny("bert")), nap=0.0, epochs=3)
    whole = finished(run)
    size = max(p.stat().st_size for p in (run.run_dir / "checkpoints").rglob(TENSORS))
    for path in [*tmp_path.glob("final.*")]:
        path.unlink()
    (tmp_path / "run" / "checkpoints" / "step-9").rename(tmp_path / "aside")
    assert kept(run.run_dir) == ["step-8"]
    with started(run.again(largest_file=size // 2)) as running:
        assert running.ended() == [1]
    said = running.said.splitlines()[-1]
    assert "checkpoint of step 9: received " in said and "File too large" in said
    assert f"the one before it, {run.run_dir}/checkpoints/step-8, is whole" in said and "resume=True" in said
    assert kept(run.run_dir) == ["step-8"]
    told = finished(run.again())
    assert told["steps"] == [8]
    assert_same(told, whole)


def test_a_learner_that_cannot_be_saved_leaves_the_former(tmp_path):
    """The same for `Learner.save`: the bundle before stays, and nothing half written beside it."""
    run = Run(str(tmp_path), str(tiny("bert")), nap=0.0, epochs=1, save=True)
    finished(run)
    before = {p.name: p.read_bytes() for p in (tmp_path / "model").iterdir()}
    assert "model.safetensors" in before
    with started(run.again(largest_file=len(before["model.safetensors"]) // 2)) as running:
        assert running.ended() != [0]
    assert {p.name: p.read_bytes() for p in (tmp_path / "model").iterdir()} == before
    assert not list(tmp_path.glob(".model*"))
    assert scores(Learner.load(tmp_path / "model"), TEXTS)


@pytest.mark.slow
def test_a_disk_without_room(tmp_path):
    """A real one, of a few megabytes in memory; only root can mount it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1300k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    try:
        run = Run(str(tmp_path / "beside"), str(tiny("bert")), nap=0.0, epochs=3, options=(("checkpoints_kept", 1),))
        (tmp_path / "beside").mkdir()
        run.run_dir.symlink_to(disk)
        whole = finished(run)
        with started(replace(run, options=(("checkpoints_kept", 50),))) as running:
            assert running.ended() == [1]
        assert "No space left on device" in running.said and "is whole: make room there" in running.said
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)  # there is room again
        told = finished(run.again())
        assert told["steps"][0] > 0
        assert_same(told, whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_patience_and_its_best_weights_go_on(tmp_path, monkeypatch):
    """The first epoch is the best one, and is over when the run is stopped: its weights come from the checkpoint."""
    held = ([f"{text} indeed" for text in TEXTS], POLARITIES)
    mode = FullTuning(**{**OPTIONS, "epochs": 6, "patience": 3})
    worse = iter(())
    monkeypatch.setattr("nlptl.modes.gradient.held_out_metrics", lambda job, fitted: {"accuracy": next(worse)})

    def go_on(place: str, **more: Any) -> Learner:
        learner = Learner(tiny("bert"), mode=mode, compute=PLAIN)
        return learner.fit(TEXTS, POLARITIES, eval=held, run_dir=tmp_path / place, **more)

    worse = iter([0.9, 0.8, 0.7, 0.6])
    first = go_on("whole")
    worse = iter([0.9, 0.8, 0.7, 0.6])
    take = Training._step
    for step in (5, 11):  # in the middle of epochs
        with monkeypatch.context() as patch:
            patch.setattr(Training, "_step", _stopping(take, step))
            with pytest.raises(RuntimeError, match="stopped"):
                go_on("run", resume=step > 5)
    resumed = go_on("run", resume=True)
    assert same_weights(resumed, first)
    assert [e["eval_accuracy"] for e in resumed.history_] == [0.9, 0.8, 0.7, 0.6]


def _stopping(take: Any, step: int) -> Any:
    def failing(self: Training, rows: list[int]) -> float:
        if self.at.step == step:
            raise RuntimeError("stopped")
        return take(self, rows)

    return failing
