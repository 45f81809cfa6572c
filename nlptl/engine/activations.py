"""Activations computed again in the backward pass instead of kept: less memory, more work, the same gradients."""

from __future__ import annotations

from typing import Any

from nlptl.errors import OptionError


def checkpoint_activations(model: Any) -> None:
    """transformers' gradient checkpointing, where the family has it."""
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise OptionError(
            f"Compute(gradient_checkpointing=True): received {type(model).__name__} ({model.config.model_type}), for "
            "which transformers has none; expected a family that has it; leave it out, and use a smaller "
            "Compute(batch_tokens=…)"
        )
    model.activation_checkpointing_enable({"use_reentrant": False})
    # Only the other kind of checkpoint needs inputs that ask for a gradient; here they would make the backward pass go
    # through layers of which nothing learns.
    model.disable_input_require_grads()
