"""Kill -9 at every request of a push: the repository holds the old bundle or the new one, never a mixture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nlptl.bundle import manifest as manifests
from nlptl.bundle.push import PushOptions, push
from tests.kit.cells import Cell, fitted
from tests.kit.hub import Fault, Hub

ROOT = Path(__file__).parents[2]
ID = "tester/mood"

#: Imports take seconds and a push none: one process imports, and each push is a fork of it, killed by its own number.
NURSERY = """
import os, sys, tempfile
from pathlib import Path
from nlptl.bundle.push import PushOptions, push
import huggingface_hub
push(Path(sys.argv[1]), "tester/warm", PushOptions())  # loads all that a push loads
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        # What a former one fetched would let this one skip requests.
        huggingface_hub.constants.HF_HUB_CACHE = tempfile.mkdtemp(dir=os.environ["HF_HOME"])
        push(Path(line.strip()), "tester/mood", PushOptions())
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_old_or_the_new(hub: Hub, tmp_path: Path):
    old = fitted(Cell("sentiment", "full", "bert")).save(tmp_path / "old")
    new = fitted(Cell("sentiment", "lora", "bert")).save(tmp_path / "new")
    push(old, ID, PushOptions())
    repo, first = hub.repos[ID], hub.repos[ID].head()
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(new)], env=hub.environment(tmp_path) | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert nursery.stdin is not None and nursery.stdout is not None
    killed = []
    try:
        assert nursery.stdout.readline() == "ready\n"
        for n in range(40):
            hub.requests.clear()
            hub.lfs.clear()
            hub.held.clear()
            hub.released.clear()
            hub.faults[:] = [Fault("", after=n, hold=True)]
            print(new, file=nursery.stdin, flush=True)
            child = int(nursery.stdout.readline())
            while not hub.held.wait(0.05) and os.path.exists(f"/proc/{child}/fd/0") and hub.faults[0].times:
                pass
            if hub.faults[0].times == 0:
                os.kill(child, signal.SIGKILL)  # while the request waits; the server goes on with it
                killed.append(hub.requests[-1])
            hub.released.set()
            ended = int(nursery.stdout.readline())
            with hub.lock:
                files = repo.head()
            whole = set(files) == {"nlptl.json", *json.loads(files["nlptl.json"])["manifest"]["files"]}
            assert whole and (files == first or "adapter_model.safetensors" in files), (
                killed,
                sorted(files),
                sorted(first),
            )
            if ended == 0:
                break
            if files != first:  # the commit was on its way: put the old one back, and kill the next later
                repo.add({**repo.find("main").files, **first}, None, "refs/heads/main")
                repo.commits[repo.refs["refs/heads/main"]].files = {".gitattributes": b"", **first}
    finally:
        nursery.stdin.close()
        nursery.wait(20)
        nursery.stdout.close()
    assert ended == 0, "no push came to its end"
    for stage in ("preupload", "PUT /lfs", "/commit/"):
        assert any(stage in request for request in killed), (stage, killed)
    folder = tmp_path / "landed"
    folder.mkdir()
    for name, data in repo.head().items():
        (folder / name).write_bytes(data)
    assert manifests.read(folder).mode["name"] == "lora"
