"""Every fast way beside the plain one: the same numbers where nothing is drawn, the same chances where it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from nlptl import Compute, FullTuning, Learner, LoRA
from nlptl.engine.fast import adapters
from nlptl.engine.fast.dropout import FastDropout, attend, drop
from nlptl.engine.runtime import Runtime
from tests.kit.cells import PLAIN
from tests.kit.rows import rows
from tests.kit.shelf import tiny

BIG = (200, 300)


def losses(monkeypatch, family, mode, task="classification", **compute):
    """The loss of every step of a run."""
    told: list[float] = []
    monkeypatch.setattr(Runtime, "track", lambda self, values, step: told.append(values["loss"]))
    learner = Learner(tiny(family), task=task, mode=mode, compute=replace(PLAIN, **compute))
    learner.fit(*rows(task))
    return np.array(told), learner


@pytest.mark.parametrize(
    ("family", "task"),
    [("bert", "classification"), ("gpt2", "ner"), ("llama", "classification"), ("deberta-v2", "classification")],
)
def test_adapters_learn_as_pefts_do(monkeypatch, family, task):
    mode = LoRA(steps=50, batch_size=4, dropout=0.0, learning_rate=5e-3)
    fast, learner = losses(monkeypatch, family, mode, task)
    plain, other = losses(monkeypatch, family, mode, task, kernels="plain")
    assert len(fast) == 50 and fast[-1] < fast[0]
    np.testing.assert_allclose(fast, plain, rtol=1e-3)
    assert "one function" in learner.record_["choices"]["adapters"]
    assert "adapters" not in other.record_["choices"] and "plain" in other.record_["choices"]["kernels"]


@pytest.mark.parametrize("options", [{"variant": "rslora"}, {"alpha": 4.0, "rank": 3}, {"variant": "dora"}])
def test_variants_learn_as_pefts_do(monkeypatch, options):
    mode = LoRA(steps=10, batch_size=4, dropout=0.0, learning_rate=5e-3, **options)
    fast, learner = losses(monkeypatch, "bert", mode)
    plain, _ = losses(monkeypatch, "bert", mode, kernels="plain")
    np.testing.assert_allclose(fast, plain, rtol=1e-3)
    # DoRA scales by a norm of the sum of both weights: it stays peft's own.
    assert ("adapters" in learner.record_["choices"]) == (options.get("variant") != "dora")


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_full_fine_tuning_without_dropout_is_the_same(monkeypatch, family):
    mode = FullTuning(steps=50, batch_size=4, dropout=0.0)
    fast, _ = losses(monkeypatch, family, mode)
    plain, _ = losses(monkeypatch, family, mode, kernels="plain")
    np.testing.assert_allclose(fast, plain, rtol=1e-3)


def test_adapters_in_bf16_are_within_its_rounding(monkeypatch):
    mode = LoRA(steps=20, batch_size=4, dropout=0.0, learning_rate=5e-3)
    fast, learner = losses(monkeypatch, "bert", mode, precision="bf16")
    plain, _ = losses(monkeypatch, "bert", mode, precision="bf16", kernels="plain")
    assert "adapters" in learner.record_["choices"]
    np.testing.assert_allclose(fast, plain, rtol=2e-2)


def layer(p=0.0, *, conv=False, rank=4):
    """One of peft's layers around a frozen linear one, with an adapter that says something."""
    from peft import LoraConfig
    from peft.tuners.lora.layer import Linear
    from transformers.pytorch_utils import Conv1D

    base = Conv1D(24, 16) if conv else torch.nn.Linear(16, 24)
    base.requires_grad_(False)
    made = Linear(base, "default", LoraConfig(r=rank, lora_alpha=8, lora_dropout=p), r=rank, fan_in_fan_out=conv)
    with torch.no_grad():
        made.lora_B["default"].weight.normal_()
    return made.train()


