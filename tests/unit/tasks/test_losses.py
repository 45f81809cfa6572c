"""Losses and label weights are those of torch and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from nlptl.data.labels import LabelSpace
from nlptl.engine.options import TrainingOptions
from nlptl.errors import OptionError
from nlptl.tasks.losses import label_weights, make_loss

ONE = LabelSpace("single", ("a", "b", "c"), ("a", "b", "c"))
SEVERAL = LabelSpace("multi", ("a", "b", "c"), ("a", "b", "c"), "lists")
NUMBERS = LabelSpace("regression", ("stars",))
LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(1)) * 2
TARGETS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 0])
BITS = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]] * 3)


def close(one, other):
    torch.testing.assert_close(one, other)


def test_plain_and_smoothed_cross_entropy_are_torchs():
    for smoothing in (0.0, 0.1):
        loss = make_loss(ONE, TrainingOptions(label_smoothing=smoothing), None)
        close(loss(LOGITS, TARGETS).mean(), F.cross_entropy(LOGITS, TARGETS, label_smoothing=smoothing))


def test_balanced_weights_are_sklearns_and_weigh_as_torchs():
    rows = [np.array([t]) for t in TARGETS.tolist()]
    weights = label_weights(rows, ONE, "balanced")
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy()))
    ours = (make_loss(ONE, TrainingOptions(), None)(LOGITS, TARGETS) * torch.tensor(weights[TARGETS]).float()).sum()
    ours = ours / weights[TARGETS].sum()
    close(ours.float(), F.cross_entropy(LOGITS, TARGETS, weight=torch.tensor(weights).float()))


def test_a_label_without_rows_weighs_nothing():
    weights = label_weights([np.array([0]), np.array([0]), np.array([2])], ONE, "balanced")
    np.testing.assert_allclose(weights, [0.75, 0, 1.5])


def test_weights_by_name():
    np.testing.assert_array_equal(label_weights([], ONE, {"b": 3.0}), [1, 3, 1])
    with pytest.raises(OptionError, match=r"class_weight=….*received the label 'd'; expected one of the 3 labels"):
        label_weights([], ONE, {"d": 1.0})
    assert label_weights([], ONE, None) is None


def test_focal_loss_is_its_formula():
    ours = make_loss(ONE, TrainingOptions(focal_gamma=2.0), None)(LOGITS, TARGETS)
    sure = LOGITS.softmax(-1)[torch.arange(12), TARGETS]
    close(ours, -((1 - sure) ** 2) * sure.log())


def test_several_labels_are_binary_cross_entropies():
    bits = BITS.float()
    close(
        make_loss(SEVERAL, TrainingOptions(), None)(LOGITS, BITS).mean(),
        F.binary_cross_entropy_with_logits(LOGITS, bits),
    )
    weights = label_weights([row[None].numpy() for row in BITS], SEVERAL, "balanced")
    np.testing.assert_allclose(weights, [1.0, 3.0, 3 / 9])
    close(
        make_loss(SEVERAL, TrainingOptions(), weights)(LOGITS, BITS).mean(),
        F.binary_cross_entropy_with_logits(LOGITS, bits, pos_weight=torch.tensor(weights).float()),
    )
    close(
        make_loss(SEVERAL, TrainingOptions(label_smoothing=0.2), None)(LOGITS, BITS).mean(),
        F.binary_cross_entropy_with_logits(LOGITS, bits * 0.8 + 0.1),
    )
    chances = torch.where(bits > 0, LOGITS.sigmoid(), 1 - LOGITS.sigmoid())
    close(
        make_loss(SEVERAL, TrainingOptions(focal_gamma=1.5), None)(LOGITS, BITS),
        (-((1 - chances) ** 1.5) * chances.log()).mean(1),
    )


def test_numbers_have_squared_errors_and_no_classes():
    targets = torch.linspace(-1, 1, 12)
    close(make_loss(NUMBERS, TrainingOptions(), None)(LOGITS[:, :1], targets).mean(), F.mse_loss(LOGITS[:, 0], targets))
    with pytest.raises(OptionError, match=r"(?s)2 faults.*label_smoothing=0.1 for numbers; expected 0.*focal_gamma"):
        make_loss(NUMBERS, TrainingOptions(label_smoothing=0.1, focal_gamma=1), None)
    with pytest.raises(OptionError, match=r"class_weight='balanced': received it for numbers"):
        label_weights([], NUMBERS, "balanced")
