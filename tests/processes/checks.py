"""What several processes must do as one does: run alone for the reference, and under torchrun for the comparison.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/processes/checks.py BACKBONES FOLDER CHECK …

Without a CHECK all are done. Every process writes what it saw to FOLDER/seen-N.json and FOLDER/seen-N.safetensors.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # torchrun starts this file by its path

import torch

from nlptl import Classification, Compute, Frozen, FullTuning, Learner, LoRA

WORDS = ["the", "was", "and", "it", "not", "a", "of", "to", "ada", "bank"]
ROWS = 1001
PLAIN = Compute(device="cpu", precision="fp32", progress=False, cache=False)
#: So little room that batches are cut in parts, of which processes have unequal numbers.
TIGHT = Compute(device="cpu", precision="fp32", progress=False, cache=False, batch_tokens=96)
#: What two runs must share to be the same one: no mask of a process's own, and no step of chance.
SAME: dict[str, Any] = {"steps": 5, "batch_size": 9, "dropout": 0.0}
#: A model without biases: the gradient of a bias of BERT's keys is nought but for rounding, and L1 asks for its sign.
PENALISED = FullTuning(**SAME, clip=None, class_weight="balanced", l1=1e-4, l2=1e-3, max_length=16)
IN_TWOS = FullTuning(**{**SAME, "batch_size": 2}, clip=None)
#: What `accelerate launch --use_fsdp --fsdp_version 2` says, with one setting of its own defaults that nlptl undoes.
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}


def texts(n: int, seed: int = 0) -> tuple[list[str], list[str], list[float]]:
    """Texts of unequal length, some of several windows; three labels of unequal number; a weight a row."""
    draw = random.Random(seed)
    rows = [" ".join(draw.choices(WORDS, k=draw.choice([1, 2, 3, 5, 8, 13, 40]))) for _ in range(n)]
    labels = [draw.choices(["good", "bad", "so so"], weights=[5, 3, 1])[0] for _ in range(n)]
    return rows, labels, [draw.choice([0.5, 1.0, 2.0]) for _ in range(n)]


def sentences(n: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of unequal length with tags; two hold nothing but a word without a token."""
    draw = random.Random(seed)
    rows = [draw.choices(WORDS, k=draw.choice([1, 2, 5, 9, 17])) for _ in range(n)]
    tags = [[draw.choices(["O", "B-place", "B-person"], weights=[6, 2, 1])[0] for _ in row] for row in rows]
    for nothing in (1, 7):
        rows[nothing], tags[nothing] = ["\ufffd"], ["O"]
    return rows, tags


@dataclass
class Seen:
    """What one process saw."""

    backbones: Path
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def learner(self, family: str, task: Any, mode: Any, compute: Compute = TIGHT) -> Learner:
        return Learner(self.backbones / family, task=task, mode=mode, compute=compute)

    def fit(self, name: str, learner: Learner, *rows: Any, **options: Any) -> Learner:
        """Fit, and keep the gradients of all steps, the final weights, the history and what was chosen."""
        with gradients() as steps:
            learner.fit(*rows, **options)
        learning = [(n, p) for n, p in learner._known.fitted.model.named_parameters() if p.requires_grad]  # type: ignore[attr-defined]
        for number, step in enumerate(steps):
            self.tensors[f"{name}.gradient.{number}"] = step
        self.tensors |= {f"{name}.weight.{n}": p.detach().clone() for n, p in learning}
        self.facts[f"{name}.history"] = [
            {key: value for key, value in entry.items() if key != "rows_per_second"} for entry in learner.history_
        ]
        self.facts[f"{name}.choices"] = learner.record_["choices"]
        return learner

    def evaluate(self, name: str, learner: Learner, *rows: Any) -> None:
        """Evaluate, and keep rows, metrics, and how many windows this very process put through the model."""
        fitted: Any = learner._known.fitted
        model = fitted.encoder if hasattr(fitted, "encoder") else fitted.model
        learner.set_params(compute=PLAIN)
        with windows_through(model) as passed:
            report = learner.evaluate(*rows)
        self.facts[f"{name}.rows"] = report.rows
        self.facts[f"{name}.metrics"] = {metric: report[metric] for metric in report.metrics}
        self.facts[f"{name}.windows"] = sum(passed)

    def write(self, rank: int) -> None:
        from safetensors.torch import save_file

        save_file(self.tensors, str(self.folder / f"seen-{rank}.safetensors"))
        (self.folder / f"seen-{rank}.json").write_text(json.dumps(self.facts))


