"""Scores of labels, held to scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from nlptl.metrics import PRIMARY, per_label, scores

LABELS = ["alarm", "balance", "card", "delay"]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def drawn(rng, rows=200, labels=LABELS):
    gold = rng.integers(len(labels), size=rows)
    predicted = np.where(rng.random(rows) < 0.6, gold, rng.integers(len(labels), size=rows))
    return np.array(labels)[gold], np.array(labels)[predicted]


def test_single_label_scores_equal_sklearns(rng):
    gold, predicted = drawn(rng)
    probabilities = rng.dirichlet(np.ones(4), size=len(gold))
    found = scores("single", gold, predicted, labels=LABELS, probabilities=probabilities)
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(gold, predicted),
            "macro_f1": sk.f1_score(gold, predicted, average="macro"),
            "weighted_f1": sk.f1_score(gold, predicted, average="weighted"),
            "macro_precision": sk.precision_score(gold, predicted, average="macro"),
            "macro_recall": sk.recall_score(gold, predicted, average="macro"),
            "matthews": sk.matthews_corrcoef(gold, predicted),
            "log_loss": sk.log_loss(gold, probabilities, labels=LABELS),
        },
        abs=1e-12,
    )
    assert next(iter(found)) == PRIMARY["single"]


def test_labels_that_are_never_met_do_not_weigh_on_the_macro_mean(rng):
    gold, predicted = drawn(rng)
    without = scores("single", gold, predicted, labels=LABELS)
    assert scores("single", gold, predicted, labels=[*LABELS, "never"]) == without
    assert without["macro_f1"] == pytest.approx(sk.f1_score(gold, predicted, average="macro"))


@pytest.mark.parametrize("only", ["gold", "predicted"])
def test_a_label_met_on_one_side_alone_counts_as_in_sklearn(only):
    sides = {"gold": ["a", "a", "b"], "predicted": ["a", "b", "b"]}
    sides[only] = [*sides[only][:2], "c"]
    found = scores("single", **sides, labels=["a", "b", "c"])
    expected = sk.f1_score(sides["gold"], sides["predicted"], average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)


def test_a_gold_label_outside_the_labels_is_counted_as_missed():
    assert scores("single", ["a", "x"], ["a", "a"], labels=["a", "b"])["accuracy"] == 0.5
    assert [row["label"] for row in per_label("single", ["a", "x"], ["a", "a"], ["a", "b"])] == [
        "a",
        "b",
        "x",
    ]


def test_constant_predictions_have_no_correlation():
    assert scores("single", ["a", "b", "b"], ["b", "b", "b"], labels=["a", "b"])["matthews"] == 0


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_log_loss_of_a_rounded_zero_is_finite_and_sklearns(kind):
    probabilities = np.array([[1, 0], [1, 0]], kind)
    found = scores("single", ["a", "b"], ["a", "a"], labels=["a", "b"], probabilities=probabilities)
    # sklearn goes on in the type given, and so with float16's three digits.
    assert found["log_loss"] == pytest.approx(sk.log_loss(["a", "b"], probabilities), rel=1e-3)


def test_the_table_by_label_equals_sklearns_and_keeps_the_order_given(rng):
    gold, predicted = drawn(rng)
    order = LABELS[::-1]
    columns = sk.precision_recall_fscore_support(gold, predicted, labels=order)
    for i, row in enumerate(per_label("single", gold, predicted, order)):
        assert row["label"] == order[i]
        found = [row[name] for name in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx([column[i] for column in columns])
        assert row["predicted"] == (predicted == order[i]).sum()


@pytest.mark.parametrize("labels", [[0, 1], ["01", "1"], [True, False]], ids=str)
def test_labels_stay_the_objects_that_were_given(labels):
    rows = per_label("single", [labels[0], labels[1]], np.array([labels[0], labels[0]]), labels)
    assert [(type(row["label"]), row["label"]) for row in rows] == [(type(label), label) for label in labels]


def indicators(rng, rows=150, labels=6):
    gold = (rng.random((rows, labels)) < 0.3).astype(int)
    return gold, np.where(rng.random((rows, labels)) < 0.8, gold, 1 - gold)


def test_multi_label_scores_equal_sklearns(rng):
    gold, predicted = indicators(rng)
    chance = rng.random(gold.shape)
    found = scores("multi", gold, predicted.astype(bool), labels=list("abcdef"), probabilities=chance)
    assert found == pytest.approx(
        {
            "micro_f1": sk.f1_score(gold, predicted, average="micro"),
            "micro_precision": sk.precision_score(gold, predicted, average="micro"),
            "micro_recall": sk.recall_score(gold, predicted, average="micro"),
            "macro_f1": sk.f1_score(gold, predicted, average="macro"),
            "weighted_f1": sk.f1_score(gold, predicted, average="weighted"),
            "subset_accuracy": sk.accuracy_score(gold, predicted),
            "hamming_loss": sk.hamming_loss(gold, predicted),
            "log_loss": np.mean([sk.log_loss(gold[:, k], chance[:, k]) for k in range(6)]),
        },
        abs=1e-12,
    )
    assert next(iter(found)) == PRIMARY["multi"]


def test_a_column_without_a_one_is_left_out_of_the_macro_mean(rng):
    gold, predicted = indicators(rng)
    gold[:, 2] = predicted[:, 2] = 0
    expected = sk.f1_score(gold, predicted, average="macro", zero_division=np.nan)
    assert scores("multi", gold, predicted)["macro_f1"] == pytest.approx(expected)


def test_the_multi_label_table_equals_sklearns(rng):
    gold, predicted = indicators(rng)
    columns = sk.precision_recall_fscore_support(gold, predicted)
    for i, row in enumerate(per_label("multi", gold, predicted, list("abcdef"))):
        found = [row[name] for name in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx([column[i] for column in columns])
