"""One tiny checkpoint a family, made once and opened by every test of the backbones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nlptl.backbones import Backbone, open_backbone
from tests.kit.checkpoints import tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny checkpoint; not to be written into."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = tiny_checkpoint(family, tmp_path_factory.mktemp(family))
        return made[family]

    return make


@pytest.fixture
def opened(checkpoint: Callable[[str], Path]) -> Callable[[str], Backbone]:
    """A family's tiny checkpoint, freshly opened."""
    return lambda family: open_backbone(checkpoint(family))
