"""Heads are transformers' own, bit for bit; what is mended is mended, and what is fresh is found."""

from __future__ import annotations

import pytest
import torch

from nlptl.backbones import families, heads, open_backbone, pieces
from nlptl.backbones.sources import quiet
from nlptl.errors import BackboneError, OptionError

SHEETS = [sheet.name for sheet in families.all()]
DECODERS = [sheet.name for sheet in families.all() if sheet.kind == "decoder"]
TEXTS = ["the movie was good .", "a story", "ada lovelace left london for paris"]


def batch(backbone, texts=TEXTS, *, ends_in_pad=()):
    """Ids and mask of some texts, padded on the right; some may be made to end in the pad token for real."""
    rows = [pieces.frame(backbone, ids) for ids in pieces.text_pieces(backbone, texts)]
    rows = [row + [backbone.pad_id] * (n in ends_in_pad) for n, row in enumerate(rows)]
    width = max(map(len, rows))
    ids = torch.tensor([row + [backbone.pad_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("name", SHEETS)
def test_logits_are_those_of_transformers_own_class(opened, tmp_path, name, level):
    import transformers

    backbone = opened(name)
    if level == "token" and not backbone.token_class:
        pytest.skip("transformers has no such class: tested by itself")
    ours = backbone.with_head(level, ["x", "y", "z"], "single", seed=0).model
    with quiet():
        ours.save_pretrained(tmp_path)
        auto = getattr(transformers, f"AutoModelFor{level.title()}Classification")
        theirs = auto.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == type(ours).__name__
    assert theirs.config.id2label == {0: "x", 1: "y", 2: "z"}
    assert theirs.config.problem_type == "single_label_classification"
    inputs = batch(backbone)
    if backbone.family.reads_last_place and level == "sequence":
        # Its own head needs the padding on the left; ours does not.
        turns = [(~m.bool()).sum().item() for m in inputs["attention_mask"]]
        left = {
            key: torch.stack([torch.roll(row, n) for row, n in zip(v, turns, strict=True)]) for key, v in inputs.items()
        }
        torch.testing.assert_close(ours(**inputs).logits, theirs(**left).logits, atol=1e-5, rtol=0)
        return
    assert torch.equal(ours(**inputs).logits, theirs(**inputs).logits)


@pytest.mark.parametrize("name", DECODERS)
def test_a_text_that_ends_in_the_pad_token_is_pooled_at_its_end(opened, name):
    backbone = opened(name)
    model = backbone.with_head("sequence", 3, "single", seed=0).model
    inputs = batch(backbone, ends_in_pad=(1, 2))
    hidden = model.base_model(**inputs).last_hidden_state
    last = inputs["attention_mask"].sum(1) - 1
    expected = model.score(hidden)[torch.arange(3), last]
    assert torch.equal(model(**inputs).logits, expected)
    # The same text alone, without padding after it, agrees: padding is not what decides.
    alone = {key: value[1:2, : last[1] + 1] for key, value in inputs.items()}
    torch.testing.assert_close(model(**alone).logits, expected[1:2], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("problem", "labels"), [("single", [0, 2, 1]), ("multi", None), ("regression", None)])
def test_the_loss_of_a_mended_head_is_transformers_own(opened, problem, labels):
    from transformers import GPT2ForSequenceClassification

    backbone = opened("gpt2")
    n = 1 if problem == "regression" else 3
    model = backbone.with_head("sequence", n, problem, seed=0).model
    targets = torch.tensor(labels) if labels else torch.rand(3, n).round()
    inputs = batch(backbone)
    theirs = GPT2ForSequenceClassification.forward(model, **inputs, labels=targets)
    torch.testing.assert_close(model(**inputs, labels=targets).loss, theirs.loss)


def test_mending_twice_is_mending_once(opened):
    model = opened("gpt2").with_head("sequence", 2, "single", seed=0).model
    cls = type(model)
    heads.read_last_token_by_mask(model)
    assert type(model) is cls


def test_a_mended_head_still_takes_embeddings(opened):
    backbone = opened("gpt2")
    model = backbone.with_head("sequence", 2, "single", seed=0).model
    inputs = batch(backbone, ["the movie was good ."])
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    torch.testing.assert_close(model(inputs_embeds=embedded).logits, model(**inputs).logits)


@pytest.mark.parametrize("name", ["opt", "gemma3_text"])
def test_a_family_without_a_token_class_gets_one_and_says_so(opened, tmp_path, name):
    backbone = opened(name)
    assert not backbone.token_class
    made = backbone.with_head("token", ["O", "B-x"], "single", seed=0)
    assert made.fresh == made.head == ("score",)
    assert any("opens only in nlptl" in note for note in made.notes)
    inputs = batch(backbone)
    logits = made.model(**inputs).logits
    expected = made.model.score(backbone.encoder()(**inputs).last_hidden_state)
    assert torch.equal(logits, expected)
    with quiet():
        made.model.save_pretrained(tmp_path)
        backbone.tokenizer.save_pretrained(tmp_path)
    again = open_backbone(tmp_path).with_head("token", ["O", "B-x"], "single", seed=9)
    assert again.fresh == ()
    assert torch.equal(again.model(**inputs).logits, logits)


def test_a_backbone_that_projects_its_states_down_gets_a_head_that_fits(tmp_path):
    from transformers import OPTConfig, OPTModel

    from tests.kit.checkpoints import tiny_tokenizer

    tokenizer = tiny_tokenizer("opt")
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=16,  # as OPT-350m's
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=64,
    )
    with quiet():
        OPTModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backbone = open_backbone(tmp_path)
    model = backbone.with_head("token", 4, "single", seed=0).model
    assert model(**batch(backbone)).logits.shape[-1] == 4
    assert backbone.width == 16


@pytest.mark.parametrize("name", DECODERS)
def test_bidirectional_reads_both_ways_with_and_without_padding(opened, name):
    backbone = opened(name)
    if not backbone.family.bidirectional:
        with pytest.raises(OptionError, match=r"received bidirectional=True for gpt_neo.*expected one of gemma"):
            backbone.with_head("sequence", 2, "single", seed=0, bidirectional=True)
        return
    model = backbone.with_head("token", 2, "single", seed=0, bidirectional=True).model
    assert model.config.is_causal is False
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    bare = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert not torch.equal(bare[0, 0], bare[1, 0])
    wide = torch.nn.functional.pad(ids, (0, 2), value=backbone.pad_id)
    padded = model(input_ids=wide, attention_mask=torch.tensor([[1, 1, 1, 1, 0, 0]] * 2)).logits
    torch.testing.assert_close(padded[:, :4], bare, atol=1e-5, rtol=0)


def test_an_encoder_has_no_use_for_bidirectional(opened):
    with pytest.raises(OptionError, match="reads both ways already"):
        opened("bert").encoder(bidirectional=True)


@pytest.mark.parametrize(
    ("name", "level", "fresh"),
    [
        ("bert", "sequence", ("bert.pooler", "classifier")),
        ("bert", "token", ("classifier",)),
        ("deberta-v2", "sequence", ("pooler", "classifier")),
        ("modernbert", "sequence", ("classifier",)),
        ("distilbert", "sequence", ("pre_classifier", "classifier")),
        ("roberta", "sequence", ("classifier",)),
        ("gpt2", "sequence", ("score",)),
    ],
)
def test_what_a_language_models_checkpoint_lacks_is_fresh(opened, tmp_path, name, level, fresh):
    """Masked-language checkpoints have no pooler; ModernBERT's bring the head that its classifier reuses."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    backbone = opened(name)
    auto = AutoModelForCausalLM if backbone.family.kind == "decoder" else AutoModelForMaskedLM
    with quiet():
        auto.from_config(backbone.config).save_pretrained(tmp_path)
        backbone.tokenizer.save_pretrained(tmp_path)
    assert open_backbone(tmp_path).with_head(level, 3, "single", seed=0).fresh == fresh


@pytest.mark.parametrize("name", ["distilbert", "roberta", "modernbert", "gpt2"])
def test_a_head_for_other_labels_is_drawn_anew_and_told(opened, tmp_path, name):
    backbone = opened(name)
    old = backbone.with_head("sequence", ["bad", "good"], "single", seed=0).model
    with quiet():
        old.save_pretrained(tmp_path)
        backbone.tokenizer.save_pretrained(tmp_path)
    tuned = open_backbone(tmp_path)
    kept = tuned.with_head("sequence", ["bad", "good"], "single", seed=5)
    assert kept.fresh == ()
    assert torch.equal(kept.model(**batch(backbone)).logits, old(**batch(backbone)).logits)
    for labels in (["spam", "ham"], ["a", "b", "c"]):
        other = tuned.with_head("sequence", labels, "single", seed=5)
        assert set(other.fresh) == set(other.head)
        assert len(labels) == 3 or any("drawn anew" in note for note in other.notes)
        state, before = other.model.state_dict(), old.state_dict()
        for head in other.head:
            weight = f"{head}.weight"
            if weight in state and state[weight].ndim > 1:
                assert state[weight].shape != before[weight].shape or not torch.equal(state[weight], before[weight])
        again = tuned.with_head("sequence", labels, "single", seed=5).model.state_dict()
        assert all(torch.equal(state[key], again[key]) for key in state)


@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("name", SHEETS)
def test_the_seed_decides_the_head_and_nothing_else(opened, name, level):
    backbone = opened(name)
    state = torch.get_rng_state()
    one, same, other = (backbone.with_head(level, 3, "single", seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    first, second, third = (made.model.state_dict() for made in (one, same, other))
    assert all(torch.equal(first[key], second[key]) for key in first)
    changed = {key for key in first if not torch.equal(first[key], third[key])}
    assert changed
    assert all(any(key.startswith(f"{fresh}.") for fresh in one.fresh) for key in changed)


def test_a_checkpoint_that_lacks_a_layer_is_refused(opened, tmp_path):
    from safetensors.torch import load_file, save_file

    backbone = opened("bert")
    with quiet():
        backbone.encoder().save_pretrained(tmp_path)
        backbone.tokenizer.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "layer.1.attention" not in key}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"without weights for 'bert.encoder.layer.1.attention'; expected all"):
        open_backbone(tmp_path).with_head("sequence", 2, "single", seed=0)
