"""Rates, steps, optimisers and penalties against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from nlptl.engine.optimise import build_optimizer, learning_rate_at, penalty, total_steps
from nlptl.engine.options import TrainingOptions
from nlptl.errors import OptionError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "rows", "steps"),
    [
        ({"epochs": 3}, 100, 12),
        ({"epochs": 0.5}, 100, 2),
        ({"epochs": 0.001}, 100, 1),
        ({"steps": 7}, 100, 7),
        ({}, 32 * 200, 600),  # three passes
        ({}, 32 * 20, 100),  # five passes, so that there are a hundred steps
        ({}, 8, 10),  # ten passes at the most
    ],
)
def test_steps(options, rows, steps):
    assert total_steps(TrainingOptions(**options), rows) == steps


def test_rates_warm_up_and_fall():
    linear = TrainingOptions(schedule="linear", warmup=4)
    assert [learning_rate_at(n, 12, linear, 1.0) for n in range(4)] == [0.2, 0.4, 0.6, 0.8]
    assert learning_rate_at(4, 12, linear, 1.0) == 1.0
    assert learning_rate_at(8, 12, linear, 1.0) == 0.5
    assert learning_rate_at(12, 12, linear, 1.0) == 0.0
    cosine = TrainingOptions(schedule="cosine", warmup=0)
    assert learning_rate_at(3, 12, cosine, 2.0) == pytest.approx(1 + math.cos(math.pi / 4))
    assert learning_rate_at(11, 12, TrainingOptions(schedule="constant", warmup=0), 3.0) == 3.0
    share = TrainingOptions(warmup=0.25)
    assert learning_rate_at(2, 12, share, 1.0) == 0.75 and learning_rate_at(3, 12, share, 1.0) == 1.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_optimisers_leave_biases_without_decay(name, kind):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[0].weight.requires_grad_(True)
    model[1].bias.requires_grad_(False)
    made = build_optimizer(model, TrainingOptions(optimizer=name, weight_decay=0.3), 0.1, CPU)
    assert type(made) is kind
    assert [g["weight_decay"] for g in made.param_groups] == [0.3, 0.0]
    assert [len(g["params"]) for g in made.param_groups] == [1, 2]
    assert all(g["lr"] == 0.1 for g in made.param_groups)


def test_penalties():
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -4.0]]))
    assert penalty(model, TrainingOptions()) is None
    assert float(penalty(model, TrainingOptions(l1=0.5, l2=0.1)).detach()) == pytest.approx(0.5 * 7 + 0.1 * 25)
    model.weight.requires_grad_(False)
    assert penalty(model, TrainingOptions(l1=0.5)) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, r"epochs=….*received 0; expected a number from 1e-06 to 1e\+06, or 'auto'"),
        ({"steps": 1.5}, r"steps=….*received 1.5; expected a whole number from 1"),
        ({"batch_size": True}, r"batch_size=….*received True; expected a whole number"),
        ({"learning_rate": "high"}, r"learning_rate=….*received 'high'; expected a number .* or 'auto'"),
        ({"dropout": 1.0}, r"dropout=….*received 1.0; expected a number from 0 to 0.999, or None"),
        ({"schedule": "linar"}, r"received 'linar'; expected one of .*Did you mean 'linear'"),
        ({"optimizer": "adamW2"}, r"Did you mean 'adamw'"),
        ({"class_weight": "even"}, r"received 'even'; expected None, 'balanced' or a weight a label"),
        ({"steps": 3, "epochs": 2}, r"received steps=3 and epochs=2; expected one of the two; leave the other out"),
        ({"monitor": "loss"}, r"received 'loss' without patience; expected patience=… with it; give patience"),
        ({"learning_rate": float("nan")}, r"received nan; expected a number"),
    ],
)
def test_a_wrong_option_is_refused_in_three_parts(options, said):
    with pytest.raises(OptionError, match=said):
        TrainingOptions(**options)


def test_all_wrong_options_are_told_at_once():
    with pytest.raises(OptionError, match=r"(?s)^3 faults:.*epochs.*batch_size.*schedule"):
        TrainingOptions(epochs=-1, batch_size=0, schedule="up")
