"""The one door: what it exports, and that opening it costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nlptl

HEAVY = ("torch", "sklearn", "transformers", "datasets", "accelerate", "evaluate", "pandas", "peft", "scipy")

# Runs what is after it, then says which heavy packages that has loaded.
LOADED = "import sys; print(*sorted({m.partition('.')[0] for m in sys.modules} & {*sys.argv[1].split(',')}))"
IMPORT = f"import nlptl; {LOADED}"
HELP = f"""
import runpy, sys
names, sys.argv = sys.argv[1], ["nlptl", "--help"]
try:
    runpy.run_module("nlptl", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
sys.argv = ["", names]
{LOADED}
"""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def best_of(times: int, *arguments: str) -> float:
    """Seconds of the fastest run: the others measure the machine's other work."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run(*arguments)
        taken.append(time.perf_counter() - start)
    return min(taken)


def test_all_is_sorted_and_free_of_repeats():
    assert nlptl.__all__ == sorted(set(nlptl.__all__))


@pytest.mark.parametrize("name", nlptl.__all__)
def test_every_name_is_there(name):
    assert getattr(nlptl, name) is not None
    assert name in dir(nlptl)


def test_every_name_is_told_to_type_checkers_from_where_it_is_loaded():
    tree = ast.parse(Path(nlptl.__file__).read_text(encoding="utf-8"))
    guarded = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    told = {a.name: n.module for n in guarded.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert told == nlptl._HOMES
    assert set(nlptl.__all__) == {*told, "__version__"}


def test_every_error_has_its_place_at_the_door():
    from nlptl import errors

    raised = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert raised and raised <= set(nlptl.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Lerner'"):
        _ = nlptl.Lerner


def test_the_version_is_the_one_of_the_module_that_keeps_it():
    from nlptl import _version

    assert nlptl.__version__ == _version.__version__


def test_import_loads_nothing_heavy():
    assert run("-c", IMPORT, ",".join(HEAVY)).split() == []


def test_the_probe_sees_what_is_loaded():
    assert run("-c", f"import datasets; {LOADED}", "datasets,ast").split() == ["ast", "datasets"]


def test_help_loads_nothing_heavy():
    *shown, loaded = run("-c", HELP, ",".join(HEAVY)).removesuffix("\n").split("\n")
    assert "usage" in " ".join(shown).lower()
    assert loaded.split() == []


def test_import_is_under_a_second():
    assert best_of(3, "-c", "import nlptl") < 1.0


def test_help_is_under_a_second():
    assert best_of(3, "-m", "nlptl", "--help") < 1.0
