"""Logits are those of transformers and of plain peft, on the same weights and batch; what is saved opens in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nlptl import FullTuning, Learner, LoRA
from nlptl.backbones import families
from nlptl.backbones.sources import quiet
from nlptl.data.words import split_words
from nlptl.modes.lora import quiet_peft
from tests.kit.cells import PLAIN, Cell, fitted, scores
from tests.kit.rows import SENTENCES, TEXTS, rows
from tests.kit.shelf import opened, tiny

SHEETS = [sheet.name for sheet in families.all()]
TOKEN_CLASS = [name for name in SHEETS if opened(name).token_class]


def padded(tokenizer):
    """Transformers' own batch of the texts."""
    given = tokenizer(TEXTS, padding=True, return_tensors="pt")
    return {name: given[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("family", SHEETS)
def test_a_full_model_opens_in_transformers(family, tmp_path: Path):
    import transformers

    learner = fitted(Cell("classification", "full", family))
    learner.save(tmp_path / "bundle")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "bundle").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "bundle")
    with torch.inference_mode():
        expected = theirs(**padded(tokenizer)).logits.numpy()
    np.testing.assert_allclose(np.concatenate(scores(learner, TEXTS)), expected, atol=1e-5)
    assert theirs.config.id2label == {0: "negative", 1: "positive"}


@pytest.mark.parametrize("family", TOKEN_CLASS)
def test_a_full_tagger_opens_in_transformers(family, tmp_path: Path):
    import transformers

    learner = fitted(Cell("ner", "full", family))
    learner.save(tmp_path / "bundle")
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "bundle").eval()
    item = learner._known.task.prepare(
        learner._known.backbone, [SENTENCES[0]], learner._known.mode.window(learner._known.backbone)
    ).items[0]
    with torch.inference_mode():
        logits = theirs(input_ids=torch.tensor(item.windows[0][None])).logits[0].numpy()
    np.testing.assert_allclose(scores(learner, [SENTENCES[0]])[0], logits[item.units[:, 1]], atol=1e-5)
    assert list(theirs.config.id2label.values()) == list(learner.classes_)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_pipeline_says_what_the_learner_says(family, tmp_path: Path):
    from transformers import pipeline

    learner = fitted(Cell("sentiment", "full", family))
    learner.save(tmp_path / "bundle")
    with quiet():
        pipe = pipeline("text-classification", model=str(tmp_path / "bundle"), top_k=None, device="cpu")
        found = pipe(TEXTS)
    by_label = [{entry["label"]: entry["score"] for entry in row} for row in found]
    expected = [[row[str(label)] for label in learner.classes_] for row in by_label]
    np.testing.assert_allclose(learner.predict_proba(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("family", SHEETS)
def test_an_adapter_opens_in_plain_peft(family, tmp_path: Path):
    import peft
    import transformers

    learner = fitted(Cell("classification", "lora", family))
    learner.save(tmp_path / "bundle")
    with quiet(), quiet_peft():
        base = transformers.AutoModelForSequenceClassification.from_pretrained(
            tiny(family), num_labels=2, pad_token_id=opened(family).pad_id
        )
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "bundle").eval()
    with torch.inference_mode():
        expected = theirs(**padded(opened(family).tokenizer)).logits.numpy()
    np.testing.assert_allclose(np.concatenate(scores(learner, TEXTS)), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_an_adapter_starts_as_plain_peft_starts_it(family):
    """The same configuration under the same seed gives the same wrapped model."""
    import peft

    backbone = opened(family)
    ours = fitted(Cell("classification", "lora", family))._known.fitted.model
    made = backbone.with_head("sequence", ["negative", "positive"], "single", seed=0)
    with quiet_peft():
        theirs = peft.get_peft_model(made.model, ours.peft_config["default"])
    assert {n: p.shape for n, p in theirs.named_parameters()} == {n: p.shape for n, p in ours.named_parameters()}
    assert theirs.get_nb_trainable_parameters() == (
        sum(p.numel() for p in theirs.parameters() if p.requires_grad),
        sum(p.numel() for p in ours.parameters()),
    )


def test_entities_are_those_of_the_tags_of_the_words():
    learner = fitted(Cell("ner", "full", "bert"))
    words = [[w.text for w in split_words(s)] for s in SENTENCES]
    chances = learner.predict_proba(SENTENCES)
    for given, said in zip(learner.predict_proba(words), chances, strict=True):
        np.testing.assert_array_equal(given, said)


@pytest.mark.parametrize("mode", [FullTuning, LoRA])
def test_the_loss_of_a_run_is_that_of_a_plain_torch_loop(mode):
    """Twenty steps of AdamW with warm-up, decay and clipping, on the same batches, as the Trainer takes them."""
    import transformers

    from nlptl.engine.batching import training_plan
    from nlptl.engine.train import Training

    inputs, targets = [*TEXTS, *(f"{t} indeed" for t in TEXTS)], [*rows("classification")[1]] * 2
    options = mode(steps=20, batch_size=4, learning_rate=2e-3, warmup=5, weight_decay=0.05, dropout=0.0)
    ours: list[float] = []
    step = Training._step

    def watched(self, batch):
        ours.append(step(self, batch))
        return ours[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_step", watched)
        learner = Learner(tiny("bert"), mode=options, compute=PLAIN).fit(inputs, targets)

    backbone = learner._known.backbone
    opened_again = options.open(backbone, learner._known.task, learner._known.space, seed=0)
    if mode is LoRA:
        import peft

        with quiet_peft(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = peft.get_peft_model(opened_again.model, options._config(opened_again, "sequence"))
    else:
        model = opened_again.model
    model.train()
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=2e-3
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: (n + 1) / 6 if n < 5 else max(0.0, (20 - n) / 15))
    items = learner._known.task.prepare(backbone, inputs, options.window(backbone)).items
    numbers = torch.tensor([["negative", "positive"].index(t) for t in targets])
    batches = [batch for epoch in range(5) for batch in training_plan(items, 4, seed=0, epoch=epoch)]
    theirs = []
    for batch in batches[:20]:
        given = backbone.tokenizer([inputs[i] for i in batch], padding=True, return_tensors="pt")
        out = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"], labels=numbers[batch])
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        theirs.append(float(out.loss.detach()))
    assert transformers.__version__  # its own loss, of its own class, is what `out.loss` is
    assert ours[0] != ours[-1]
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