@contextmanager
def gradients() -> Iterator[list[torch.Tensor]]:
    """The gradient that each optimiser step is given, all weights one after another."""
    steps: list[torch.Tensor] = []

    def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        whole = [p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad for p in weights]
        steps.append(torch.cat([g.detach().flatten() for g in whole]).clone())

    from torch.optim.optimizer import register_optimizer_step_pre_hook

    handle = register_optimizer_step_pre_hook(look)
    try:
        yield steps
    finally:
        handle.remove()


@contextmanager
def windows_through(model: Any) -> Iterator[list[int]]:
    """How many windows each forward pass of a model has."""
    passed: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _, args, given: passed.append(len(given["input_ids"])), with_kwargs=True
    )
    try:
        yield passed
    finally:
        handle.remove()


@contextmanager
def asked(environment: dict[str, str]) -> Iterator[None]:
    """As a launcher would have set it."""
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            os.environ.pop(name, None)


def classification(seen: Seen) -> None:
    """Weighted rows and classes, windows, penalties, and parts of a batch; then every row scored once."""
    X, y, weights = texts(45)
    learner = seen.fit("texts", seen.learner("llama", "classification", PENALISED), X, y, sample_weight=weights)
    seen.evaluate("texts", learner, *texts(ROWS, seed=1)[:2])


def tagging(seen: Seen) -> None:
    mode = FullTuning(**SAME, clip=None, class_weight="balanced", max_length=16)
    learner = seen.fit("words", seen.learner("bert", "ner", mode), *sentences(45))
    seen.evaluate("words", learner, *sentences(ROWS, seed=1))


def several_labels(seen: Seen) -> None:
    X, y, _ = texts(20)
    both = [[label, "short"] if len(row) < 20 else [label] for row, label in zip(X, y, strict=True)]
    task = Classification(multi_label=True)
    seen.fit("several", seen.learner("bert", task, FullTuning(**SAME, class_weight="balanced")), X, both)


def small_batches(seen: Seen) -> None:
    """Batches with fewer rows than processes, and one of them without a unit."""
    X, y, _ = texts(5)
    seen.fit("few", seen.learner("bert", "classification", replace(IN_TWOS, l2=1e-3)), X, y)
    seen.fit("few words", seen.learner("bert", "ner", IN_TWOS), *sentences(9))


def weights(seen: Seen) -> None:
    """Several AdamW steps at the rate that the library chooses, clipped; Llama has no biases without a gradient."""
    X, y, _ = texts(45)
    longer = {**SAME, "steps": 12, "clip": 0.05}
    seen.fit("adamw", seen.learner("llama", "classification", FullTuning(**longer)), X, y)
    seen.fit("adamw lora", seen.learner("llama", "classification", LoRA(**longer, rank=4)), X, y)


def early_stopping(seen: Seen) -> None:
    X, y, _ = texts(60)
    mode = FullTuning(
        epochs=8, batch_size=9, learning_rate=0.01, schedule="constant", dropout=0.0, patience=2, monitor="log_loss"
    )
    seen.fit("early", seen.learner("llama", "classification", mode, PLAIN), X, y, eval=0.3)


def frozen(seen: Seen) -> None:
    from sklearn.linear_model import LogisticRegression

    X, y, _ = texts(ROWS)
    learner = seen.learner("bert", "classification", Frozen(head=LogisticRegression(max_iter=300)), PLAIN)
    passed: list[int] = []
    whole = torch.nn.Module.__call__

    def counted(module: Any, *args: Any, **given: Any) -> Any:
        if type(module).__name__ == "BertModel":
            passed.append(len(given["input_ids"]))
        return whole(module, *args, **given)

    torch.nn.Module.__call__ = counted  # the encoder is opened inside fit
    try:
        learner.fit(X, y)
    finally:
        torch.nn.Module.__call__ = whole
    seen.facts["frozen fit.windows"] = sum(passed)
    seen.tensors["frozen.coefficients"] = torch.from_numpy(learner._known.fitted.head.coef_.copy())  # type: ignore[attr-defined]
    seen.evaluate("frozen", learner, *texts(ROWS, seed=1)[:2])
    seen.facts["frozen.predicted"] = learner.predict(texts(ROWS, seed=2)[0]).tolist()


