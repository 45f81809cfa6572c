"""sklearn's contract: clone, search, cross-validation and pipelines take a learner for one of their own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from nlptl import Embedder, Frozen, FullTuning, Learner, LoRA, NotFittedError, OptionError, Sentiment, modes, tasks
from tests.kit.cells import PLAIN, Cell, same_bits, scores
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import tiny

ALL = [Cell(task, mode, "bert") for task in tasks.names() for mode in modes.classes()]
BRIEF = Frozen(head=LogisticRegression())


@pytest.mark.parametrize("cell", ALL, ids=str)
def test_a_clone_has_the_parameters_and_nothing_learnt(cell: Cell):
    inputs, targets = rows(cell.task)
    learner = cell.learner(seed=3).fit(inputs, targets)
    copy = clone(learner)
    assert copy is not learner
    # An estimator of one's own is cloned with it, and is then equal by its parameters only.
    assert repr(copy.get_params()) == repr(learner.get_params())
    with pytest.raises(NotFittedError):
        copy.predict(inputs)
    assert same_bits(scores(copy.fit(inputs, targets), inputs), scores(learner, inputs))


def test_parameters_reach_into_task_mode_and_compute():
    learner = Learner(tiny("bert"), task="sentiment", mode=LoRA(rank=4))
    params = learner.get_params()
    assert params["mode__rank"] == 4 and params["task__scale"] == "auto" and params["compute__precision"] == "auto"
    assert "mode__rank" not in learner.get_params(deep=False)
    before = learner.mode
    assert learner.set_params(mode__rank=16, mode__alpha=8.0, seed=5) is learner
    assert (learner.mode.rank, learner.mode.alpha, learner.seed, before.rank) == (16, 8.0, 5, 4)
    learner.set_params(mode="full", mode__epochs=2)
    assert learner.mode == FullTuning(epochs=2)
    with pytest.raises(OptionError, match=r"mode__rnak=….*Did you mean 'rank'"):
        Learner(tiny("bert"), mode="lora").set_params(mode__rnak=3)
    with pytest.raises(OptionError, match=r"Did you mean 'backbone'"):
        learner.set_params(backbon="x")


def test_a_grid_over_the_modes_options():
    learner = Learner(tiny("bert"), mode=LoRA(steps=2, batch_size=4, learning_rate=1e-2), compute=PLAIN)
    search = GridSearchCV(learner, {"mode__rank": [2, 4], "mode__steps": [1, 2]}, cv=2, error_score="raise")
    search.fit(TEXTS, POLARITIES)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.mode.rank == search.best_params_["mode__rank"]
    assert set(search.predict(TEXTS)) <= {"positive", "negative"}
    assert learner.mode.rank == 8


@pytest.mark.parametrize("task", tasks.names())
@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_cross_validation_uses_the_learners_own_score(task, mode):
    inputs, targets = rows(task)
    learner = Learner(tiny("gpt2"), task=task, mode=BRIEF if mode == "frozen" else FullTuning(steps=1), compute=PLAIN)
    folds = KFold(2, shuffle=True, random_state=0)
    # A type of entity may be in one fold only: the learner wants to be told of it.
    known = {"labels": ["person", "place", "firm"]} if task == "ner" else {}
    found = cross_val_score(learner, inputs, targets, cv=folds, error_score="raise", params=known)
    for value, (train, test) in zip(found, folds.split(inputs), strict=True):
        part = clone(learner).fit([inputs[i] for i in train], [targets[i] for i in train], **known)
        assert value == part.score([inputs[i] for i in test], [targets[i] for i in test])


def test_several_labels_and_stars_cross_validate_too():
    lists = [["a"], ["b"], ["a", "b"], ["b"], ["a"], ["a", "b"], ["b"], ["a"]]
    for task, targets in (("classification", lists), (Sentiment(scale="stars"), [4.5, 1, 5, 1.5, 4, 2, 5, 1])):
        made = Learner(tiny("bert"), task=task, mode=FullTuning(steps=1), compute=PLAIN)
        assert len(cross_val_score(made, TEXTS, targets, cv=KFold(2), error_score="raise")) == 2


def test_cross_validated_predictions_come_in_order():
    learner = Learner(tiny("bert"), mode=BRIEF, compute=PLAIN)
    found = cross_val_predict(learner, np.array(TEXTS), np.array(POLARITIES), cv=2)
    assert found.shape == (8,) and set(found) <= {"positive", "negative"}
    chances = cross_val_predict(learner, np.array(TEXTS), np.array(POLARITIES), cv=2, method="predict_proba")
    assert chances.shape == (8, 2)


def test_a_learner_ends_a_pipeline():
    inputs = [f"  {text.upper()} " for text in TEXTS]
    pipe = Pipeline(
        [
            ("tidy", FunctionTransformer(lambda rows: [text.strip().lower() for text in rows])),
            ("learner", Learner(tiny("bert"), mode=BRIEF, compute=PLAIN)),
        ]
    )
    assert set(pipe.fit(inputs, POLARITIES).predict(inputs)) <= {"positive", "negative"}
    pipe.set_params(learner__mode__max_length=16)
    assert pipe.named_steps["learner"].mode.max_length == 16


def test_what_sklearn_takes_a_learner_for():
    assert is_classifier(Learner("x"))
    assert is_classifier(Learner("x", task="sentiment"))
    assert is_regressor(Learner("x", task=Sentiment(scale="stars")))
    for learner in (Learner("x", task="ner"),):
        assert not is_classifier(learner) and not is_regressor(learner)


def test_an_embedder_is_a_transformer():
    inputs = TEXTS
    pipe = make_pipeline(Embedder(tiny("bert"), compute=PLAIN), LogisticRegression())
    assert pipe.fit(inputs, POLARITIES).predict(inputs).shape == (8,)
    vectors = Embedder(tiny("bert"), compute=PLAIN).fit_transform(inputs)
    assert vectors.shape == (8, 32) and vectors.dtype == np.float32
    assert Embedder(tiny("bert"), compute=PLAIN).fit().transform([]).shape == (0, 32)
    assert len(clone(pipe[0]).fit().get_feature_names_out()) == 32
    search = GridSearchCV(pipe, {"embedder__pooling": ["mean", "cls"]}, cv=2, error_score="raise").fit(
        inputs, POLARITIES
    )
    assert search.best_params_["embedder__pooling"] in ("mean", "cls")
    with pytest.raises(OptionError, match="Did you mean 'mean'"):
        Embedder(tiny("bert"), pooling="meen").fit()
