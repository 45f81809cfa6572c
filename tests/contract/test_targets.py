"""Targets of every form: several labels, stars, spellings, weights; predictions come in the form that was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nlptl import Classification, DataError, Frozen, FullTuning, Learner, LoRA, OptionError, Sentiment
from tests.kit.cells import PLAIN, gap, same_bits, scores
from tests.kit.rows import POLARITIES, TEXTS
from tests.kit.shelf import tiny

BY_HEART = {"steps": 60, "batch_size": 8, "dropout": 0.0, "schedule": "constant"}
MODES = {
    "frozen": Frozen(),
    "full": FullTuning(learning_rate=5e-3, **BY_HEART),
    "lora": LoRA(learning_rate=6e-3, **BY_HEART),
}
BRIEF = {"frozen": Frozen(), "full": FullTuning(steps=2), "lora": LoRA(steps=2)}
every_mode = pytest.mark.parametrize("mode", MODES)
LISTS = [["a"], ["b"], ["a", "b"], [], ["a", "b", "c"], ["c"], ["a", "c"], ["b"]]
INDICATOR = np.array([[label in row for label in "abc"] for row in LISTS], dtype=int)
STARS = [4.5, 1.0, 5.0, 1.5, 4.0, 2.0, 5.0, 1.0]


def learner(mode, family="bert", task="classification", modes=MODES):
    return Learner(tiny(family), task=task, mode=modes[mode], compute=PLAIN)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@every_mode
def test_several_labels_as_lists(mode, family, tmp_path: Path):
    made = learner(mode, family).fit(TEXTS, LISTS, eval=([f"{t} indeed" for t in TEXTS], LISTS))
    predicted = made.predict(TEXTS)
    assert all(isinstance(row, list) and set(row) <= set("abc") for row in predicted)
    chances = made.predict_proba(TEXTS)
    assert chances.shape == (8, 3) and ((chances >= 0) & (chances <= 1)).all()
    assert list(made.classes_) == ["a", "b", "c"]
    again = Learner.load(made.save(tmp_path / "bundle"))
    again.compute = PLAIN
    assert same_bits(scores(again, TEXTS), scores(made, TEXTS))
    assert again.predict(TEXTS) == predicted
    if mode == "full":
        assert made.score(TEXTS, LISTS) > 0.8
    assert set(made.evaluate(TEXTS, LISTS).metrics) >= {"micro_f1", "macro_f1"}


@every_mode
def test_several_labels_as_columns_of_0_and_1(mode):
    made = learner(mode, modes=BRIEF).fit(TEXTS, INDICATOR)
    predicted = made.predict(TEXTS)
    assert predicted.shape == INDICATOR.shape and set(predicted.ravel()) <= {0, 1}
    assert made.predict([]).shape == (0, 3)
    # The same targets as lists teach the same model.
    assert gap(scores(made, TEXTS), scores(learner(mode, modes=BRIEF).fit(TEXTS, LISTS), TEXTS)) == 0


def test_thresholds_are_chosen_on_eval_and_used_and_saved(tmp_path: Path):
    held = [f"{t} indeed" for t in TEXTS]
    made = Learner(tiny("bert"), mode=FullTuning(steps=2), compute=PLAIN).fit(TEXTS, LISTS, eval=(held, LISTS))
    edges = made._known.space.thresholds
    assert len(edges) == 3 and all(0 < edge < 1 and edge != 0.5 for edge in edges)
    chances = made.predict_proba(held)
    expected = [[label for label, p, edge in zip("abc", row, edges, strict=True) if p >= edge] for row in chances]
    assert made.predict(held) == expected

    def f1(k, edge):
        said = chances[:, k] >= edge
        return 2 * (said & (INDICATOR[:, k] > 0)).sum() / (said.sum() + INDICATOR[:, k].sum())

    for k, edge in enumerate(edges):
        assert f1(k, edge) == pytest.approx(max(f1(k, other) for other in chances[:, k]))
    without = Learner(tiny("bert"), mode=FullTuning(steps=2), compute=PLAIN).fit(TEXTS, LISTS)
    assert without._known.space.thresholds is None
    assert made.score(held, LISTS) >= without.score(held, LISTS)
    assert Learner.load(made.save(tmp_path / "b"))._known.space.thresholds == edges


@every_mode
def test_a_label_that_every_row_has_can_be_saved(mode, tmp_path: Path):
    everywhere = [[*row, "always"] for row in LISTS]
    made = Learner(tiny("bert"), mode=BRIEF[mode], compute=PLAIN).fit(TEXTS, everywhere)
    again = Learner.load(made.save(tmp_path / "bundle"))
    assert again.predict(TEXTS) == made.predict(TEXTS)
    if mode == "frozen":
        assert all("always" in row for row in made.predict(TEXTS))


def test_the_form_must_be_the_one_asked_for():
    for wanted, targets in ((True, POLARITIES), (False, LISTS)):
        with pytest.raises(OptionError, match=rf"multi_label={wanted}\): received targets that are"):
            Learner(tiny("bert"), task=Classification(multi_label=wanted)).fit(TEXTS, targets)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@every_mode
def test_stars_are_numbers(mode, family, tmp_path: Path):
    made = learner(mode, family, "sentiment").fit(TEXTS, STARS)
    predicted = made.predict(TEXTS)
    assert predicted.shape == (8,) and predicted.dtype == np.float64
    assert set(made.evaluate(TEXTS, STARS).metrics) >= {"r2", "mae", "pearson", "within_one"}
    if mode == "full":
        assert made.score(TEXTS, STARS) > 0.9
        assert abs(predicted - STARS).max() < 1.2
    polarity = made.polarity(TEXTS)
    assert ((polarity >= -1) & (polarity <= 1)).all()
    assert (np.argsort(polarity, kind="stable") == np.argsort(np.clip(predicted, 1, 5), kind="stable")).all()
    assert not hasattr(made, "classes_")
    with pytest.raises(OptionError, match="no probabilities"):
        made.predict_proba(TEXTS)
    again = Learner.load(made.save(tmp_path / "bundle"))
    again.compute = PLAIN
    assert (again.predict(TEXTS) == predicted).all()
    assert made.predict([]).shape == (0,)


def test_whole_stars_are_numbers_when_asked_for():
    whole = [int(s) for s in STARS]
    made = Learner(tiny("bert"), task=Sentiment(scale="stars"), mode=FullTuning(steps=2), compute=PLAIN)
    assert made.fit(TEXTS, whole).predict(TEXTS).dtype == np.float64
    named = Learner(tiny("bert"), task="sentiment", mode=FullTuning(steps=2), compute=PLAIN).fit(TEXTS, whole)
    assert named.classes_.tolist() == ["negative", "positive"]


def test_polarity_is_the_difference_of_the_extremes():
    three = ["neg", "pos", "neu", "neg", "pos", "neu", "neg", "pos"]
    made = Learner(tiny("bert"), task="sentiment", mode=FullTuning(steps=2), compute=PLAIN).fit(TEXTS, three)
    assert made.classes_.tolist() == ["neg", "neu", "pos"]
    chances = made.predict_proba(TEXTS)
    np.testing.assert_allclose(made.polarity(TEXTS), chances[:, 2] - chances[:, 0])
    with pytest.raises(OptionError, match="received a learner of task 'classification'"):
        Learner(tiny("bert"), mode=FullTuning(steps=1), compute=PLAIN).fit(TEXTS, three).polarity(TEXTS)


@pytest.mark.parametrize("labels", [[0, 1], [True, False], ["b", "a"], [10, 2]])
@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_labels_come_back_as_they_were_given(labels, mode, tmp_path: Path):
    targets = [labels[i % 2] for i in range(8)]
    made = Learner(tiny("bert"), mode=BRIEF[mode], compute=PLAIN).fit(TEXTS, targets)
    predicted = made.predict(TEXTS).tolist()
    assert {type(p) for p in predicted} == {type(labels[0])}
    assert made.classes_.tolist() == sorted(labels)
    again = Learner.load(made.save(tmp_path / "bundle"))
    assert again.predict(TEXTS).tolist() == predicted
    assert {type(p) for p in again.predict(TEXTS).tolist()} == {type(labels[0])}


def test_labels_in_an_order_of_ones_own():
    made = Learner(tiny("bert"), mode=FullTuning(steps=2), compute=PLAIN)
    made.fit(TEXTS, POLARITIES, labels=["positive", "unsure", "negative"])
    assert made.classes_.tolist() == ["positive", "unsure", "negative"]
    assert made.predict_proba(TEXTS).shape == (8, 3)
    assert made.fit(TEXTS, POLARITIES).classes_.tolist() == ["negative", "positive"]


def test_a_label_that_only_eval_has_is_a_fault():
    made = Learner(tiny("bert"), mode=FullTuning(steps=2), compute=PLAIN)
    with pytest.raises(DataError, match=r"received the label 'odd'; expected one of the 2 labels known from training"):
        made.fit(TEXTS, POLARITIES, eval=(["some other text"], ["odd"]))


@pytest.mark.parametrize("mode", ["frozen", "full", "lora"])
@pytest.mark.parametrize("targets", [POLARITIES, LISTS, STARS], ids=["one", "lists", "stars"])
def test_sample_weights_count(mode, targets):
    task = "sentiment" if targets is STARS else "classification"
    weights = [5.0, 1.0, 0.1, 1.0, 1.0, 3.0, 1.0, 0.0]
    plain = learner(mode, task=task, modes=BRIEF).fit(TEXTS, targets)
    weighted = learner(mode, task=task, modes=BRIEF).fit(TEXTS, targets, sample_weight=weights)
    assert gap(scores(plain, TEXTS), scores(weighted, TEXTS)) > 1e-6


def test_class_weights_are_refused_where_there_are_no_classes():
    for mode in (Frozen(class_weight="balanced"), FullTuning(steps=1, class_weight="balanced")):
        with pytest.raises(OptionError, match=r"class_weight=.*numbers.*; expected None"):
            Learner(tiny("bert"), task="sentiment", mode=mode, compute=PLAIN).fit(TEXTS, STARS)


def test_pooling_is_refused_where_there_is_nothing_to_pool():
    from tests.kit.rows import rows

    with pytest.raises(OptionError, match=r"pooling='max'\): received .*words"):
        Learner(tiny("bert"), task="ner", mode=Frozen(pooling="max"), compute=PLAIN).fit(*rows("ner"))
