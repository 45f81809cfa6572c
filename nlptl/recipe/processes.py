"""Who speaks when there are several processes. The launcher's environment tells, before torch is loaded."""

from __future__ import annotations

import os
from typing import Any

from nlptl.engine.launcher import is_main

__all__ = ["complains", "is_main", "tell"]


def complains() -> bool:
    """Whether this process says what went wrong: the first of each machine, for the others see the same files."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def tell(*lines: Any) -> None:
    """`print`, on the main process only."""
    if is_main():
        print(*lines, sep="\n", flush=True)
