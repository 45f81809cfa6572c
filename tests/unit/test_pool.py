"""A pool of adapters says of each row what its adapter says alone, and holds one base."""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlptl import AdapterPool, BundleError, Learner, LoRA, OptionError
from nlptl.bundle import sharing
from nlptl.modes import _mixing
from tests.kit.cells import PLAIN, Cell, fitted, gap, same_bits, scores
from tests.kit.checkpoints import tiny_checkpoint
from tests.kit.rows import POLARITIES, SENTENCES, TAGS, TEXTS
from tests.kit.shelf import tiny

SLOW = ("modernbert", "opt", "albert", "xlnet", "llama")
FAMILIES = ["bert", "gpt2", "deberta-v2", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
SEVERAL = [["good"], ["bad"], ["good", "long"], ["bad"], [], ["bad", "long"], ["good"], ["long"]]


def loud(learner: Learner) -> Learner:
    """Adapters that say something: after two steps they hardly do."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for name, weight in learner._known.fitted.model.named_parameters():  # type: ignore[attr-defined]
            if "lora_B" in name or "modules_to_save" in name:
                weight.add_(0.3 * torch.randn_like(weight))
    return learner


@cache
def learnt(family: str) -> dict[str, Learner]:
    """Adapters of four tasks, of several ranks and kinds."""
    tags = [row.split() for row in TAGS]
    made = {
        "mood": ("sentiment", LoRA(rank=2, steps=2, batch_size=4), TEXTS, POLARITIES),
        "three": ("classification", LoRA(rank=8, variant="rslora", steps=2, batch_size=4), TEXTS, list("abcabcab")),
        "several": ("classification", LoRA(rank=3, variant="dora", steps=2, batch_size=4), TEXTS, SEVERAL),
        "people": ("ner", LoRA(rank=4, steps=2, batch_size=4), SENTENCES, None),
    }
    found = {}
    for name, (task, mode, X, y) in made.items():
        rows = [s.split() for s in X] if task == "ner" else list(X)
        learner = Learner(tiny(family), task=task, mode=mode, compute=PLAIN)
        found[name] = loud(learner.fit(rows, tags if y is None else y))
    return found


@pytest.fixture
def pool(tmp_path):
    return lambda family: filled(family, tmp_path)


def filled(family: str, folder: Path) -> AdapterPool:
    pool = AdapterPool(tiny(family), compute=PLAIN)
    for name, learner in learnt(family).items():
        pool.add(name, learner.save(folder / family / name))
    return pool


def same(ours: Any, theirs: Any) -> bool:
    return list(ours) == list(theirs) if isinstance(ours, list) else bool(ours == theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_mixed_in_one_batch_each_row_is_as_alone(family, pool, monkeypatch):
    made = pool(family)
    names = [name for _ in range(4) for name in made]
    inputs = [(SENTENCES[n % 8] if name == "people" else TEXTS[n % 8]) for n, name in enumerate(names)]
    passes = []
    logits = _mixing.Mixer.logits
    monkeypatch.setattr(
        _mixing.Mixer, "logits", lambda self, ids, *rest: passes.append(len(ids)) or logits(self, ids, *rest)
    )
    answers, chances = made.predict(inputs, names), made.predict_proba(inputs, names)
    assert passes == [16, 16]  # one batch each, not one an adapter
    assert made._mixer is not None and made._mixer.apart == (family in ("deberta-v2", "xlnet"))
    for name, given, answer, chance in zip(names, inputs, answers, chances, strict=True):
        alone = learnt(family)[name]
        ours, theirs = answer, alone.predict([given])[0]
        if name == "people":
            assert [e[:4] for e in ours] == [e[:4] for e in theirs]
        else:
            assert same(ours, theirs)
        np.testing.assert_allclose(chance, alone.predict_proba([given])[0], atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_logits_are_those_of_each_adapter_alone(family, pool):
    made = pool(family)
    groups = []
    for name, member in made._members.items():
        rows = [s.split() for s in SENTENCES] if name == "people" else [*TEXTS, "a " * 200]
        known = member.learner._known
        groups.append(
            (name, rows, (member, known.task.prepare(known.backbone, rows, known.mode.window(known.backbone)).items))
        )
    found = made._scores([group for _, _, group in groups], made._runtime())
    alone = [scores(learnt(family)[name], rows) for name, rows, _ in groups]
    assert max(gap(a, b) for a, b in zip(found, alone, strict=True)) < 1e-5
    # They really differ: what one adapter says is not what the other says.
    assert not np.allclose(found[0][0], found[1][0][:, :2], atol=1e-2)


def test_one_name_answers_as_the_learner_does(pool):
    made = pool("bert")
    for name, X in (("mood", TEXTS), ("people", [s.split() for s in SENTENCES])):
        alone = learnt("bert")[name]
        ours, theirs = made.predict(X, name), alone.predict(X)
        assert type(ours) is type(theirs) and list(ours) == list(theirs)
    assert made.predict_proba(TEXTS, "mood").shape == (8, 2)
    assert len(made.predict([], "mood")) == 0 and made.predict([], []) == []


def test_pairs_and_single_texts_share_a_batch(tmp_path):
    pairs = [(a, b) for a, b in zip(TEXTS, TEXTS[::-1], strict=True)]
    two = loud(Learner(tiny("bert"), mode=LoRA(steps=2, batch_size=4), compute=PLAIN).fit(pairs, POLARITIES))
    one = learnt("bert")["mood"]
    made = AdapterPool(tiny("bert"), compute=PLAIN)
    made.add("two", two.save(tmp_path / "two")).add("one", one.save(tmp_path / "one"))
    found = made.predict_proba([pairs[0], TEXTS[0], pairs[1]], ["two", "one", "two"])
    expected = [two.predict_proba(pairs[:1])[0], one.predict_proba(TEXTS[:1])[0], two.predict_proba(pairs[1:2])[0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_does_not_belong_is_refused(pool, tmp_path):
    made = pool("bert")
    with pytest.raises(OptionError, match=r"received the adapter 'moood'; expected one of .*Did you mean 'mood'"):
        made.predict(TEXTS, "moood")
    with pytest.raises(OptionError, match=r"received 2 adapters for 8 rows; expected a list of rows"):
        made.predict(TEXTS, ["mood", "three"])
    with pytest.raises(OptionError, match="a bare text"):
        made.predict("text", "mood")
    folder = fitted(Cell("sentiment", "full", "bert")).save(tmp_path / "full")
    with pytest.raises(OptionError, match=r"received a learner of mode 'full'; expected 'lora'"):
        made.add("full", folder)
    with pytest.raises(OptionError, match=r"received a name that is there"):
        made.add("mood", folder)
    other = tiny_checkpoint("bert", tmp_path / "other", seed=9)
    learner = Learner(other, mode=LoRA(steps=2, batch_size=4), compute=PLAIN).fit(TEXTS, POLARITIES)
    made.backbone = None
    with pytest.raises(BundleError, match=r"received an adapter on the base .*; expected the one of 'mood'"):
        made.add("other", learner.save(tmp_path / "elsewhere"))
    made.remove("mood")
    assert list(made) == ["three", "several", "people"] and "mood" not in made and len(made) == 3
    with pytest.raises(OptionError, match="received the adapter 'mood'"):
        made.predict(TEXTS, "mood")


def test_an_adapter_that_says_something_else_in_the_pool_is_refused(tmp_path, monkeypatch):
    made = AdapterPool(tiny("bert"), compute=PLAIN)
    call = _mixing.Delta.__call__
    monkeypatch.setattr(_mixing.Delta, "__call__", lambda self, x, y, b: call(self, x, y, b) * 1.01)
    with pytest.raises(BundleError, match=r"logits that differ by .* in the pool; expected at most|differ by"):
        made.add("mood", learnt("bert")["mood"].save(tmp_path / "mood"))
    assert len(made) == 0


def test_a_second_adapter_shares_the_base_and_nothing_leaks(tmp_path):
    gc.collect()
    one, two = (learnt("bert")[name].save(tmp_path / name) for name in ("mood", "three"))
    first, second = Learner.load(one), Learner.load(two)
    for learner in (first, second):
        learner.compute = PLAIN

    def base(learner: Learner) -> dict[str, torch.Tensor]:
        model = learner._known.fitted.model.get_base_model().bert  # type: ignore[attr-defined]
        return {n.replace(".base_layer", ""): p for n, p in model.named_parameters() if "lora_" not in n}

    shared = base(first)
    frozen = {n: p for n, p in base(second).items() if "modules_to_save" not in n and "original_module" not in n}
    assert len(frozen) > 20 and all(shared[name] is weight for name, weight in frozen.items())
    before, expected = {n: p.clone() for n, p in shared.items()}, scores(second, TEXTS)
    whole = first.merge()  # changes its own copy
    for weight in whole._known.fitted.model.parameters():  # type: ignore[attr-defined]
        weight.data.add_(1)
    first.fit(TEXTS, POLARITIES)  # opens a base of its own
    assert not any(p is shared[n] for n, p in base(first).items() if n in shared)
    assert all(torch.equal(before[n], p) for n, p in base(second).items() if n in before)
    assert same_bits(scores(second, TEXTS), expected)
    drifted = tiny_checkpoint("bert", tmp_path / "other", seed=3)
    with pytest.warns(UserWarning, match="going on"):
        third = Learner.load(two, backbone=drifted, allow_base_drift=True)
    assert not any(p is shared.get(n) for n, p in base(third).items())


def test_the_last_learner_takes_the_base_along(tmp_path):
    gc.collect()
    held = len(sharing._HELD)
    learner = Learner.load(learnt("gpt2")["mood"].save(tmp_path / "mood"))
    assert len(sharing._HELD) > held
    del learner
    gc.collect()
    assert len(sharing._HELD) <= held
