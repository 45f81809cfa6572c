#!/usr/bin/env python
"""Speed beside the Trainer, sentence-transformers and transformers' pipeline: one process a measurement, in turns.

    scripts/bench --data DIR --peers DIR                     measure what is missing, print the table
    scripts/bench --data DIR --peers DIR --only full,lora    some of it
    scripts/bench --table --readme                           the table of what was measured, into the README

DIR of the data holds ``movies`` and ``wnut17`` as ``NAME.train.jsonl`` and ``NAME.test.jsonl``; that of the peers
``peer_trainer.py`` and ``peer_embed.py``, each of which prints JSON lines. Both sides get the same checkpoint, rows,
epochs, batch size, rates and dropout; repeat n has seed n on both, so that accuracies can be compared as well. Seconds
are those of the training loop alone (and of the whole process beside it); memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_jobs import RATES, SHORT  # noqa: E402


@dataclass(frozen=True)
class Side:
    """One thing that is measured: a name for the table, and the command that prints its JSON line."""

    name: str
    words: tuple[str, ...]
    script: str = "bench_jobs.py"


@dataclass(frozen=True)
class Line:
    """One line of the table: ours against a peer, and how many times faster it is to be."""

    job: str
    ours: Side
    peer: Side
    asked: float
    figure: str = "rate"


def lines(rows: int) -> Iterator[Line]:
    """The table, by job."""
    best, how = (("--bf16", "--group"), "bf16, by length") if multiplies_bf16() else (("--group",), "fp32, by length")
    for mode, dropout, plain, at_best in (
        ("full", None, 4.0, 1.5),
        ("lora", "0.1", 4.5, 2.0),
        ("lora", "0", None, 1.4),
    ):
        job = f"{mode}, movies" if dropout is None else f"LoRA, dropout {dropout}, movies"
        ours = training("movies", mode, dropout, rows)
        if plain is not None:
            yield Line(job, ours, trainer("movies", mode, dropout, rows), plain)
        yield Line(job, ours, trainer("movies", mode, dropout, rows, *best, how=how), at_best)
    yield Line(
        "LoRA, dropout 0, movies", training("movies", "lora", "0", rows), training("movies", "full", None, rows), 1.0
    )
    yield Line("full, wnut17", training("wnut17", "full", None, rows), trainer("wnut17", "full", None, rows), 3.0)
    for job, long, ratios in (("embed, short texts", (), (3.7, 1.3)), ("embed, long texts", ("--long",), (3.7, 1.2))):
        mine = Side("nlptl", ("embed", *long))
        yield Line(job, mine, embedding("torch", *long), ratios[0])
        for backend in ("torch-bf16", "onnx", "openvino"):
            if installed(backend):
                yield Line(job, mine, embedding(backend, *long), ratios[1])
    yield Line(
        "embed, seen before", Side("nlptl", ("embed", "--seen")), Side("first run", ("embed", "--seen")), 50, "seen"
    )
    yield Line("predict a file", Side("nlptl", ("predict",)), Side("pipeline(batch_size=32)", ("pipeline",)), 4.0)


def training(name: str, mode: str, dropout: str | None, rows: int) -> Side:
    """One of our own runs."""
    return Side(f"nlptl {mode}", ("train", name, mode, dropout or "-", str(rows)))


def trainer(name: str, mode: str, dropout: str | None, rows: int, *more: str, how: str = "as it comes") -> Side:
    """The same with transformers' Trainer."""
    words = ["--set", name, "--mode", mode, "--limit", rows, "--epochs", 1, "--lr", RATES[mode], *more]
    words += [] if dropout is None else ["--lora-dropout", dropout]
    return Side(f"Trainer, {how}", tuple(map(str, words)), "peer_trainer.py")


def embedding(backend: str, *more: str) -> Side:
    """The same with sentence-transformers."""
    return Side(
        f"sentence-transformers, {backend}", ("--backends", backend, "--limit", str(SHORT), *more), "peer_embed.py"
    )


def installed(backend: str) -> bool:
    """Whether sentence-transformers could run on this backend here."""
    from importlib.util import find_spec

    if backend == "torch-bf16":
        return multiplies_bf16()
    needed = {"onnx": ("onnxruntime", "optimum"), "openvino": ("openvino", "optimum")}
    return all(find_spec(name) is not None for name in needed.get(backend, ()))


def multiplies_bf16() -> bool:
    """Whether bf16 is faster than fp32 here."""
    from nlptl import Compute
    from nlptl.engine.runtime import Runtime

    return Runtime(Compute()).precision == "bf16"


