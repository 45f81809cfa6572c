"""One base in memory for all the learners that stand on it.

What is shared are the very parameters, by the fingerprint of the checkpoint they came from: a learner moved to a device
moves the base of all. They are held weakly, so that the last learner takes them along. Nothing of nlptl writes into a
loaded base: `fit` opens its own from the checkpoint, and `merge` works on a copy.
"""

from __future__ import annotations

import weakref
from typing import Any

_HELD: weakref.WeakValueDictionary[tuple[str, str, str], Any] = weakref.WeakValueDictionary()


def share_base(model: Any, fingerprint: str) -> None:
    """Let the frozen weights of a model's base be those of a model loaded before from the same checkpoint.

    Parameters
    ----------
    model : a base model, or a transformers or peft model around one
    fingerprint : of the checkpoint that its weights came from
    """
    base = _base(model)
    learning = [name for name, module in base.named_modules() if hasattr(module, "modules_to_save")]
    for name, weight in list(base.named_parameters()):
        if weight.requires_grad or ".lora_" in name or any(name.startswith(f"{own}.") for own in learning):
            continue
        key = (fingerprint, name.replace(".base_layer.", "."), str(weight.dtype))
        held = _HELD.get(key)
        if held is None or held.shape != weight.shape or held.dtype != weight.dtype or held.requires_grad:
            _HELD[key] = weight
        elif held is not weight:
            owner, _, last = name.rpartition(".")
            base.get_submodule(owner)._parameters[last] = held


def _base(model: Any) -> Any:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(inner, inner.base_model_prefix, inner)
