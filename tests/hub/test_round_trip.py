"""Pushed here, loaded in a fresh process with an empty cache: the same bits, in nlptl; the same answers, without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlptl import Learner
from nlptl.bundle.push import PushOptions, push
from nlptl.recipe import demo_backbone
from tests.kit.cells import GRADIENT, PLAIN, SOME, Cell, fitted, quick, scores
from tests.kit.hub import Hub
from tests.kit.rows import rows
from tests.kit.shelf import tiny

ROOT = Path(__file__).parents[2]


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def round_trip(cells: Sequence[tuple[Cell, Learner]], place: Path, environment: dict[str, str], send: Callable) -> None:
    """Push every learner with its base named, and let a fresh process load and compare them all."""
    asked = []
    for n, (cell, learner) in enumerate(cells):
        repo_id = f"tester/{cell}"
        send(learner.save(place / f"bundle-{n}"), repo_id, f"tester/{cell.family}")
        inputs = rows(cell.task)[0]
        np.savez(place / f"{n}.npz", **{str(i): s for i, s in enumerate(scores(learner, inputs))})
        asked.append([repo_id, inputs])
    (place / "cells.json").write_text(json.dumps(asked))
    done = subprocess.run(
        [sys.executable, "-m", "tests.kit.fresh", str(place)], env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=place, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for (_, learner), (repo_id, inputs) in zip(cells, asked, strict=True):
        predicted = learner.predict(inputs)
        assert json.loads(told[repo_id]) == (predicted.tolist() if hasattr(predicted, "tolist") else predicted)
    assert "hf_loopback" not in done.stdout + done.stderr


def test_every_task_and_mode_on_an_encoder_and_a_decoder(hub: Hub, tmp_path: Path):
    for family in {cell.family for cell in SOME}:
        hub.create(f"tester/{family}", files_of(tiny(family)))
    assert len(SOME) == 18
    round_trip(
        [(cell, fitted(cell)) for cell in SOME],
        tmp_path,
        hub.environment(tmp_path / "elsewhere"),
        lambda folder, repo_id, base: push(folder, repo_id, PushOptions(base_model=base)),
    )
    for cell in SOME:
        small = sum(len(data) for data in hub.repos[f"tester/{cell}"].head().values())
        assert cell.mode == "full" or small < 120_000
        assert cell.mode == "full" or "model.safetensors" not in hub.repos[f"tester/{cell}"].head()


@pytest.mark.slow
def test_the_same_on_a_real_checkpoint(hub: Hub, tmp_path: Path):
    base = Path(demo_backbone())
    hub.create("tester/minilm", files_of(base))
    cells = [Cell(cell.task, cell.mode, "minilm") for cell in SOME if cell.family == "bert"]
    learners = [
        Learner(base, task=cell.task, mode=quick(cell.mode), compute=PLAIN).fit(*rows(cell.task)) for cell in cells
    ]
    assert {cell.mode for cell in cells} >= {"frozen", *GRADIENT}
    round_trip(
        list(zip(cells, learners, strict=True)),
        tmp_path,
        hub.environment(tmp_path / "elsewhere"),
        lambda folder, repo_id, base: push(folder, repo_id, PushOptions(base_model=base)),
    )


# ------------------------------------------------------------------------------------- against a stricter Hub

#: A script that serves a Hub of real git and LFS; `python SCRIPT --port 0 --root DIR --token T --user U` tells where.
STRICT = "NLPTL_HUB_SERVER"


@pytest.fixture
def strict(tmp_path: Path):
    if STRICT not in os.environ:
        pytest.skip(f"{STRICT} names no server")
    token = "hf_stricttoken1"
    server = subprocess.Popen(
        [sys.executable, os.environ[STRICT], "--port", "0", "--root", str(tmp_path / "hub"), "--token", token,
         "--user", "tester", "--extra-user", "tester:hf_strictreader:read", "--extra-user", "other:hf_strictother"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    served = Hub(endpoint=json.loads(server.stdout.readline())["endpoint"])
    yield lambda home, token=token: served.environment(home, token) | {"PYTHONPATH": str(ROOT)}
    server.terminate()
    server.wait(10)
    server.stdout.close()


def nlptl(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nlptl", *words], env=environment, capture_output=True, text=True, timeout=200
    )


UPLOAD = """
import sys; from huggingface_hub import HfApi
api = HfApi(); api.create_repo(sys.argv[2]); api.upload_folder(repo_id=sys.argv[2], folder_path=sys.argv[1])
"""
SET_FAULTS = """
import json, os, sys, httpx2
url, token = os.environ["HF_ENDPOINT"], os.environ["HF_TOKEN"]
said = httpx2.post(f"{url}/__hub/faults", content=sys.argv[1], headers={"Authorization": f"Bearer {token}"})
said.raise_for_status()
"""


@pytest.mark.slow
@pytest.mark.network
def test_against_a_stricter_hub(strict, tmp_path: Path):
    here = strict(tmp_path / "here")

    def python(source: str, *words: str) -> None:
        subprocess.run([sys.executable, "-c", source, *words], env=here, check=True, timeout=120)

    def send(folder: Path, repo_id: str, base: str) -> None:
        done = nlptl(here, "push", str(folder), repo_id, "--base-model", base)
        assert done.returncode == 0, done.stderr

    cells = [Cell(t, m, "gpt2") for t, m in (("sentiment", "lora"), ("ner", "full"), ("classification", "frozen"))]
    python(UPLOAD, str(tiny("gpt2")), "tester/gpt2")
    round_trip([(cell, fitted(cell)) for cell in cells], tmp_path, strict(tmp_path / "elsewhere"), send)

    bundle = str(tmp_path / "bundle-0")
    faults: dict[str, dict[str, Any]] = {
        "none": {},
        "creation": {"fail": 1, "match": "repos/create"},
        "busy": {"fail": 1, "match": "/commit/"},
        "lost": {"lose_response": "/commit/"},
        "cut": {"drop_after": 2000, "match": "/commit/", "rst": True},
        "upload": {"drop_after": 2000, "match": "/models/"},
    }
    for name, fault in faults.items():
        # A failure that is told to last would last: it is lifted while the second try waits.
        python(SET_FAULTS, json.dumps(fault))
        pushing = subprocess.Popen(
            [sys.executable, "-m", "nlptl", "push", bundle, f"tester/{name}", "--tag", "v1"],
            env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert pushing.stderr is not None and pushing.stdout is not None
        first = pushing.stderr.readline() if fault else ""
        python(SET_FAULTS, "{}")
        out, err = pushing.communicate(timeout=120)
        assert pushing.returncode == 0, (name, first, err)
        assert name in ("none", "upload") or "trying again" in first or "done all the same" in first, (name, first)
        assert f"tester/{name}" in out
        again = nlptl(here, "push", bundle, f"tester/{name}", "--tag", "v1")
        assert again.returncode == 0 and again.stdout.startswith("already there"), again.stderr

    elsewhere = strict(tmp_path / "third")
    python(SET_FAULTS, json.dumps({"drop_get_after": 500, "rst": True, "match": "tester/busy"}))
    loaded = nlptl(elsewhere, "predict", "tester/busy", "a joy", "--backbone", str(tiny("gpt2")), "--json")
    assert loaded.returncode == 0, loaded.stderr

    refused = {
        "hf_strictreader": "a token that may only read",
        "hf_strictother": "a Hub that forbids",
        "hf_nobodyatall": "a token that the Hub does not know",
        None: "no token",
    }
    for token, said in refused.items():
        done = nlptl(strict(tmp_path / "here", token), "push", bundle, "tester/refused")
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert "hf_strict" not in done.stderr and "hf_nobody" not in done.stderr
    for words in (["tester/nowhere"], ["tester/busy", "--revision", "v9"]):
        done = nlptl(elsewhere, "predict", *words[:1], "a text", *words[1:])
        assert done.returncode == 2 and done.stderr.startswith("nlptl: 'tester/") and "Traceback" not in done.stderr
