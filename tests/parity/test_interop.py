"""What is saved opens in everybody's tools, in each mode and for each kind of task: equal labels, logits to 1e-5."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlptl import BundleError, Learner, LoRA, NlptlWarning, OptionError
from nlptl.backbones.sources import quiet
from nlptl.modes.lora import quiet_peft
from tests.kit.cells import BOTH_KINDS, PLAIN, gap, quick, same_bits, scores
from tests.kit.checkpoints import tiny_checkpoint
from tests.kit.rows import POLARITIES, SENTENCES, TAGS, TEXTS
from tests.kit.shelf import opened, tiny

FAMILIES = ("bert", "gpt2", "deberta-v2", "modernbert", "xlnet")
SEVERAL = [["good"], ["bad"], ["good", "long"], ["bad"], [], ["bad", "long"], ["good"], ["long"]]
STARS = [5.0, 1.0, 4.5, 1.5, 4.0, 2.0, 5.0, 1.0]
KINDS: dict[str, tuple[str, Any]] = {
    "classification": ("classification", POLARITIES),
    "several": ("classification", SEVERAL),
    "sentiment": ("sentiment", POLARITIES),
    "stars": ("sentiment", STARS),
    "ner": ("ner", [tags.split() for tags in TAGS]),
}
TASKS = ("classification", "sentiment", "ner")

#: Everything for one encoder and one decoder; of the others what their heads may do to each level, the rest when slow.
CELLS = [
    pytest.param(
        kind, family, marks=() if family in BOTH_KINDS or kind in ("classification", "ner") else pytest.mark.slow
    )
    for kind in KINDS
    for family in FAMILIES
]


def inputs(kind: str) -> list[Any]:
    return [s.split() for s in SENTENCES] if kind == "ner" else list(TEXTS)


@cache
def learnt(kind: str, mode: str, family: str) -> Learner:
    task, targets = KINDS[kind]
    return Learner(tiny(family), task=task, mode=quick(mode), compute=PLAIN).fit(inputs(kind), targets)


def saved(learner: Learner, folder: Path) -> Path:
    return learner.save(folder / "bundle")


def auto_class(kind: str) -> Any:
    import transformers

    name = "AutoModelForTokenClassification" if kind == "ner" else "AutoModelForSequenceClassification"
    return getattr(transformers, name)


def logits(model: Any, tokenizer: Any, kind: str) -> list[Any]:
    """Logits as a user of transformers would compute them, row by row: the first piece of each word for NER."""
    found = []
    for given in inputs(kind):
        if kind == "ner":
            encoded = tokenizer(
                sentence(given), return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt"
            )
            added = encoded.pop("special_tokens_mask")[0].tolist()
            offsets = [
                (-9, -9) if a else o for o, a in zip(encoded.pop("offset_mapping")[0].tolist(), added, strict=True)
            ]
            # Byte-level tokenizers count the space before a word as its own.
            picked = [next(i for i, (s, _) in enumerate(offsets) if a - 1 <= s <= a) for a in starts(given)]
        else:
            encoded, picked = tokenizer(given, return_tensors="pt"), None
        with torch.inference_mode():
            out = model(**encoded).logits[0].numpy()
        found.append(out[picked] if picked is not None else out[None])
    return found


def sentence(words: list[str]) -> str:
    """A text as nlptl reads it: each word with the space before it, which byte-level tokenizers make a part of it."""
    return "".join(f" {word}" for word in words)


def starts(words: list[str]) -> list[int]:
    return np.cumsum([1, *(len(word) + 1 for word in words[:-1])]).tolist()


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def same_labels(learner: Learner, kind: str, found: list[Any], names: dict[int, str]) -> bool:
    known = learner._known
    (part,) = learner._scored_rows(inputs(kind))
    prepared = part.prepared
    numbers = known.task.decode(found, prepared, known.space)
    theirs = known.task.as_given(numbers, found, prepared, known.space)
    ours = learner.predict(inputs(kind))
    assert tuple(names[i] for i in range(len(names))) == known.space.names
    if kind == "stars":
        return bool(np.allclose(theirs, ours, atol=1e-4))
    return list(theirs) == list(ours)


@pytest.mark.parametrize(("kind", "family"), CELLS)
def test_a_full_model_opens_in_transformers(kind, family, tmp_path):
    learner = learnt(kind, "full", family)
    folder = saved(learner, tmp_path)
    with quiet():
        theirs = auto_class(kind).from_pretrained(folder).eval()
    found = logits(theirs, tokenizer_of(folder), kind)
    assert gap(scores(learner, inputs(kind)), found) < 1e-5
    assert same_labels(learner, kind, found, theirs.config.id2label)


@pytest.mark.parametrize(("kind", "family"), CELLS)
def test_an_adapter_opens_in_plain_peft_by_one_call(kind, family, tmp_path):
    from peft import PeftModel

    learner = learnt(kind, "lora", family)
    folder = saved(learner, tmp_path)
    assert not (folder / "config.json").exists()  # transformers' own adapter loading fails where there is one
    names = dict(enumerate(learner._known.space.names))
    with quiet(), quiet_peft():
        base = auto_class(kind).from_pretrained(
            tiny(family), num_labels=len(names), id2label=names, pad_token_id=opened(family).pad_id
        )
        theirs = PeftModel.from_pretrained(base, folder).eval()
    found = logits(theirs, tokenizer_of(folder), kind)
    assert gap(scores(learner, inputs(kind)), found) < 1e-5
    assert same_labels(learner, kind, found, names)


@pytest.mark.parametrize(("kind", "family"), CELLS)
def test_a_frozen_head_opens_in_skops(kind, family, tmp_path):
    import skops.io
    from transformers import AutoModel

    learner = learnt(kind, "frozen", family)
    folder = saved(learner, tmp_path)
    head = skops.io.load(folder / "head.skops")
    with quiet():
        encoder = AutoModel.from_pretrained(tiny(family)).eval()
    tokenizer = tokenizer_of(folder)

    class Hidden:
        """The same call as a model with a head; what it gives are vectors."""

        def __call__(self, **encoded: Any) -> Any:
            hidden = encoder(**encoded).last_hidden_state
            pooled = hidden if kind == "ner" else hidden.mean(1)
            return type("Out", (), {"logits": pooled})

    vectors = np.concatenate(logits(Hidden(), tokenizer, kind))
    flat = np.concatenate(scores(learner, inputs(kind)))
    if kind == "stars":
        np.testing.assert_allclose(head.predict(vectors), flat[:, 0], atol=1e-5)
    else:
        chances = head.predict_proba(vectors)
        ours = 1 / (1 + np.exp(-flat)) if kind == "several" else np.exp(flat)
        seen = list(head.classes_) if kind != "several" else slice(None)
        np.testing.assert_allclose(chances, ours[:, seen], atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("kind", ["sentiment", "several", "stars", "ner"])
def test_the_pipeline_opens_a_full_model(kind, family, tmp_path):
    from transformers import pipeline

    learner = learnt(kind, "full", family)
    folder = str(saved(learner, tmp_path))
    if kind == "ner":
        with quiet():
            found = pipeline("ner", model=folder, device="cpu", ignore_labels=[])(sentence(SENTENCES[0].split()))
        best = np.concatenate(scores(learner, [SENTENCES[0].split()])).argmax(-1)
        by_start = {entry["start"] + (family == "gpt2"): entry["entity"] for entry in reversed(found)}
        said = [by_start[start] for start in starts(SENTENCES[0].split())]
        assert said == [learner._known.space.names[k] for k in best]
        return
    with quiet():
        pipe = pipeline("text-classification", model=folder, top_k=None, device="cpu")
        found = [{entry["label"]: entry["score"] for entry in row} for row in pipe(list(TEXTS))]
    flat = np.concatenate(scores(learner, TEXTS))
    names = learner._known.space.names
    theirs = np.array([[row[name] for name in names] for row in found])
    expected = flat if kind == "stars" else learner.predict_proba(TEXTS)
    np.testing.assert_allclose(theirs, expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "family"), [cell for cell in CELLS if cell.values[0] in TASKS])
def test_merging_changes_nothing(kind, family, tmp_path):
    learner = learnt(kind, "lora", family)
    before = {name: p.clone() for name, p in learner._known.fitted.model.named_parameters()}
    whole = learner.merge()
    assert whole.mode.name == "full" and learner.mode.name == "lora"
    assert gap(scores(learner, inputs(kind)), scores(whole, inputs(kind))) < 1e-5
    folder = saved(whole, tmp_path)
    with quiet():
        theirs = auto_class(kind).from_pretrained(folder).eval()
    assert gap(scores(learner, inputs(kind)), logits(theirs, tokenizer_of(folder), kind)) < 1e-5
    after = dict(learner._known.fitted.model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = Learner.load(folder)
    again.compute = PLAIN
    assert same_bits(scores(whole, inputs(kind)), scores(again, inputs(kind)))


@pytest.mark.parametrize("variant", ["dora", "rslora", "pissa", "olora"])
def test_every_variant_merges(variant):
    mode = LoRA(variant=variant, steps=2, batch_size=4)
    learner = Learner(tiny("bert"), mode=mode, compute=PLAIN).fit(TEXTS, POLARITIES)
    assert gap(scores(learner, TEXTS), scores(learner.merge(), TEXTS)) < 1e-5


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(OptionError, match="merge: received a learner of mode 'full'; expected 'lora'"):
        learnt("sentiment", "full", "bert").merge()


def test_a_merge_that_changes_the_answers_is_refused(monkeypatch):
    from peft.tuners.lora.layer import Linear

    delta = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, adapter: delta(self, adapter) + self.weight / 100)
    with pytest.raises(BundleError, match=r"merge: received logits .* differ by .*; expected at most 0.0001"):
        learnt("sentiment", "lora", "bert").merge()


def test_an_adapter_merges_on_the_command_line(tmp_path, capsys):
    from nlptl.__main__ import main

    folder = saved(learnt("sentiment", "lora", "bert"), tmp_path)
    assert main(["merge", str(folder), str(tmp_path / "whole")]) == 0
    assert Learner.load(tmp_path / "whole").mode.name == "full"
    assert main(["merge", str(folder), str(tmp_path / "x"), "--mode.rank", "4"]) == 2
    assert "leave it out" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- made by somebody else
def plain_checkpoint(kind: str, family: str, folder: Path, **said: Any) -> Path:
    """A checkpoint as Trainer.save_model leaves it."""
    names = said.pop("id2label", dict(enumerate(learnt(kind, "full", family)._known.space.names)))
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(5)
        model = auto_class(kind).from_pretrained(
            tiny(family), num_labels=len(names), id2label=names, pad_token_id=opened(family).pad_id, **said
        )
        for weight in model.parameters():
            weight.data.add_(0.01 * torch.randn_like(weight))
        model.save_pretrained(folder)
    opened(family).tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("kind", ["sentiment", "several", "stars", "ner"])
def test_a_checkpoint_made_elsewhere_opens(kind, family, tmp_path):
    said = {"several": {"problem_type": "multi_label_classification"}, "stars": {"problem_type": "regression"}}
    folder = plain_checkpoint(kind, family, tmp_path / "theirs", **said.get(kind, {}))
    with pytest.warns(NlptlWarning, match=r"not made by nlptl: task: .*no window .* no probe"):
        learner = Learner.load(folder)
    learner.compute = PLAIN
    with quiet():
        theirs = auto_class(kind).from_pretrained(folder).eval()
    found = logits(theirs, tokenizer_of(folder), kind)
    assert gap(scores(learner, inputs(kind)), found) < 1e-5
    assert learner.task.name == KINDS[kind][0]
    assert len(learner.predict(inputs(kind))) == len(inputs(kind))
    assert any("no probe" in note for note in learner.record_.notes)
    if kind == "stars":
        with pytest.raises(OptionError, match="range is not known"):
            learner.polarity(TEXTS)
    again = Learner.load(saved(learner, tmp_path))
    again.compute = PLAIN
    assert same_bits(scores(again, inputs(kind)), scores(learner, inputs(kind)))


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta"])
@pytest.mark.parametrize("kind", ["sentiment", "ner"])
def test_a_plain_adapter_made_elsewhere_opens(kind, family, tmp_path):
    import peft

    names = dict(enumerate(learnt(kind, "full", "bert")._known.space.names))
    base = tiny(family)
    if kind == "ner":  # the names of the tags must stand somewhere: in a base that was made for them
        base = plain_checkpoint(kind, family, tmp_path / "base", id2label=names)
    with quiet(), quiet_peft(), torch.random.fork_rng():
        torch.manual_seed(5)
        model = auto_class(kind).from_pretrained(
            base, num_labels=len(names), id2label=names, pad_token_id=opened(family).pad_id
        )
        head = next(n for n in ("classifier", "score") if hasattr(model, n))
        config = peft.LoraConfig(
            task_type="TOKEN_CLS" if kind == "ner" else "SEQ_CLS",
            target_modules=["c_attn"] if family == "gpt2" else ["query", "value"],
            modules_to_save=[head, *(["bert.pooler"] if family == "bert" and kind != "ner" else [])],
            fan_in_fan_out=family == "gpt2",
        )
        theirs = peft.get_peft_model(model, config)
        for name, weight in theirs.named_parameters():
            if "lora_B" in name:
                weight.data.normal_()
        theirs.eval().save_pretrained(tmp_path / "theirs")
    with pytest.warns(NlptlWarning, match=r"not made by nlptl: labels: .*its tokenizer is the base's"):
        learner = Learner.load(tmp_path / "theirs", backbone=base)
    learner.compute = PLAIN
    assert gap(scores(learner, inputs(kind)), logits(theirs, opened(family).tokenizer, kind)) < 1e-5
    assert learner.mode.rank == 8 and learner.task.name == ("ner" if kind == "ner" else "classification")
    again = Learner.load(saved(learner, tmp_path))
    again.compute = PLAIN
    assert same_bits(scores(again, inputs(kind)), scores(learner, inputs(kind)))


def test_what_made_elsewhere_lacks_too_much_is_refused(tmp_path):
    import peft

    base = tiny("bert")
    with quiet(), quiet_peft():
        model = auto_class("sentiment").from_pretrained(base)
        theirs = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
        theirs.save_pretrained(tmp_path / "adapter")
    page = tmp_path / "adapter" / "adapter_config.json"
    said = json.loads(page.read_text())

    def refuses(match: str, **changes: Any) -> None:
        page.write_text(json.dumps({**said, **changes}))
        with pytest.raises(BundleError, match=match):
            Learner.load(tmp_path / "adapter", backbone=None if changes.get("base_model_name_or_path") else base)

    from tests.kit.checkpoints import tiny_checkpoint as make

    refuses("received an adapter of type 'IA3'", peft_type="IA3")
    refuses("received an adapter of type 'LORA' for None", task_type=None)
    refuses("whose base .*/nowhere/base.* is not on this machine; .*backbone=", base_model_name_or_path="/nowhere/base")
    bare = make("bert", tmp_path / "bare")
    drop(bare / "model.safetensors", "pooler")
    page.write_text(json.dumps(said))
    with pytest.raises(BundleError, match=r"an adapter without bert.pooler, which its base lacks as well"):
        Learner.load(tmp_path / "adapter", backbone=bare)
    drop(tmp_path / "adapter" / "adapter_model.safetensors", "classifier")
    refuses("received an adapter without its head")
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    refuses(r"without adapter_model.safetensors; expected it: a pickle")

    folder = plain_checkpoint("ner", "bert", tmp_path / "tags", id2label={0: "O", 1: "PER", 2: "LOC"})
    with pytest.raises(BundleError, match=r"tags that are not O with B- and I- of each type: O, PER, LOC"):
        Learner.load(folder)
    assert not any(tmp_path.glob("tags/*.bin"))
    with pytest.raises(BundleError, match=r"without nlptl\.json"):
        Learner.load(tiny_checkpoint("bert", tmp_path / "no head"))


def drop(file: Path, part: str) -> None:
    """A safetensors file without some of its tensors."""
    from safetensors.torch import load_file, save_file

    save_file({name: t for name, t in load_file(file).items() if part not in name}, file, metadata={"format": "pt"})


def test_tags_may_stand_in_any_order(tmp_path):
    names = {0: "I-place", 1: "B-place", 2: "O"}
    folder = plain_checkpoint("ner", "bert", tmp_path / "theirs", id2label=names)
    with pytest.warns(NlptlWarning, match="task: NER"):
        learner = Learner.load(folder)
    learner.compute = PLAIN
    best = [s.argmax(-1) for s in scores(learner, inputs("ner"))]
    # Where the likeliest tags make no illegal step they are the answer.
    for row, tags in zip(best, learner.predict(inputs("ner")), strict=True):
        said = [names[int(k)] for k in row]
        if all(t[0] != "I" or (i and said[i - 1][0] in "BI") for i, t in enumerate(said)):
            assert tags == said
    with pytest.warns(NlptlWarning, match="words without token"):
        assert learner.predict([["paris", "\u200b"]])[0][1] == "O"
    with pytest.warns(NlptlWarning, match="words without token"):
        assert learner.predict_proba([["paris", "\u200b"]])[0][1, 2] == 1.0
