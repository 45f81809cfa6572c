"""What holds for every task in every mode on every family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nlptl import Learner, NotFittedError, modes, tasks
from nlptl.backbones import families
from nlptl.tasks.base import Task
from tests.kit.cells import BOTH_KINDS, CELLS, GRADIENT, SOME, Cell, checkpoint_weights, fitted, gap, same_bits, scores
from tests.kit.rows import rows
from tests.kit.shelf import digest, tiny, written

every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)


def test_the_table_has_what_is_promised_at_least():
    assert {"classification", "sentiment", "ner"} <= set(tasks.names())
    assert {"frozen", "full", "lora"} <= set(modes.classes())
    assert {"encoder", "decoder"} <= {sheet.kind for sheet in families.all()}
    assert len(CELLS) >= 3 * 3 * 16
    assert {"full", "lora"} <= set(GRADIENT)


@every_cell
def test_one_answer_a_row_and_one_tag_a_word(cell: Cell):
    learner, (inputs, targets) = fitted(cell), rows(cell.task)
    predicted, chances = learner.predict(inputs), learner.predict_proba(inputs)
    assert len(predicted) == len(chances) == len(inputs)
    if level(cell) == "token":
        assert [len(tags) for tags in predicted] == [len(words) for words in inputs] == [len(c) for c in chances]
        assert {tag for tags in predicted for tag in tags} <= set(learner.classes_)
        flat = np.concatenate(chances)
    else:
        assert set(predicted) <= set(learner.classes_) == set(targets)
        flat = np.asarray(chances)
        assert list(learner.classes_[flat.argmax(1)]) == list(predicted)
    assert flat.shape[1] == len(learner.classes_)
    np.testing.assert_allclose(flat.sum(1), 1, atol=1e-6)


@every_cell
def test_a_batch_says_what_its_rows_say_alone(cell: Cell):
    learner, (inputs, _) = fitted(cell), rows(cell.task)
    alone = [scores(learner, [row])[0] for row in inputs[:4]]
    assert gap(scores(learner, inputs)[:4], alone) < 1e-5


@every_cell
def test_what_is_saved_is_what_is_loaded(cell: Cell, tmp_path: Path):
    learner, (inputs, targets) = fitted(cell), rows(cell.task)
    again = Learner.load(learner.save(tmp_path / "bundle"))
    again.compute = learner.compute
    assert same_bits(scores(again, inputs), scores(learner, inputs))
    assert list(map(list, again.predict(inputs))) == list(map(list, learner.predict(inputs)))
    assert list(again.classes_) == list(learner.classes_)
    assert again.record_.to_dict() == learner.record_.to_dict()
    assert again.history_ == learner.history_
    assert (again.task, again.seed) == (resolved(cell), learner.seed)
    if cell.family not in BOTH_KINDS:
        return
    assert again.mode == learner.mode
    assert again.score(inputs, targets) == learner.score(inputs, targets)
    # What was loaded can be saved, and is still the same.
    third = Learner.load(again.save(tmp_path / "second"))
    third.compute = learner.compute
    assert same_bits(scores(third, inputs), scores(learner, inputs))


@pytest.mark.parametrize("cell", [c for c in CELLS if c.mode in GRADIENT or c in SOME], ids=str)
def test_the_same_seed_gives_the_same_learner(cell: Cell):
    inputs, targets = rows(cell.task)
    again = cell.learner().fit(inputs, targets)
    assert same_bits(scores(again, inputs), scores(fitted(cell), inputs))
    assert [e["loss"] for e in again.history_] == [e["loss"] for e in fitted(cell).history_]


@pytest.mark.parametrize("cell", [c for c in SOME if c.mode in GRADIENT], ids=str)
def test_another_seed_gives_another_learner(cell: Cell):
    inputs, targets = rows(cell.task)
    assert not same_bits(scores(cell.learner(seed=1).fit(inputs, targets), inputs), scores(fitted(cell), inputs))


@pytest.mark.parametrize("family", [sheet.name for sheet in families.all()])
def test_no_mode_touches_the_checkpoint(family: str):
    for cell in CELLS:
        if cell.family == family:
            fitted(cell)
    assert digest(tiny(family)) == written(family)


@pytest.mark.parametrize("cell", [c for c in CELLS if c.mode == "frozen"], ids=str)
def test_frozen_leaves_the_weights_as_they_are(cell: Cell):
    encoder = fitted(cell)._known.fitted.encoder
    saved = checkpoint_weights(tiny(cell.family))
    now = {name: p for name, p in encoder.named_parameters() if name in saved}
    assert len(now) >= 10
    assert all((now[name] == saved[name]).all() for name in now)
    assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize("cell", [c for c in CELLS if c.family == "bert"], ids=str)
def test_nothing_can_be_asked_before_fit(cell: Cell):
    learner = cell.learner()
    for ask in (learner.predict, learner.predict_proba, learner.evaluate, learner.save):
        with pytest.raises(NotFittedError, match=r"received a learner that has not learnt yet; expected fit\(…\)"):
            ask(["a text"])


@every_cell
def test_no_row_at_all_has_no_answer(cell: Cell):
    assert len(fitted(cell).predict([])) == 0
    assert len(fitted(cell).predict_proba([])) == 0


def level(cell: Cell) -> str:
    return resolved(cell).level


def resolved(cell: Cell) -> Task:
    return tasks.resolve(cell.task)
