"""What a run promises: it learns, it can be interrupted, its batches are only a matter of memory, options act."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from nlptl import Compute, FullTuning, Learner, LoRA, OptionError, modes
from nlptl.backbones import families
from nlptl.engine.options import CHECKPOINTING
from nlptl.engine.train import Training
from nlptl.errors import TrainingError
from tests.kit.cells import BOTH_KINDS, GRADIENT, PLAIN, SOME, Cell, gap, model, quick, same_bits, scores, weights
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import opened, tiny

#: Rates at which a model of width 32 learns eight rows by heart.
RATES = {"full": 5e-3, "lora": 4e-3}
LEARNING = [cell for cell in SOME if cell.mode in GRADIENT]
CLASSES = [cell for cell in LEARNING if cell.task == "classification"]
learning = pytest.mark.parametrize("cell", LEARNING, ids=str)
classes = pytest.mark.parametrize("cell", CLASSES, ids=str)


@learning
def test_eight_rows_are_learnt_by_heart(cell: Cell):
    inputs, targets = rows(cell.task)
    learner = cell.learner(
        steps=60, batch_size=8, learning_rate=RATES.get(cell.mode, 5e-3), dropout=0.0, schedule="constant"
    )
    assert learner.fit(inputs, targets).score(inputs, targets) == 1.0
    assert list(map(list, learner.predict(inputs))) == list(map(list, targets))
    assert learner.history_[-1]["loss"] < 0.2 * learner.history_[0]["loss"]


@learning
def test_an_interrupted_run_goes_on_as_if_it_had_never_stopped(cell: Cell, tmp_path: Path, monkeypatch):
    inputs, targets = rows(cell.task)
    options = {"epochs": 4, "batch_size": 3, "dropout": 0.2, "learning_rate": 1e-3}
    whole = cell.learner(**options).fit(inputs, targets, run_dir=tmp_path / "whole")
    steps = 0
    step = Training._step

    def failing(self, part):
        nonlocal steps
        steps += 1
        if steps == 8:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return step(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", failing)
        with pytest.raises(KeyboardInterrupt):
            cell.learner(**options).fit(inputs, targets, run_dir=tmp_path / "broken")
    torch.rand(3)  # whatever the process has drawn since must not matter
    resumed = cell.learner(**options).fit(inputs, targets, run_dir=tmp_path / "broken", resume=True)
    one, other = weights(model(whole)), weights(model(resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [e["loss"] for e in resumed.history_] == [e["loss"] for e in whole.history_]
    assert [e["step"] for e in resumed.history_] == [3, 6, 9, 12]


@classes
def test_resuming_a_finished_run_changes_nothing(cell: Cell, tmp_path: Path):
    inputs, targets = rows(cell.task)
    first = cell.learner().fit(inputs, targets, run_dir=tmp_path)
    again = cell.learner().fit(inputs, targets, run_dir=tmp_path, resume=True)
    assert same_bits(scores(again, inputs), scores(first, inputs))
    assert again.history_ == first.history_


def test_resuming_another_run_is_refused(tmp_path: Path):
    inputs, targets = rows("classification")
    Cell("classification", "full", "bert").learner().fit(inputs, targets, run_dir=tmp_path)
    with pytest.raises(
        TrainingError, match=r"another run, .*: mode.steps was 2 and is 3; expected the same recipe and data"
    ):
        Cell("classification", "full", "bert").learner(steps=3).fit(inputs, targets, run_dir=tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"data was '.*' and is '.*'; expected the same recipe and data"):
        other = [f"{text} indeed" for text in inputs]
        Cell("classification", "full", "bert").learner().fit(other, targets, run_dir=tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"seed was 0 and is 1"):
        Cell("classification", "full", "bert").learner(seed=1).fit(inputs, targets, run_dir=tmp_path, resume=True)


def test_a_run_without_resume_starts_afresh(tmp_path: Path):
    inputs, targets = rows("classification")
    cell = Cell("classification", "full", "bert")
    first = cell.learner().fit(inputs, targets, run_dir=tmp_path)
    again = cell.learner().fit(inputs, targets, run_dir=tmp_path)
    assert same_bits(scores(again, inputs), scores(first, inputs))


@learning
def test_a_batch_in_parts_has_the_gradient_of_the_whole(cell: Cell):
    inputs, targets = rows(cell.task)
    options = {"steps": 1, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "dropout": 0.0, "clip": None}
    whole = cell.learner(**options).fit(inputs, targets)
    parts = cell.learner(compute=Compute(device="cpu", precision="fp32", batch_tokens=16), **options)
    parts.fit(inputs, targets)
    one, other = weights(model(whole)), weights(model(parts))
    start = weights(model(cell.learner(**{**options, "learning_rate": 0.0}).fit(inputs, targets)))
    moved = [name for name in one if not torch.equal(one[name], start[name])]
    assert len(moved) >= 2
    for name in one:
        torch.testing.assert_close(other[name], one[name], atol=1e-6, rtol=1e-5)
    assert parts.history_[0]["loss"] == pytest.approx(whole.history_[0]["loss"], abs=1e-6)


def test_patience_stops_and_restores_the_best(monkeypatch):
    inputs, targets = rows("classification")
    # At this rate the run falls apart after its first epochs.
    mode = FullTuning(
        epochs=12, batch_size=4, learning_rate=0.05, schedule="constant", warmup=0, patience=3, dropout=0.0, clip=None
    )
    learner = Learner(tiny("bert"), mode=mode, compute=PLAIN)
    held = ([f"{text} indeed" for text in inputs], targets)
    ends = []
    close = Training._close_epoch

    def watched(self):
        close(self)
        ends.append(weights(self.plain))

    monkeypatch.setattr(Training, "_close_epoch", watched)
    learner.fit(inputs, targets, eval=held)
    seen = [entry["eval_accuracy"] for entry in learner.history_]
    best = seen.index(max(seen))
    assert len(seen) == len(ends) == best + 1 + 3 < 12
    kept = weights(model(learner))
    assert all(torch.equal(kept[name], ends[best][name]) for name in kept)
    assert not all(torch.equal(kept[name], ends[-1][name]) for name in kept)
    assert learner.score(*held) == max(seen)
    assert learner.record_.to_dict()["choices"]["steps"] == f"{2 * len(seen)} of 24"


def test_patience_watches_what_it_is_told(tmp_path: Path):
    inputs, targets = rows("classification")
    held = ([f"{text} indeed" for text in inputs], targets)
    mode = FullTuning(epochs=4, batch_size=4, patience=2, monitor="macro_f2")
    with pytest.raises(OptionError, match=r"monitor='macro_f2': received a name that is no metric .* Did you mean"):
        Learner(tiny("bert"), mode=mode, compute=PLAIN).fit(inputs, targets, eval=held)
    with pytest.raises(OptionError, match=r"patience=2, .*received no rows to evaluate on"):
        Learner(tiny("bert"), mode=FullTuning(epochs=4, patience=2), compute=PLAIN).fit(inputs, targets)


@pytest.mark.parametrize(("monitor", "best"), [("log_loss", min), ("macro_f1", max)])
def test_the_best_is_the_lowest_where_low_is_good(monitor, best, monkeypatch):
    inputs, targets = rows("classification")
    held = ([f"{text} indeed" for text in inputs], targets)
    mode = FullTuning(epochs=10, batch_size=4, learning_rate=5e-3, patience=4, monitor=monitor, dropout=0.0)
    learner = Learner(tiny("bert"), mode=mode, compute=PLAIN).fit(inputs, targets, eval=held)
    seen = [entry[f"eval_{monitor}"] for entry in learner.history_]
    assert len(set(seen)) > 1
    assert learner.evaluate(*held)[monitor] == pytest.approx(best(seen))


def test_an_interrupted_run_with_patience_keeps_its_best(tmp_path: Path, monkeypatch):
    inputs, targets = rows("classification")
    held = ([f"{text} indeed" for text in inputs], targets)
    mode = FullTuning(epochs=8, batch_size=4, learning_rate=0.05, schedule="constant", warmup=0, patience=4, clip=None)

    def learner():
        return Learner(tiny("bert"), mode=mode, compute=PLAIN)

    whole = learner().fit(inputs, targets, eval=held, run_dir=tmp_path / "whole")
    close, closed = Training._close_epoch, 0

    def failing(self):
        nonlocal closed
        close(self)
        closed += 1
        if closed == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_close_epoch", failing)
        with pytest.raises(KeyboardInterrupt):
            learner().fit(inputs, targets, eval=held, run_dir=tmp_path / "broken")
    resumed = learner().fit(inputs, targets, eval=held, run_dir=tmp_path / "broken", resume=True)
    assert same_bits(scores(resumed, inputs), scores(whole, inputs))
    assert [e["eval_accuracy"] for e in resumed.history_] == [e["eval_accuracy"] for e in whole.history_]


#: A value of each option that must change what is learnt, or be refused.
OTHER = {
    "epochs": 3.0,
    "steps": 4,
    "batch_size": 3,
    "learning_rate": 0.02,
    "schedule": "constant",
    "warmup": 3,
    "weight_decay": 0.9,
    "optimizer": "sgd",
    "l1": 0.1,
    "l2": 0.1,
    "dropout": 0.5,
    "clip": 1e-3,
    "label_smoothing": 0.3,
    "class_weight": {"negative": 5.0},
    "focal_gamma": 3.0,
    "patience": 1,
    "monitor": "macro_f1",
    "max_length": 8,
    "stride": 5,
    "checkpoint_steps": 1,
    "checkpoint_minutes": 5.0,
    "checkpoints_kept": 3,
    "bidirectional": True,
    "rank": 3,
    "alpha": 64.0,
    "lora_dropout": 0.5,
    "targets": ("c_attn",),
    "variant": "rslora",
}


@pytest.mark.parametrize(
    ("mode", "option"),
    [(mode, f.name) for mode in GRADIENT for f in fields(modes.classes()[mode])],
)
def test_no_option_is_ignored(mode, option):
    """A new option of a mode needs a value in `OTHER`: whatever is given must change the outcome, or be refused."""
    assert option in OTHER, f"{option}: say here which value of it must change what is learnt"
    inputs, targets = rows("classification")
    base = {"steps": 2, "batch_size": 8, "learning_rate": 0.01, "dropout": 0.0}
    if option in ("patience", "monitor", *CHECKPOINTING):
        with pytest.raises(OptionError):
            Cell("classification", mode, "gpt2").learner(**{**base, option: OTHER[option]}).fit(inputs, targets)
        return
    if option == "epochs":
        base.pop("steps")
        base["epochs"] = 1
    if option == "schedule":
        base["steps"] = 4
    if option == "stride":
        base["max_length"] = 8
    if option in ("weight_decay", "clip"):
        base["optimizer"] = "sgd"
    one = Cell("classification", mode, "gpt2").learner(**base).fit(inputs, targets)
    other = Cell("classification", mode, "gpt2").learner(**{**base, option: OTHER[option]}).fit(inputs, targets)
    changed = {name for name, w in weights(model(one)).items() if not same(w, weights(model(other)).get(name))}
    assert changed


def same(one, other):
    return other is not None and one.shape == other.shape and torch.equal(one, other)


@pytest.mark.parametrize("mode", GRADIENT)
def test_a_monitor_without_patience_is_refused(mode):
    with pytest.raises(OptionError, match="monitor"):
        quick(mode, monitor="macro_f1")


@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("family", families.all(), ids=lambda sheet: sheet.name)
def test_dropout_reaches_every_family(family, level):
    backbone = opened(family.name)
    ids = torch.arange(5, 25).reshape(2, 10)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    for rate in (0.0, 0.9):
        module = backbone.with_head(level, 2, "single", seed=0, dropout=rate).model.train()
        with torch.no_grad():
            first, second = module(**inputs).logits, module(**inputs).logits
        assert torch.equal(first, second) == (rate == 0.0), f"dropout={rate}"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("mode", list(modes.classes()))
def test_bidirectional_decoders_come_back_as_such(mode, family, tmp_path: Path):
    inputs, targets = rows("ner")
    cell = Cell("ner", mode, family)
    both = cell.learner(bidirectional=True).fit(inputs, targets)
    one = cell.learner().fit(inputs, targets)
    assert gap(scores(both, inputs), scores(one, inputs)) > 1e-4
    again = Learner.load(both.save(tmp_path / "bundle"))
    again.compute = PLAIN
    assert same_bits(scores(again, inputs), scores(both, inputs))


def test_a_loss_that_is_no_number_ends_the_run():
    mode = FullTuning(steps=6, learning_rate=1e3, optimizer="sgd", schedule="constant", warmup=0, clip=None)
    with pytest.raises(TrainingError, match=r"received a loss of (nan|inf) on rows .*; lower the learning rate"):
        Learner(tiny("gpt2"), mode=mode, compute=PLAIN).fit(*rows("classification"))


def test_a_weight_of_nought_is_a_row_that_is_not_there():
    inputs, targets = TEXTS, POLARITIES
    options = {"steps": 1, "batch_size": 8, "optimizer": "sgd", "dropout": 0.0, "learning_rate": 0.1}
    kept = [1.0] * 6 + [0.0] * 2
    weighted = Learner(tiny("bert"), mode=FullTuning(**options), compute=PLAIN)
    weighted.fit(inputs, targets, sample_weight=kept)
    fewer = Learner(tiny("bert"), mode=FullTuning(**options), compute=PLAIN).fit(inputs[:6], targets[:6])
    assert gap(scores(weighted, inputs), scores(fewer, inputs)) < 1e-5


def test_two_precisions_in_one_process():
    inputs, targets = rows("classification")
    half = Learner(tiny("bert"), mode=LoRA(steps=2), compute=Compute(device="cpu", precision="bf16")).fit(
        inputs, targets
    )
    full = Learner(tiny("bert"), mode=LoRA(steps=2), compute=PLAIN).fit(inputs, targets)
    assert half.record_.to_dict()["choices"]["precision"] == "bf16"
    assert full.record_.to_dict()["choices"]["precision"] == "fp32"
    assert all(p.dtype == torch.float32 for p in model(half).parameters())
    assert 0 < gap(scores(half, inputs), scores(full, inputs)) < 0.1


@pytest.mark.parametrize("family", BOTH_KINDS)
def test_a_second_fit_starts_afresh(family):
    inputs, targets = rows("classification")
    learner = Cell("classification", "full", family).learner()
    once = scores(learner.fit(inputs, targets), inputs)
    assert same_bits(scores(learner.fit(inputs, targets), inputs), once)
    other = ["x" if t == "positive" else "y" for t in targets]
    assert set(learner.fit(inputs, other).classes_) == {"x", "y"}


def test_fitting_leaves_the_global_random_state_alone():
    inputs, targets = rows("classification")
    for mode in modes.classes():
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
        Cell("classification", mode, "bert").learner().fit(inputs, targets)
        assert torch.equal(torch.get_rng_state(), torch_state)
        assert (np.random.get_state()[1] == numpy_state[1]).all()
