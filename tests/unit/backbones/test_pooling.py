"""Pooling sees real tokens only, on whichever side the padding is."""

from __future__ import annotations

import pytest
import torch

from nlptl.backbones import POOLINGS, pool
from nlptl.errors import OptionError

HIDDEN = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [90.0, 90.0]]])
EXPECTED = {"mean": [2.0, -3.0], "cls": [1.0, -2.0], "last": [3.0, -4.0], "max": [3.0, -2.0]}


@pytest.mark.parametrize("how", POOLINGS)
def test_padding_is_not_seen(how):
    assert pool(HIDDEN, torch.tensor([[1, 1, 0]]), how).tolist() == [EXPECTED[how]]


@pytest.mark.parametrize("how", POOLINGS)
def test_padding_on_the_left_is_not_seen_either(how):
    assert pool(HIDDEN.roll(1, dims=1), torch.tensor([[0, 1, 1]]), how).tolist() == [EXPECTED[how]]


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_row_without_tokens_is_zero_and_not_nan(how):
    assert pool(HIDDEN, torch.tensor([[0, 0, 0]]), how).tolist() == [[0.0, 0.0]]


def test_half_precision_keeps_the_mean():
    hidden = torch.rand(1, 500, 300).to(torch.bfloat16)
    mean = pool(hidden, torch.ones(1, 500), "mean")
    assert torch.equal(mean, hidden.float().mean(dim=1).to(torch.bfloat16))


def test_a_boolean_mask_serves():
    assert pool(HIDDEN, torch.tensor([[True, True, False]]), "mean").tolist() == [[2.0, -3.0]]


def test_an_unknown_pooling_is_refused_with_the_nearest_name():
    with pytest.raises(OptionError, match=r"received pooling='meen'; expected one of .*; .*'mean'\?"):
        pool(HIDDEN, torch.ones(1, 3), "meen")
