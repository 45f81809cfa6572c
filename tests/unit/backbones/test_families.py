"""The fact sheets hold for the models they speak of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nlptl.backbones import families
from tests.kit.checkpoints import tiny_config

SHEETS = [sheet.name for sheet in families.all()]
PROMISED = {
    *("bert", "roberta", "xlm-roberta", "distilbert", "albert", "electra", "deberta-v2", "mpnet", "modernbert"),
    *("gpt2", "gpt_neo", "gpt_neox", "opt", "llama", "qwen2", "qwen3", "mistral", "gemma"),
}


def test_every_promised_family_has_a_sheet_and_no_type_has_two():
    types = [model_type for sheet in families.all() for model_type in sheet.model_types]
    assert set(types) >= PROMISED
    assert len(types) == len(set(types))


@pytest.mark.parametrize("name", SHEETS)
def test_the_sheet_names_the_layers(name):
    from transformers import AutoModel

    config = tiny_config(name, 50, 1)
    sheet = families.find(config)
    layers = sheet.layers_of(AutoModel.from_config(config))
    assert len(layers) == (1 if sheet.ties_layers else 2)


@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("name", SHEETS)
def test_one_dropout_rate_reaches_every_dropout(opened, name, level):
    model = opened(name).with_head(level, 2, "single", seed=0, dropout=0.375).model
    rates = {path: m.p for path, m in model.named_modules() if isinstance(m, nn.Dropout)}
    for path, module in model.named_modules():
        for attribute in ("attention_dropout", "attn_dropout", "dropout", "dropout_prob"):
            if isinstance(value := getattr(module, attribute, None), float):
                rates[f"{path}.{attribute}"] = value
    assert rates
    assert {path: p for path, p in rates.items() if p != 0.375} == {}


@pytest.mark.parametrize("name", SHEETS)
def test_no_dropout_rate_leaves_the_checkpoints_own(opened, name):
    backbone = opened(name)
    config = backbone.with_head("sequence", 2, "single", seed=0).model.config
    for field in backbone.family.dropout:
        assert getattr(config, field, None) == getattr(backbone.config, field, None)


@pytest.mark.parametrize("name", SHEETS)
def test_kind_says_which_way_the_model_reads(opened, name):
    backbone = opened(name)
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    hidden = backbone.encoder()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    sees_ahead = not torch.equal(hidden[0, 0], hidden[1, 0])
    assert sees_ahead == (backbone.family.kind == "encoder")


def test_a_family_without_a_sheet_is_introspected():
    from transformers import BloomConfig, CamembertConfig, ErnieConfig, XmodConfig

    ernie = families.find(ErnieConfig())
    assert (ernie.kind, ernie.first_position) == ("encoder", 0)
    assert set(ernie.dropout) >= {"hidden_dropout_prob", "attention_probs_dropout_prob"}
    assert families.find(XmodConfig(max_position_embeddings=514)).first_position == 2
    assert families.find(BloomConfig()).kind == "decoder"
    assert not families.find(BloomConfig()).bidirectional
    assert families.known("camembert") and families.find(CamembertConfig()).name == "roberta"
    assert not families.known("ernie")


def test_layers_are_found_without_a_sheet():
    from transformers import AutoModel, ErnieConfig

    config = ErnieConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64
    )
    assert len(families.find(config).layers_of(AutoModel.from_config(config))) == 3
