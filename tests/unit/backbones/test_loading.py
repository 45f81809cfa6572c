"""Opening finds the window, the pad token and the habits; weights come in float32 and leave no trace elsewhere."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from nlptl.backbones import families, heads, open_backbone
from nlptl.backbones.facts import UNSAID_WINDOW
from nlptl.errors import BackboneError
from tests.kit.checkpoints import tiny_checkpoint

SHEETS = [sheet.name for sheet in families.all()]


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of a family's tiny checkpoint that a test may change."""

    def make(family, **config):
        folder = tmp_path / family
        shutil.copytree(checkpoint(family), folder)
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**said, **config}))
        return folder

    return make


@pytest.mark.parametrize("name", SHEETS)
def test_the_window_is_what_the_model_really_holds(opened, name):
    backbone = opened(name)
    assert backbone.window == (512 if name == "xlnet" else 64)  # XLNet has no table of positions
    encoder = backbone.encoder()
    ids = torch.full((1, 64), 7)
    assert encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.shape == (1, 64, 32)


@pytest.mark.parametrize("name", ["roberta", "mpnet", "bert", "gpt2"])
def test_one_token_more_than_the_window_does_not_fit(opened, name):
    ids = torch.full((1, 65), 7)
    with pytest.raises((IndexError, RuntimeError)):
        opened(name).encoder()(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_the_tokenizers_own_limit_counts_where_it_is_the_lower(tmp_path):
    assert open_backbone(tiny_checkpoint("bert", tmp_path, max_length=32)).window == 32


def test_a_window_that_nobody_names_is_noted(copy):
    backbone = open_backbone(copy("deberta-v2", max_position_embeddings=-1))
    assert backbone.window == UNSAID_WINDOW
    assert any("names no window" in note for note in backbone.notes)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "mean"),  # both: the family's default
        ({"pooling_mode": ["cls", "mean"]}, "mean"),
    ],
)
def test_the_makers_way_to_embed_is_read(copy, config, pooling):
    folder = copy("bert")
    types = ["Transformer", "Pooling", "Normalize"]
    modules = [{"path": f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"} for n, kind in enumerate(types)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    backbone = open_backbone(folder)
    assert (backbone.pooling, backbone.normalize) == (pooling, True)
    assert (backbone.embedding_window, backbone.window) == (24, 64)
    assert backbone.notes == ()


def test_a_further_layer_of_the_makers_is_noted(copy):
    folder = copy("bert")
    (folder / "modules.json").write_text('[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]')
    assert any("Dense" in note for note in open_backbone(folder).notes)


def test_a_plain_checkpoint_has_the_familys_habits(opened):
    backbone = opened("bert")
    assert (backbone.pooling, backbone.normalize, backbone.embedding_window) == ("mean", False, 64)
    assert (backbone.width, backbone.layers, backbone.commit, backbone.revision) == (32, 2, None, None)


def test_a_missing_pad_token_is_the_end_token_and_noted(opened):
    backbone = opened("gpt2")
    assert backbone.pad_id == backbone.tokenizer.eos_token_id == backbone.config.pad_token_id
    assert backbone.tokenizer.padding_side == "right"
    assert any("no usable pad token" in note for note in backbone.notes)


def test_a_pad_token_beyond_the_embedding_table_is_not_used(copy):
    folder = copy("gpt2")
    tokenizer = open_backbone(folder).tokenizer
    tokenizer.add_special_tokens({"pad_token": "<added>"})
    tokenizer.save_pretrained(folder)
    backbone = open_backbone(folder)
    assert backbone.pad_id < backbone.config.vocab_size


def test_a_decoders_config_pads_with_the_tokenizers_token(copy):
    """Its plain head finds the end of a text by that id, and our batches are padded with the tokenizer's."""
    backbone = open_backbone(copy("gpt2", pad_token_id=5))
    assert backbone.config.pad_token_id == backbone.pad_id != 5


def test_an_encoders_pad_id_is_left_alone(opened):
    assert opened("roberta").config.pad_token_id == 1
    assert opened("roberta").notes == ()


def test_weights_are_float32_whatever_they_were_saved_in(opened, tmp_path):
    backbone = opened("bert")
    backbone.encoder().to(torch.bfloat16).save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    half = open_backbone(tmp_path)
    assert {weight.dtype for weight in half.encoder().parameters()} == {torch.float32}
    assert half.encoder(dtype=torch.bfloat16).dtype == torch.bfloat16
    assert half.with_head("token", 2, "single", seed=0).model.dtype == torch.float32


@pytest.mark.parametrize("name", SHEETS)
def test_the_encoder_is_frozen_equal_to_automodel_and_leaves_the_random_state(opened, checkpoint, name):
    from transformers import AutoModel

    state = torch.get_rng_state()
    encoder = opened(name).encoder()
    assert torch.equal(torch.get_rng_state(), state)
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    reference = AutoModel.from_pretrained(checkpoint(name)).state_dict()
    assert all(torch.equal(value, reference[key]) for key, value in encoder.state_dict().items())


def test_opening_does_not_change_what_was_opened(opened):
    backbone = opened("bert")
    before = backbone.config.to_dict()
    backbone.with_head("sequence", ["a", "b", "c"], "multi", seed=0, dropout=0.5)
    assert backbone.config.to_dict() == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"is_encoder_decoder": True}, "an encoder–decoder"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "quantised weights"),
        ({"model_type": "zzz"}, "cannot be opened .*does not recognize"),
    ],
)
def test_a_checkpoint_that_cannot_serve_is_refused(copy, config, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match=rf"received .*{message}.*; expected .*; \w+"):
        open_backbone(copy("bert", **config))


@pytest.mark.parametrize("name", ["bert", "gpt2", "mpnet"])
def test_a_checkpoint_without_a_tokenizer_is_refused(copy, name):
    folder = copy(name)
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(BackboneError, match=r"received .*; expected .*; "):
        open_backbone(folder)


def test_cut_weights_are_refused_in_one_line(copy):
    folder = copy("bert")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(
        BackboneError, match=r"received a folder that cannot be opened \(.*; expected .*; fetch"
    ) as error:
        open_backbone(folder).encoder()
    assert "\n" not in str(error.value)


def test_a_family_without_a_sequence_class_is_refused_with_what_to_do():
    from transformers import TimesFmConfig

    with pytest.raises(BackboneError, match=r"no SequenceClassification class; .*mode='frozen'"):
        heads.model_class(TimesFmConfig(), "sequence")


def test_the_fingerprint_is_of_the_weights_alone(copy, checkpoint):
    from safetensors.torch import load_file, save_file

    folder = copy("bert")
    before = open_backbone(folder).fingerprint()
    assert before == open_backbone(checkpoint("bert")).fingerprint()
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    (folder / "model.safetensors").unlink()
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file, metadata={"other": "header"})
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert open_backbone(folder).fingerprint() == before
    name = parts["model-1.safetensors"][0]
    changed = {**{key: weights[key] for key in parts["model-1.safetensors"]}, name: weights[name] + 1e-6}
    save_file(changed, folder / "model-1.safetensors")
    assert open_backbone(folder).fingerprint() != before