def measure(side: Side, repeat: int, data: Path, peers: Path) -> dict[str, Any]:
    """One process, its JSON line, its seconds and its peak of memory."""
    words: list[Any]
    if side.script == "bench_jobs.py":
        words = [ROOT / "scripts" / side.script, "--data", data, "--seed", repeat, *side.words]
    elif side.script == "peer_trainer.py":
        words = [peers / side.script, "--data", data, "--seed", repeat, *side.words]
    else:
        words = [peers / side.script, "--texts", data / "movies.train.jsonl", *side.words]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        running = subprocess.Popen(
            [sys.executable, *map(str, words)], stdout=out, stderr=err, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, used = os.wait4(running.pid, 0)  # its own peak of memory, whoever it is
        running.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        printed, complained = out.read(), err.read()
    if running.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{complained[-2000:]}")
    told = json.loads(next(line for line in reversed(printed.splitlines()) if line.startswith("{")))
    if "error" in told:
        raise SystemExit(f"{side.name}: {told['error']}")
    rate = told.get("rate") or told.get("samples_s") or told["texts_s"]
    score = told.get("score", told.get("eval_accuracy", told.get("eval_f1")))
    kept = {name: value for name, value in told.items() if name.startswith(("share_of", "seen"))}
    return {"rate": rate, "score": score, "wall": round(wall, 1), "megabytes": used.ru_maxrss // 1024, **kept}


def table(results: list[dict[str, Any]], rows: int) -> str:
    """Medians of both sides, and their ratio, line by line."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["side"], []).append(result)
    out = [
        "| job | against | nlptl | peer | ratio | asked | score (nlptl, peer) | memory, MB (nlptl, peer) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines(rows):
        mine, theirs = found.get(key(line.ours), []), found.get(key(line.peer), [])
        if mine and theirs:
            ours, peer = median(mine, line.figure), median(theirs, "rate")
            scores = both([100 * mean(mine, "score"), 100 * mean(theirs, "score")], ".1f")
            memory = both([median(mine, "megabytes"), median(theirs, "megabytes")], ".0f")
            out.append(
                f"| {line.job} | {line.peer.name} | {ours:,.0f}/s | {peer:,.0f}/s | **{ours / peer:.2f}×** | "
                f"{line.asked:g}× | {scores} | {memory} |"
            )
    for kind, long in (("short", ()), ("long", ("--long",))):
        mine = found.get(key(Side("", ("embed", *long))), [])
        if mine:
            shares = [f"{100 * median(mine, f'share_of_{d}'):.0f} % ({d})" for d in ("float32", "bfloat16")]
            out.append(f"\nEmbedding {kind} texts, in percent of the rate of a large product: {', '.join(shares)}.")
    return "\n".join(out)


def both(values: Sequence[float], form: str) -> str:
    """Two figures, or a dash where there are none to compare."""
    return "–" if any(math.isnan(v) for v in values) else ", ".join(format(v, form) for v in values)


def median(results: Sequence[dict[str, Any]], name: str) -> float:
    values = [r[name] for r in results if r.get(name) is not None]
    return statistics.median(values) if values else math.nan


def mean(results: Sequence[dict[str, Any]], name: str) -> float:
    values = [r[name] for r in results if r.get(name) is not None]
    return statistics.mean(values) if values else math.nan


def key(side: Side) -> str:
    return json.dumps([side.script, *side.words])


def machine() -> str:
    """What the figures hold for."""
    cpu = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.is_file() else [platform.processor()]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, help="folder with the JSONL files")
    words.add_argument("--peers", type=Path, help="folder with the peers' scripts")
    words.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "speed.jsonl", help="JSONL that grows")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--rows", type=int, default=2048, help="training rows of each run")
    words.add_argument("--only", default="", help="comma-separated words, one of which a line's job must have")
    words.add_argument("--table", action="store_true", help="print the table and stop")
    words.add_argument("--readme", action="store_true", help="write the table into the README as well")
    given = words.parse_args()
    if not given.table:
        if given.data is None or given.peers is None:
            words.error("--data and --peers are needed to measure; --table prints what was measured")
        collect(given)
    told = (
        f"{table(load(given.results), given.rows)}\n\nTraining on {given.rows} rows, one epoch. Machine: {machine()}."
    )
    print(told)
    if given.readme:
        path = ROOT / "README.md"
        marked = re.compile(r"(<!-- speed -->\n).*?(\n<!-- /speed -->)", re.S)
        path.write_text(marked.sub(lambda m: m[1] + told + m[2], path.read_text(encoding="utf-8")), encoding="utf-8")


def collect(given: argparse.Namespace) -> None:
    """Every measurement that is missing, the sides in turns."""
    only = [word for word in given.only.split(",") if word]
    wanted = [line for line in lines(given.rows) if not only or any(word in line.job for word in only)]
    for repeat in range(given.repeats):
        for side in dict.fromkeys(side for line in wanted for side in (line.ours, line.peer)):
            if any(r["side"] == key(side) and r["repeat"] == repeat for r in load(given.results)):
                continue
            told = {"side": key(side), "repeat": repeat, **measure(side, repeat, given.data, given.peers)}
            print(side.name, *side.words, told, flush=True)
            given.results.parent.mkdir(parents=True, exist_ok=True)
            with given.results.open("a", encoding="utf-8") as out:
                out.write(json.dumps({**told, "machine": machine()}) + "\n")


def load(results: Path) -> list[dict[str, Any]]:
    """What was measured on this machine."""
    if not results.is_file():
        return []
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [result for result in found if result["machine"] == machine()]


if __name__ == "__main__":
    main()
