"""The fact sheet of a model family: what transformers' interfaces do not say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["encoder", "decoder"]


@dataclass(frozen=True)
class Family:
    """What has to be known of a family before one of its checkpoints can be adapted.

    Attributes
    ----------
    model_types : the ``model_type`` names in config.json that this sheet describes
    kind : "encoder" reads both ways, "decoder" from left to right
    layers : dotted path from the base model to its list of layers; "" where nobody wrote it down
    dropout : config fields that set a dropout rate, the head's among them
    pooling : what ``Frozen`` takes for a text when the checkpoint itself says nothing
    bidirectional : a decoder whose attention honours ``config.is_causal = False``
    first_position : the row of the position table for a text's first token; earlier rows are lost
    reads_last_place : the head takes the last place of a row, padding or not, so that other tools must pad on the left
    ties_layers : every layer shares one set of weights, so that none can be frozen alone
    tiny : (vocab_size, pad_token_id) -> a config of two layers and width 32, for the contract tests
    """

    model_types: tuple[str, ...]
    kind: Kind
    layers: str
    dropout: tuple[str, ...]
    tiny: Callable[[int, int], Any] | None = None
    pooling: Literal["mean", "cls", "last"] = "mean"
    bidirectional: bool = False
    first_position: int | Literal["after pad"] = 0
    reads_last_place: bool = False
    ties_layers: bool = False

    @property
    def name(self) -> str:
        return self.model_types[0]

    def layers_of(self, base_model: Any) -> Any:
        """The list of layers of a base model, the one nearest the embeddings first."""
        from torch import nn

        if self.layers:
            return base_model.get_submodule(self.layers)
        # A family without a sheet: no model has a longer list of modules than that of its layers.
        lists = [module for module in base_model.modules() if isinstance(module, nn.ModuleList)]
        return max(lists, key=len, default=nn.ModuleList())
