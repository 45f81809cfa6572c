"""A backbone with transformers' own head on top, and what of it is new and must be learnt.

Head and pooling are transformers' own, so that a saved model opens in everybody's tools. Two things are
mended here: a decoder's head finds a text's last token by the attention mask (see `LastTokenByMask`), and a
family without a token-classification class gets transformers' generic one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from nlptl.backbones.pooling import last_positions
from nlptl.errors import BackboneError

Level = Literal["sequence", "token"]
Problem = Literal["single", "multi", "regression"]

PROBLEM_TYPES = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "regression": "regression",
}
_SUFFIX = {"sequence": "ForSequenceClassification", "token": "ForTokenClassification"}


@dataclass(frozen=True)
class Opened:
    """A model ready to be trained.

    Attributes
    ----------
    model : one of transformers' ``…ForSequenceClassification`` or ``…ForTokenClassification``
    fresh : names of the modules that were drawn and not loaded, the topmost where all of it is new; made
        to be handed to peft as ``modules_to_save`` and ``exclude_modules``
    head : names of the modules that stand outside the base model, fresh or not
    notes : what was found or done that a reader of the record should know
    """

    model: Any
    fresh: tuple[str, ...]
    head: tuple[str, ...]
    notes: tuple[str, ...] = ()


def model_class(config: Any, level: Level) -> tuple[Any, bool]:
    """The class that carries a head of this level, and whether transformers itself has it."""
    import transformers
    from transformers import MODEL_MAPPING

    suffix = _SUFFIX[level]
    mapping = getattr(transformers, f"MODEL_FOR_{level.upper()}_CLASSIFICATION_MAPPING")
    if type(config) in mapping:
        return mapping[type(config)], True
    if f"AutoModel{suffix}" in (getattr(config, "auto_map", None) or {}):
        return getattr(transformers, f"AutoModel{suffix}"), True  # the checkpoint's own code brings one
    if level == "sequence" or type(config) not in MODEL_MAPPING:
        raise BackboneError(
            f"received a checkpoint of type {config.model_type!r}, for which transformers has no "
            f"{suffix[3:]} class; expected a family that has one; use mode='frozen', or another checkpoint"
        )
    return _generic_token_class(MODEL_MAPPING[type(config)]), False


def read_last_token_by_mask(model: Any) -> None:
    """Let a head that reads the last token go by the attention mask from here on; other models are left alone.

    The class keeps its name and its module, so what is saved still names transformers' own class.
    """
    cls = type(model)
    by_mask = LastTokenByMask if hasattr(model, "score") else LastSummaryByMask
    if (hasattr(model, "score") or _summarises_last(model)) and not issubclass(cls, by_mask):
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
        model.__class__ = type(cls.__name__, (by_mask, cls), names)


def _summarises_last(model: Any) -> bool:
    return getattr(getattr(model, "sequence_summary", None), "summary_type", None) == "last"


class LastTokenByMask:
    """Pools the last token that the attention mask shows; transformers takes the last that is not the pad.

    GPT-2 and many others have no pad token and pad with the end-of-text token. A text that itself ends in
    that token is then pooled one token early by transformers, and here where it ends. For every other text
    the logits are the same, bit for bit.
    """

    def forward(self, input_ids: Any = None, attention_mask: Any = None, labels: Any = None, **inputs: Any) -> Any:
        """Logits (batch, labels) of the last real token, and the loss where labels are given."""
        import torch
        from transformers.modeling_outputs import SequenceClassifierOutputWithPast

        model: Any = self
        if input_ids is None or attention_mask is None:
            return super().forward(  # type: ignore[misc]
                input_ids=input_ids, attention_mask=attention_mask, labels=labels, **inputs
            )
        inputs.pop("return_dict", None)
        outputs = model.base_model(input_ids, attention_mask=attention_mask, **inputs)
        # All tokens are scored and one is picked, in transformers' own order: the same bits come out.
        logits = model.score(outputs.last_hidden_state)
        rows = torch.arange(logits.shape[0], device=logits.device)
        pooled = logits[rows, last_positions(attention_mask).to(logits.device)]
        loss = None
        if labels is not None:
            loss = model.loss_function(logits=logits, labels=labels, pooled_logits=pooled, config=model.config)
        return SequenceClassifierOutputWithPast(
            loss=loss,
            logits=pooled,
            past_key_values=outputs.get("past_key_values"),
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
        )


class LastSummaryByMask:
    """XLNet's head, which reads the last place of each row: right for texts that are padded on the left alone.

    Positions are relative, so that a text padded on the right has the same vectors; the head is handed its last one.
    """

    def forward(self, input_ids: Any = None, attention_mask: Any = None, labels: Any = None, **inputs: Any) -> Any:
        """Logits (batch, labels) of the last real token; where labels are given, all is transformers' own."""
        import torch
        from transformers.modeling_outputs import SequenceClassifierOutput

        model: Any = self
        if input_ids is None or attention_mask is None or labels is not None:
            return super().forward(  # type: ignore[misc]
                input_ids=input_ids, attention_mask=attention_mask, labels=labels, **inputs
            )
        hidden = model.base_model(input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        last = hidden[rows, last_positions(attention_mask).to(hidden.device)]
        return SequenceClassifierOutput(logits=model.logits_proj(model.sequence_summary(last[:, None])))


def fresh_modules(model: Any, missing: Sequence[str]) -> tuple[str, ...]:
    """The modules that own missing weights, as peft can save them: the topmost missing entirely."""
    lost = set(missing)

    def visit(name: str, module: Any) -> Iterator[str]:
        prefix = f"{name}." if name else ""
        weights = [f"{prefix}{weight}" for weight, _ in module.named_parameters()]
        if not lost.intersection(weights):
            return
        if name and lost.issuperset(weights):
            yield name
            return
        if any(f"{prefix}{weight}" in lost for weight, _ in module.named_parameters(recurse=False)):
            yield name
            return
        for child, inner in module.named_children():
            yield from visit(f"{prefix}{child}", inner)

    return tuple(visit("", model))


def head_modules(model: Any) -> tuple[str, ...]:
    """The modules with weights that stand beside the base model."""
    return tuple(
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    )


@contextmanager
def drawn_under(seed: int) -> Iterator[None]:
    """Draw random weights under a seed and leave torch's random state as it was.

    Weights are drawn on the CPU whatever the device; `torch.manual_seed` would reseed the GPUs, too.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def redraw(model: Any, names: Sequence[str]) -> None:
    """Draw the named modules anew, as transformers draws what a checkpoint lacks."""
    for name in names:
        top = model.get_submodule(name)
        for weight in top.parameters():
            weight._is_hf_initialized = False
        for module in top.modules():
            module._is_hf_initialized = False
            model._init_weights(module)


def _generic_token_class(base: Any) -> Any:
    """A token-classification class after transformers' pattern, for a family without (OPT, Gemma 3)."""
    from torch import nn
    from transformers import PreTrainedModel
    from transformers.modeling_layers import GenericForTokenClassification

    parent = next(cls for cls in base.__mro__[1:] if issubclass(cls, PreTrainedModel) and cls is not PreTrainedModel)

    class ForTokenClassification(GenericForTokenClassification, parent):  # type: ignore[misc,valid-type]
        base_model_prefix = parent.base_model_prefix
        config_class = base.config_class

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            # OPT-350m projects its hidden states down before it hands them out.
            width = getattr(config, "word_embed_proj_dim", None) or config.get_text_config().hidden_size
            if width != config.get_text_config().hidden_size:
                self.score = nn.Linear(width, config.num_labels)
                self.post_init()

    ForTokenClassification.__name__ = base.__name__.removesuffix("Model") + "ForTokenClassification"
    return ForTokenClassification
