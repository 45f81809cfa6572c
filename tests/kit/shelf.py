"""The tiny checkpoints of every family, made once a process; not to be written into."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from nlptl.backbones import Backbone, open_backbone
from tests.kit.checkpoints import tiny_checkpoint

_WRITTEN: dict[str, dict[str, str]] = {}


@cache
def tiny(family: str) -> Path:
    """The folder of a family's tiny checkpoint."""
    folder = tiny_checkpoint(family, _room() / family)
    _WRITTEN[family] = digest(folder)
    return folder


def written(family: str) -> dict[str, str]:
    """What the files of `tiny` were when they were written."""
    return _WRITTEN[family]


def digest(folder: Path) -> dict[str, str]:
    """The sha256 of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def opened(family: str) -> Backbone:
    """A family's tiny checkpoint, freshly opened."""
    return open_backbone(tiny(family))


@cache
def _room() -> Path:
    """Inside the caches of this test run, which are removed at its end."""
    return Path(tempfile.mkdtemp(prefix="checkpoints-", dir=os.environ["NLPTL_TEST_CACHES"]))
