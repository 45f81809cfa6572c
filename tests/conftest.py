"""What every test runs under: no network, one thread, caches of its own, a seed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

# Here, and not in a fixture, because torch and the Hub's client read it when they are imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # HF_HUB_OFFLINE=0 scripts/test -m network lifts it
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # forked workers would warn
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # bits depend on the number of threads, and pytest's workers share the cores

# A shell that starts the tests in the background has Ctrl-C ignored, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing is read from the user's caches or left in them; pytest's workers inherit the folder.
_OWNS_CACHES = "NLPTL_TEST_CACHES" not in os.environ
if _OWNS_CACHES:
    os.environ["NLPTL_TEST_CACHES"] = tempfile.mkdtemp(prefix="nlptl-tests-")
_CACHES = Path(os.environ["NLPTL_TEST_CACHES"])
os.environ["HF_HOME"] = str(_CACHES / "huggingface")
os.environ["NLPTL_CACHE"] = str(_CACHES / "nlptl")


def pytest_unconfigure() -> None:
    if _OWNS_CACHES:
        shutil.rmtree(_CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state; only what is already imported has one."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
