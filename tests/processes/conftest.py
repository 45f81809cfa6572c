"""The processes, started once for all tests here: two by torchrun's command, others by its agent, forked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.kit.checkpoints import tiny_checkpoint
from tests.kit.processes import Ended, run, torchrun
from tests.processes import checks, ends


@pytest.fixture(scope="session")
def backbones(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("backbones")
    for family in ("bert", "llama"):
        tiny_checkpoint(family, folder / family)
    return folder


@pytest.fixture(scope="session")
def two(backbones, tmp_path_factory) -> Path:
    """The folder in which two processes have left what they saw."""
    folder = tmp_path_factory.mktemp("two")
    ended = torchrun(2, str(Path(checks.__file__)), str(backbones), str(folder))
    assert ended.code == 0, ended.said
    return folder


@pytest.fixture(scope="session")
def groups(backbones, tmp_path_factory) -> tuple[Path, Ended]:
    """The folder and the words of several groups of processes, most of which end badly."""
    folder = tmp_path_factory.mktemp("groups")
    ended = run([sys.executable, str(Path(ends.__file__)), str(backbones), str(folder)])
    assert ended.code == 0, ended.said
    return folder, ended


@pytest.fixture(scope="session")
def three(groups) -> Path:
    """The folder in which three processes have left what they saw."""
    folder, ended = groups
    told = json.loads(ended.said.splitlines()[-1])
    assert told["three"]["codes"] == [], ended.said
    return folder / "three"