def spread(seen: Seen) -> None:
    """The same runs with the model spread over the processes: unequal parts, penalties, a bundle, a checkpoint."""
    X, y, sample = texts(45)
    with asked(FSDP):
        learner = seen.learner("llama", "classification", PENALISED)
        seen.fit("spread", learner, X, y, sample_weight=sample)
        learner.save(seen.folder / "spread")
        seen.fit("spread words", seen.learner("bert", "ner", IN_TWOS), *sentences(9))
        with asked({"FSDP_ACTIVATION_CHECKPOINTING": "true"}):
            longer = {**SAME, "steps": 12, "clip": 0.05}
            seen.fit("spread lora", seen.learner("llama", "classification", LoRA(**longer, rank=4)), X, y)
    again = Learner.load(seen.folder / "spread")
    again.set_params(compute=TIGHT)
    seen.facts["spread.loaded"] = again.predict(X).tolist()
    seen.facts["spread.predicted"] = learner.predict(X).tolist()


def resumed(seen: Seen) -> None:
    """A run to its end, and one that goes on from the checkpoint in its middle: held by each process, and spread."""
    X, y, _ = texts(20)
    mode = FullTuning(**{**SAME, "steps": 8}, checkpoint_steps=4, checkpoints_kept=2)
    for name, environment in (("whole", {}), ("parts", FSDP)):
        with asked(environment):
            place = seen.folder / name
            straight = seen.learner("llama", "classification", mode).fit(X, y, run_dir=place)
            _alone(lambda place=place: shutil.rmtree(place / "checkpoints" / "step-8"))
            seen.facts[f"resumed {name}.from"] = [path.name for path in (place / "checkpoints").iterdir()]
            with gradients() as steps:
                again = seen.learner("llama", "classification", mode).fit(X, y, run_dir=place, resume=True)
            seen.facts[f"resumed {name}.steps"] = len(steps)
        pairs = zip(_weights(straight), _weights(again), strict=True)
        seen.facts[f"resumed {name}.gap"] = max(float((one - other).abs().max()) for one, other in pairs)


def _alone(work: Callable[[], None]) -> None:
    """Done by the first process, before any goes on."""
    several = torch.distributed.is_initialized()
    if not several or torch.distributed.get_rank() == 0:
        work()
    if several:
        torch.distributed.barrier()


def _weights(learner: Learner) -> list[torch.Tensor]:
    return [p.detach() for p in learner._known.fitted.model.parameters()]  # type: ignore[attr-defined]


def written(seen: Seen) -> None:
    """What this process makes, renames or opens for writing in the folder of a run, and says on stdout."""
    made: list[str] = []
    watching = [True]

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if not watching[0] or event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            return
        path = str(args[0])
        reads = event == "open" and not (isinstance(args[1], str) and set(args[1]) & set("wax+"))
        if path.startswith(str(seen.folder)) and not reads:
            made.append(f"{event} {Path(path).relative_to(seen.folder)}")

    sys.addaudithook(audit)
    X, y, _ = texts(20)
    compute = Compute(device="cpu", precision="fp32", progress=False, trackers=("tensorboard",))
    learner = seen.learner("bert", "classification", FullTuning(steps=2, batch_size=4), compute)
    learner.fit(X, y, run_dir=seen.folder / "run").save(seen.folder / "bundle")
    learner.predict(X)
    watching[0] = False
    seen.facts["written"] = made


CHECKS = (
    classification, tagging, several_labels, small_batches, weights, early_stopping, frozen, spread, resumed, written,
)  # fmt: skip


def measure(backbones: Path, folder: Path, names: Sequence[str] = ()) -> Seen:
    """Some checks, or all of them, in this process's part."""
    seen = Seen(backbones, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words without a token, texts in windows: what they are here for
        for check in CHECKS:
            if not names or check.__name__ in names:
                started = time.perf_counter()
                check(seen)
                seen.facts[f"seconds of {check.__name__}"] = round(time.perf_counter() - started, 2)
    return seen


def main(backbones: str, folder: str, *names: str) -> None:
    seen = measure(Path(backbones), Path(folder), names)
    seen.facts["world"] = torch.distributed.get_world_size()
    seen.facts["rank"] = torch.distributed.get_rank()
    seen.write(torch.distributed.get_rank())
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
