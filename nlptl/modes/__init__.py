"""What moves: nothing (`Frozen`), everything (`FullTuning`), or adapters (`LoRA`). One file a mode."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptl.modes.base import Mode


def resolve(mode: Any) -> Mode:
    """A mode from its name or as it was given."""
    from nlptl import registry
    from nlptl.modes.base import Mode

    return registry.resolve(mode, sys.modules[__name__], Mode, "mode")  # type: ignore[type-abstract]


def classes() -> dict[str, type[Mode]]:
    """The modes there are, by name."""
    from nlptl import registry
    from nlptl.modes.base import Mode

    return registry.named_classes(sys.modules[__name__], Mode)  # type: ignore[type-abstract]
