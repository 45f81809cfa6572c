"""Frozen: heads by name or one's own, layers and poolings that act, nothing ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from nlptl import BundleError, Frozen, Learner, OptionError
from nlptl.modes._heads import fit_head, head_scores
from tests.kit.cells import PLAIN, gap, same_bits, scores
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import tiny

STARS = [4.5, 1.0, 5.0, 1.5, 4.0, 2.0, 5.0, 1.0]


def learner(task="classification", family="bert", **options):
    return Learner(tiny(family), task=task, mode=Frozen(**options), compute=PLAIN)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "logistics"}, r"received 'logistics'; expected one of .*Did you mean 'logistic'"),
        ({"head": LogisticRegression}, r"received <class .*; expected one of .* or an object with fit and predict"),
        ({"pooling": "men"}, r"received 'men'; expected 'auto' or one of .*Did you mean 'mean'"),
        ({"class_weight": "even"}, r"received 'even'; expected None or 'balanced'"),
        ({"head": LogisticRegression(), "class_weight": "balanced"}, r"beside an estimator .*set it on the estimator"),
    ],
)
def test_a_wrong_option_is_refused_in_three_parts(options, said):
    with pytest.raises(OptionError, match=said):
        Frozen(**options)


@pytest.mark.parametrize("task", ["classification", "ner"])
@pytest.mark.parametrize("head", ["logistic", "svm", "forest"])
def test_a_named_head_needs_no_trust(head, task, tmp_path: Path):
    inputs, targets = rows(task)
    if task == "ner":  # two rows of each tag, which calibration wants
        inputs, targets = inputs * 2, targets * 2
    made = learner(task, head=head).fit(inputs, targets)
    again = Learner.load(made.save(tmp_path / "bundle"))
    again.compute = PLAIN
    assert same_bits(scores(again, inputs), scores(made, inputs))
    assert made.record_.to_dict()["choices"]["head"] == head
    assert again.mode == made.mode


@pytest.mark.parametrize("head", ["logistic", "svm", "forest", Ridge()])
def test_numbers_get_the_regressor_of_the_kind(head, tmp_path: Path):
    made = learner("sentiment", head=head).fit(TEXTS, STARS)
    assert made.predict(TEXTS).dtype == np.float64
    again = Learner.load(made.save(tmp_path / "bundle"))
    assert (again.predict(TEXTS) == made.predict(TEXTS)).all()


def test_a_classifier_for_numbers_is_refused():
    with pytest.raises(OptionError, match=r"received a classifier for targets that are numbers; expected a regressor"):
        learner("sentiment", head=LogisticRegression()).fit(TEXTS, STARS)


def test_an_estimator_of_ones_own_is_cloned_seeded_and_calibrated_where_it_must():
    own = LinearSVC(C=0.3)
    made = learner(head=own).fit(TEXTS * 3, POLARITIES * 3)
    assert not hasattr(own, "coef_")
    assert made.predict_proba(TEXTS).shape == (8, 2)
    assert made.record_.to_dict()["choices"]["head"] == "LinearSVC"


def test_what_skops_does_not_trust_the_user_must(tmp_path: Path):
    made = learner(head=KNeighborsClassifier(3, algorithm="kd_tree")).fit(TEXTS, POLARITIES)
    folder = made.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"received a head that holds '.*'; expected only types known .*trusted=\['"):
        Learner.load(folder)
    held = skops.io.get_untrusted_types(file=folder / "head.skops")
    assert any("KDTree" in name for name in held)
    again = Learner.load(folder, trusted=held)
    assert again.predict(TEXTS).tolist() == made.predict(TEXTS).tolist()


def test_layers_poolings_and_length_act():
    inputs, plain = TEXTS, scores(learner(head=LogisticRegression()).fit(TEXTS, POLARITIES), TEXTS)
    for options in ({"layer": 0}, {"layer": 1}, {"pooling": "cls"}, {"pooling": "max"}, {"normalize": True}):
        made = learner(head=LogisticRegression(), **options).fit(inputs, POLARITIES)
        assert gap(scores(made, inputs), plain) > 1e-4, options
    last = learner(head=LogisticRegression(), layer=-1).fit(inputs, POLARITIES)
    assert same_bits(
        scores(last, inputs), scores(learner(head=LogisticRegression(), layer=2).fit(inputs, POLARITIES), inputs)
    )
    assert gap(scores(last, inputs), plain) < 1e-6


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_is_not_there_is_told(layer):
    with pytest.raises(OptionError, match=rf"layer={layer}\): received a layer .* expected a number from -3 to 2"):
        learner(layer=layer).fit(TEXTS, POLARITIES)


def test_balanced_weights_reach_the_named_heads():
    targets = ["a"] * 6 + ["b"] * 2
    plain = learner(head="logistic").fit(TEXTS, targets)
    even = learner(head="logistic", class_weight="balanced").fit(TEXTS, targets)
    assert even.predict_proba(TEXTS)[:, 1].mean() > plain.predict_proba(TEXTS)[:, 1].mean()


def test_weights_that_a_head_cannot_take_are_refused():
    with pytest.raises(
        OptionError, match=r"received weights for KNeighborsClassifier, which takes none; expected a head"
    ):
        learner(head=KNeighborsClassifier(3)).fit(TEXTS, POLARITIES, sample_weight=[1.0] * 8)


def test_an_svm_wants_two_rows_a_label():
    with pytest.raises(OptionError, match="received a label with one row only; expected two or more"):
        learner(head="svm").fit(TEXTS, ["a"] * 7 + ["b"])


def test_c_is_chosen_by_the_rows_or_told_that_it_is_not():
    vectors = np.random.default_rng(0).normal(size=(60, 4))
    targets = (vectors[:, 0] > 0).astype(int)
    _, said = fit_head("logistic", "single", vectors, targets, None, None, seed=0)
    assert "3-fold cross-validation" in said["C"]
    _, said = fit_head("logistic", "single", vectors[:3], np.array([0, 1, 2]), None, None, seed=0)
    assert said["C"] == "0.1 (too few rows a label to choose it)"


def test_a_label_that_the_head_has_not_seen_is_as_good_as_impossible():
    head = DummyClassifier(strategy="prior").fit(np.zeros((4, 2)), [0, 2, 2, 2])
    found = head_scores(head, np.zeros((3, 2)), "single", 4)
    assert found.shape == (3, 4)
    assert (found[:, [1, 3]] < -20).all()
    np.testing.assert_allclose(np.exp(found[:, [0, 2]]), [[0.25, 0.75]] * 3)


def test_a_frozen_learner_has_no_checkpoints():
    with pytest.raises(OptionError, match=r"in mode 'frozen', which makes none; expected no run_dir; leave it out"):
        learner().fit(TEXTS, POLARITIES, run_dir="runs")
