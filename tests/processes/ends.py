"""How several processes end when one of them does, told as JSON: {what: {seconds, codes}} and all that was said.

    python tests/processes/ends.py BACKBONES FOLDER

torchrun's own agent starts each group. They are forked from this process, which has imported everything, so that what
is measured is how long an end takes, and not a start. The first group are three that end well, after some checks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import accelerate  # noqa: F401  what a run imports late is imported here, once for all that are forked
import datasets  # noqa: F401
import sklearn.linear_model  # noqa: F401
import torch
import transformers.models.bert.modeling_bert  # noqa: F401
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from nlptl import Compute, Embedder, FullTuning, Learner
from nlptl.__main__ import main as command
from tests.processes import checks
from tests.processes.checks import PLAIN, texts

BRIEF = FullTuning(steps=50, batch_size=8)


def rank() -> int:
    return int(os.environ["RANK"])


def struck(number: int, how: Callable[[], None]) -> None:
    """Let something happen in the second process when a model is passed through for the so-manieth time."""
    passes = [0]
    whole = torch.nn.Embedding.forward

    def forward(module: Any, ids: torch.Tensor) -> torch.Tensor:
        if module.num_embeddings > 64 or module.padding_idx is not None:
            passes[0] += 1
        if passes[0] == number:
            how()
        return whole(module, ids)

    if rank() == 1:
        torch.nn.Embedding.forward = forward


def lightning() -> None:
    raise RuntimeError("lightning struck")


def in_the_loop(backbones: Path, folder: Path) -> None:
    struck(3, lightning)
    Learner(backbones / "bert", mode=BRIEF, compute=PLAIN).fit(*texts(40)[:2])


def killed_in_the_loop(backbones: Path, folder: Path) -> None:
    struck(3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    Learner(backbones / "bert", mode=BRIEF, compute=PLAIN).fit(*texts(40)[:2])


def in_prediction(backbones: Path, folder: Path) -> None:
    struck(1, lightning)
    Embedder(backbones / "bert", compute=Compute(device="cpu", precision="fp32", batch_tokens=64)).transform(
        texts(40)[0]
    )


def in_reading(backbones: Path, folder: Path) -> None:
    """By the command line, where the first process speaks for all unless another one is alone with its trouble."""
    rows = folder / f"rows-{rank()}.csv"
    if rank() == 0:
        X, y, _ = texts(40)
        rows.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(X, y, strict=True)))
    words = ["fit", "--task", "classification", "--mode", "full", "--mode.steps", "20", "--mode.batch_size", "8"]
    words += ["--train", str(rows), "--backbone", str(backbones / "bert"), "--out", str(folder / "read")]
    sys.exit(command(words))


def in_saving(backbones: Path, folder: Path) -> None:
    """The place is taken, which only the process that saves looks at."""
    learner = Learner(backbones / "bert", mode=FullTuning(steps=1, batch_size=8), compute=PLAIN).fit(*texts(40)[:2])
    place = folder / "taken"
    place.write_text("a file")
    learner.save(place)


ENDS = (in_the_loop, killed_in_the_loop, in_prediction, in_reading, in_saving)


#: For three processes: what depends on their number.
OF_THREE = ("classification", "tagging", "small_batches", "frozen")


def as_a_script(what: Callable[..., None], *given: Any) -> None:
    """One process, ending as the interpreter of a script would: SIGTERM ends it at once, errors are printed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        what(*given)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def start(processes: int, what: Callable[..., None], *given: Any) -> dict[str, Any]:
    """A group of processes; how long they took, and the codes of those that ended badly."""
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=what.__name__, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.1, start_method="fork",
    )  # fmt: skip
    print(f"== {what.__name__}", file=sys.stderr, flush=True)
    started, codes = time.monotonic(), []
    try:
        elastic_launch(config, as_a_script)(what, *given)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
    return {"seconds": round(time.monotonic() - started, 2), "codes": codes}


def main(backbones: str, folder: str) -> None:
    three = Path(folder) / "three"
    three.mkdir()
    told = {"three": start(3, checks.main, backbones, str(three), *OF_THREE)}
    told |= {what.__name__: start(2, what, Path(backbones), Path(folder)) for what in ENDS}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
