"""A loss or a gradient that is no number: the run ends there, and says where, on which rows, and what is left."""

from __future__ import annotations

import json

import pytest
import torch

from nlptl import Compute, FullTuning, Learner
from nlptl.data.sources import read, split
from nlptl.engine.runtime import Runtime
from nlptl.engine.scaling import LossScale
from nlptl.engine.steps import Steps, TrainingRows, drawn_from
from nlptl.errors import TrainingError
from nlptl.tasks import resolve
from tests.kit.cells import PLAIN, model, weights
from tests.kit.rows import POLARITIES, TEXTS
from tests.kit.shelf import tiny

OPTIONS = {"epochs": 2, "batch_size": 2, "checkpoint_steps": 2, "dropout": 0.0}


def spoiled(monkeypatch, step, spoil):
    """What the loss of a part is, from that step on, made into something else."""
    loss, taken = Steps._loss, Steps.take
    now = {}

    def take(self, rows, at, rate):
        now["step"] = at
        return taken(self, rows, at, rate)

    monkeypatch.setattr(Steps, "take", take)
    monkeypatch.setattr(
        Steps, "_loss", lambda self, part: spoil(loss(self, part)) if now["step"] >= step else loss(self, part)
    )


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_none(value, monkeypatch, tmp_path):
    spoiled(monkeypatch, 5, lambda loss: loss * float(value))
    with pytest.raises(TrainingError) as error:
        Learner(tiny("bert"), mode=FullTuning(**OPTIONS), compute=PLAIN).fit(TEXTS, POLARITIES, run_dir=tmp_path)
    said = str(error.value)
    assert said.startswith(f"step 6: received a loss of {value} on rows [")
    assert "of X; expected a finite number; lower the learning rate" in said
    assert f"The last good checkpoint is {tmp_path}/checkpoints/step-4: fit(…, resume=True) goes on from it" in said


def test_gradients_that_are_none(monkeypatch):
    spoiled(monkeypatch, 2, lambda loss: loss + torch.sqrt(loss - loss.detach()))  # finite, and of infinite slope
    with pytest.raises(
        TrainingError, match=r"step 3: received gradients of norm (nan|inf) on rows \[\d, \d\] of X; exp"
    ):
        Learner(tiny("bert"), mode=FullTuning(**OPTIONS | {"checkpoint_steps": None}), compute=PLAIN).fit(
            TEXTS, POLARITIES
        )


def test_rows_are_those_of_the_user():
    """With some rows held out, the third that is learnt from need not be the third of the file."""
    some = TrainingRows([], [], [], numbers=[4, 7, 9], source="reviews.csv")
    assert some.told([2, 0]) == "rows [4, 9] of reviews.csv"
    assert TrainingRows([], [], []).told(range(40)).endswith(" and 8 more of the training rows")


def test_the_numbers_that_are_told_are_those_of_the_file(monkeypatch, tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\n" + "".join(f'"{t}",{p}\n' for t, p in zip(TEXTS, POLARITIES, strict=True)))
    spoiled(monkeypatch, 0, lambda loss: loss * float("nan"))
    with pytest.raises(TrainingError) as error:
        Learner(tiny("bert"), mode=FullTuning(steps=1, batch_size=8), compute=PLAIN).fit(file, eval=0.25)
    train, _ = split(
        read(file, schema=resolve("classification").schema, split="train", name="X"), 0.25, seed=0, stratify=POLARITIES
    )
    assert f"on rows {sorted(train.origin.rows)} of {file.name}" in str(error.value)


def test_every_draw_has_a_seed_of_its_own():
    drawn = {
        drawn_from(*place)
        for place in [(0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0), (1, 1, 0, 0)]
    }
    assert len(drawn) == 6 and all(0 <= seed < 2**63 for seed in drawn)
    assert drawn_from(3, 141, 5, 9) == drawn_from(3, 141, 5, 9)


def scaled(scale: float) -> LossScale:
    """A loss scale as on CUDA, where fp16 is at home; torch has one for the CPU as well."""
    made = LossScale(Runtime(PLAIN))
    made._scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return made


def test_a_scaled_loss_moves_the_weights_as_a_plain_one(monkeypatch, tmp_path):
    mode = FullTuning(steps=4, batch_size=4, dropout=0.0)
    plain = Learner(tiny("bert"), mode=mode, compute=PLAIN).fit(TEXTS, POLARITIES)
    monkeypatch.setattr("nlptl.engine.steps.LossScale", lambda runtime: scaled(2.0**10))
    learner = Learner(tiny("bert"), mode=mode, compute=PLAIN).fit(TEXTS, POLARITIES, run_dir=tmp_path)
    one, other = weights(model(plain)), weights(model(learner))
    for name in one:
        torch.testing.assert_close(other[name], one[name], atol=1e-6, rtol=1e-5)
    state = json.loads((tmp_path / "checkpoints" / "step-4" / "state.json").read_text())["state"]
    assert state["scale"]["scale"] == 2.0**10 and state["scale"]["_growth_tracker"] == 4


def test_gradients_that_overflow_are_left_out_and_the_factor_shrinks():
    scale, weight = scaled(4.0), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for gradient, after, factor in ((float("inf"), 1.0, 2.0), (float("inf"), 1.0, 1.0), (0.5, 0.5, 1.0)):
        optimizer.zero_grad()
        assert scale.may_overflow == (scale.state()["scale"] > 1)
        scale.scaled((weight * gradient).sum()).backward()
        scale.unscale(optimizer)
        scale.step(optimizer)
        assert float(weight.detach()) == after and scale.state()["scale"] == factor
    again = scaled(64.0)
    again.load(scale.state())
    assert again.state() == scale.state() and not again.may_overflow


@pytest.mark.gpu
def test_fp16_learns():
    mode = FullTuning(steps=20, batch_size=8, learning_rate=1e-3)
    history = Learner(tiny("bert"), mode=mode, compute=Compute(precision="fp16")).fit(TEXTS, POLARITIES).history_
    assert history[-1]["loss"] < history[0]["loss"]


def test_other_precisions_scale_nothing():
    scale, loss = LossScale(Runtime(PLAIN)), torch.ones(())
    assert scale.scaled(loss) is loss and scale.state() == {} and not scale.may_overflow
