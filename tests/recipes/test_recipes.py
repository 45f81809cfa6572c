"""Every recipe and its YAML runs, on the bundled rows and a tiny checkpoint."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from nlptl.__main__ import main
from tests.kit.checkpoints import tiny_checkpoint

FOLDER = Path(__file__).parents[2] / "recipes"
SCRIPTS = sorted(FOLDER.glob("*.py"))
RECIPES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(tiny_checkpoint("bert", tmp_path_factory.mktemp("bert")))


def test_each_task_has_a_script_and_a_recipe():
    from nlptl import tasks

    assert len(SCRIPTS) == len(RECIPES) == len(tasks.names())
    assert [p.stem for p in SCRIPTS] == [p.stem for p in RECIPES]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_runs_on_the_bundled_rows(script, backbone, tmp_path, capsys):
    run = runpy.run_path(str(script))["main"]
    run(["--backbone", backbone, "--mode", "frozen", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "95 % interval" in said and f"saved in {tmp_path / 'out'}" in said
    assert (tmp_path / "out" / "nlptl.json").is_file()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_runs_with_an_override(recipe, backbone, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["fit", str(recipe), "--backbone", backbone, "--mode.steps", "2", "--out", str(out)]) == 0
    assert (out / "model" / "nlptl.json").is_file() and (out / "report.json").is_file()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_opens_with_its_command_an_override_and_what_to_expect(recipe):
    head = recipe.read_text(encoding="utf-8").split("\n\n")[0]
    command = f"nlptl fit recipes/{recipe.name}"
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"{command}\n" in head and f"{command} --mode" in head and "to expect:" in head


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_runs_without_arguments(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "saved in runs/" in done.stdout


def test_two_processes_are_two_and_say_what_one_says(backbone, tmp_path):
    """The world size is asserted: two processes that know nothing of each other would pass a comparison as well."""
    words = ["-m", "nlptl", "fit", "--task", "sentiment", "--backbone", backbone, "--mode.steps", "2"]
    # One mask a process is drawn in dropout, so that only without it are the two runs the same one.
    words += ["--mode.dropout", "0", "--mode.optimizer", "sgd", "--mode.learning_rate", "0.1"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", torchrun)):
        code, said = _run_to_its_end([sys.executable, *launcher, *words, "--out", str(tmp_path / name)])
        assert code == 0, said
        assert said.count("saved in") == 1
    _assert_same_run(tmp_path)


def _run_to_its_end(words: list[str]) -> tuple[int, str]:
    """The exit code and all that was said; torchrun is asked to end, not killed, so that it ends its workers too."""
    env = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as running:
        try:
            said, _ = running.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            running.terminate()
            said, _ = running.communicate()
            return 124, f"still running after 120 s\n{said}"
    return running.returncode, said


def _assert_same_run(folder: Path) -> None:
    import json

    import torch
    from safetensors.torch import load_file

    one, two = (json.loads((folder / n / "report.json").read_text()) for n in ("one", "two"))
    assert (one["choices"]["processes"], two["choices"]["processes"]) == ("1", "2")
    assert one["rows"] == two["rows"] and one["metrics"]["accuracy"] == two["metrics"]["accuracy"]
    weights = [load_file(str(folder / n / "model" / "adapter_model.safetensors")) for n in ("one", "two")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=1e-5)