@pytest.mark.parametrize("conv", [False, True])
def test_gradients_of_an_adapter(conv):
    module = layer(conv=conv)
    x = torch.randn(3, 5, 16, requires_grad=True)
    upstream = torch.randn(3, 5, 24)

    def gradients():
        found = torch.autograd.grad(
            module(x), [x, module.lora_A["default"].weight, module.lora_B["default"].weight], upstream
        )
        return [g.numpy() for g in found]

    plain = gradients()
    with adapters.fused_adapters(torch.nn.ModuleList([module])) as number:
        assert number == 1 and "forward" in vars(module)
        for mine, theirs in zip(gradients(), plain, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(module)  # the model is left as it was


def test_an_adapters_gradient_passes_through_its_own_mask():
    """By finite differences: the mask that the backward pass uses must be the one that was drawn."""
    module = layer(p=0.5).double()
    x = torch.randn(20, 16, dtype=torch.float64, requires_grad=True)

    def run(given):
        torch.manual_seed(3)
        return module(given)

    with adapters.fused_adapters(torch.nn.ModuleList([module])):
        assert torch.autograd.gradcheck(run, (x,), nondet_tol=0.0)
        torch.manual_seed(3)
        one = module(x)
        torch.manual_seed(4)
        assert not torch.equal(one, module(x))


def test_an_adapters_dropout_keeps_the_mean():
    module = layer(p=0.3)
    x = torch.randn(2, 16)
    with torch.no_grad():
        expected = module.eval()(x)
        module.train()
        with adapters.fused_adapters(torch.nn.ModuleList([module])):
            mean = torch.stack([module(x) for _ in range(4000)]).mean(0)
    np.testing.assert_allclose(mean.numpy(), expected.numpy(), atol=0.5)


def test_what_is_no_plain_adapter_is_left_to_peft():
    learning = layer()
    learning.base_layer.weight.requires_grad_(True)
    assert adapters.fusable(layer()) == "default"
    assert adapters.fusable(learning) is None
    assert adapters.fusable(torch.nn.Linear(2, 2)) is None
    module = layer()
    with adapters.fused_adapters(torch.nn.ModuleList([module])):
        x = torch.randn(2, 16)
        fused = module(x)
        module.eval()
        assert torch.allclose(module(x), fused, atol=1e-5)  # evaluation goes peft's own way


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_as_often_as_it_says(p):
    given = torch.full((1000, 1000), 2.0, requires_grad=True)
    dropped = drop(given, p)
    out = dropped.detach()
    zeros = float((out == 0).float().mean())
    assert zeros == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 1e6) + 1 / 65536)
    kept = out[out != 0]
    assert float(kept.min()) == float(kept.max()) == pytest.approx(2 / (1 - p), rel=1e-3)
    (grad,) = torch.autograd.grad(dropped.sum(), given)
    assert torch.equal(grad * 2, out)


def test_masks_depend_on_torchs_seed_alone():
    def mask(seed):
        torch.manual_seed(seed)
        return drop(torch.ones(BIG), 0.3), drop(torch.ones(BIG), 0.3)

    first, second = mask(1)
    assert torch.equal(first, mask(1)[0]) and torch.equal(second, mask(1)[1])
    assert not torch.equal(first, second) and not torch.equal(first, mask(2)[0])
    # No two rows or columns alike: the bits are spread over the whole of it.
    assert len(torch.unique(first, dim=0)) == BIG[0] and torch.unique(first, dim=1).shape == BIG


def test_dropout_is_found_wherever_a_model_calls_it(monkeypatch):
    calls = []
    monkeypatch.setattr("nlptl.engine.fast.dropout.drop", lambda x, p: calls.append(p) or x)
    x = torch.ones(BIG)
    with FastDropout():
        torch.nn.Dropout(0.2).train()(x)
        functional.dropout(x, p=0.3, training=True)
        assert functional.dropout(x, 0.4, False) is x
        torch.nn.Dropout(0.5).eval()(x)
        functional.dropout(x.clone(), 0.6, True, True)  # in place: left alone
    assert calls == [0.2, 0.3]
    torch.nn.Dropout(0.7).train()(x)
    assert calls == [0.2, 0.3]


@pytest.mark.parametrize(
    ("mask", "options"),
    [(None, {"is_causal": True})]  # torch takes a mask or is_causal, not both
    + [(m, o) for m in (None, "seen", "added") for o in ({}, {"scale": 0.3}, {"enable_gqa": True})],
)
def test_attention_is_torchs(mask, options):
    query, key, value = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 8)
    if options.get("enable_gqa"):
        key, value = key[:, :2], value[:, :2]
    seen = torch.rand(2, 1, 7, 7) > 0.3
    seen[..., 0] = True
    given = {None: None, "seen": seen, "added": torch.randn(2, 1, 7, 7)}[mask]
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=given, **options)
    np.testing.assert_allclose(attend(query, key, value, given, **options).numpy(), expected.numpy(), atol=1e-6)


def test_attention_with_dropout_keeps_the_mean():
    query, key, value = torch.randn(3, 60, 64, 8).unbind(0)
    with FastDropout():
        draws = [functional.scaled_dot_product_attention(query, key, value, dropout_p=0.2) for _ in range(200)]
    expected = functional.scaled_dot_product_attention(query, key, value)
    assert not torch.equal(draws[0], draws[1])
    np.testing.assert_allclose(torch.stack(draws).mean(0).numpy(), expected.numpy(), atol=0.1)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_vectors_of_rounded_weights_point_the_same_way(family):
    from nlptl import Embedder
    from tests.kit.rows import TEXTS

    exact = Embedder(tiny(family), compute=PLAIN)
    half = Embedder(tiny(family), compute=replace(PLAIN, precision="bf16"))
    one, other = exact.transform(TEXTS), half.transform(TEXTS)
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.9999 and not np.array_equal(one, other)
    # The encoder itself keeps its weights: in float32 it still says what it said.
    np.testing.assert_array_equal(half.set_params(compute=PLAIN).transform(TEXTS), one)


def test_kernels_are_named():
    from nlptl.errors import OptionError

    with pytest.raises(OptionError, match=r"received 'plan'; expected one of 'auto', 'plain'.*mean 'plain'"):
        Compute(kernels="plan")
