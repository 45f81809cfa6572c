"""The fact sheets, one file a family. The folder is the registry: a new file with a ``FAMILY`` is found."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from nlptl.backbones.base import Family, Kind

# `all` is the natural word for callers (`families.all()`); the builtin is not used in this module.


@cache
def all() -> tuple[Family, ...]:
    """Every fact sheet, by the order of their files' names."""
    sheets: list[Family] = []
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        sheets.append(module.FAMILY)
    return tuple(sheets)


def known(model_type: str) -> bool:
    """Whether a fact sheet describes this model type."""
    return any(model_type in sheet.model_types for sheet in all())


def find(config: Any) -> Family:
    """The fact sheet for a checkpoint's config; an unknown family's is drawn up from the config."""
    for sheet in all():
        if config.model_type in sheet.model_types:
            return sheet
    return _introspected(config)


def _introspected(config: Any) -> Family:
    """What can be told of a family nobody wrote a sheet for; what cannot be told is taken cautiously."""
    rates = tuple(
        name
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, int | float)
    )
    positions = getattr(config, "max_position_embeddings", 0) or 0
    # A table of 514 rows is 512 positions after RoBERTa's fashion; taking two too few costs nothing.
    after_pad = positions > 2 and (positions - 2) & (positions - 3) == 0
    return Family(
        model_types=(config.model_type,),
        kind=_kind(config),
        layers="",
        dropout=rates,
        bidirectional=False,
        first_position=2 if after_pad else 0,
    )


def _kind(config: Any) -> Kind:
    from transformers.models.auto import modeling_auto

    # BERT can be opened as a causal model too: what has a masked-language-model class was trained both ways.
    causal = config.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "decoder" if causal and not masked else "encoder"
