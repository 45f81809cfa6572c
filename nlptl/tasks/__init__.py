"""What is learnt: labels, how a row becomes model input, the loss, decoding and the metrics. One file a task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptl.tasks.base import Task


def resolve(task: Any) -> Task:
    """A task from its name or as it was given."""
    from nlptl import registry
    from nlptl.tasks.base import Task

    return registry.resolve(task, sys.modules[__name__], Task, "task")  # type: ignore[type-abstract]


def names() -> list[str]:
    """The names of the tasks there are."""
    from nlptl import registry
    from nlptl.tasks.base import Task

    return list(registry.named_classes(sys.modules[__name__], Task))  # type: ignore[type-abstract]
