#!/usr/bin/env python
"""Memory and speed over a long file: nlptl's streams beside transformers.pipeline, each in a process of its own.

    scripts/memory.py                                   a tiny random model made in place: what the way around it costs
    scripts/memory.py --backbone DIR --rows 2000 20000  a real checkpoint, on fewer rows
    scripts/memory.py --only nlptl-predict              one side alone; --json FILE keeps the figures

A file of the larger number of rows is made, of 3 to 30 words each, and gone through once. Printed are the resident
memory (MiB) when so many rows had passed, and the rows a second between the first part and the last. Nothing is set on
either side but the pipeline's batch_size=32.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TEXT = """the a this that film movie plot story acting scene camera music was is felt seemed looked good great fine
dull poor awful lovely slow clever and but so very quite not never always i we they she he loved liked hated left saw"""
WORDS = TEXT.split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make_rows(path: Path, number: int) -> None:
    """A CSV file of that many texts, the same ones every time."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file).writerow
        write(["text"])
        for _ in range(number):
            write([" ".join(draw.choices(WORDS, k=draw.randint(3, 30)))])


def make_checkpoint(folder: Path) -> Path:
    """A random BERT of two layers and width 32, whose forward costs next to nothing."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *dict.fromkeys([*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])]
    backend = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=128,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_bundle(backbone: str, folder: Path) -> None:
    """A classifier of two labels, which plain transformers opens as well."""
    from nlptl import FullTuning, Learner

    texts = [f"{a} {b}" for a in WORDS[:4] for b in WORDS[20:24]]
    labels = ["positive", "negative"] * 8
    Learner(backbone, task="classification", mode=FullTuning(steps=1)).fit(texts, labels).save(folder)


def our_predictions(place: Path, source: Path) -> Iterator[int]:
    from nlptl import Learner
    from nlptl.streams import CHUNK_ROWS

    # By the part: the answers of one come at once, and would blur what each has cost.
    answers = Learner.load(place / "bundle").stream(source)
    while rows := sum(1 for _ in islice(answers, CHUNK_ROWS)):
        yield rows


def our_vectors(place: Path, source: Path) -> Iterator[int]:
    from nlptl import Embedder

    for part in Embedder((place / "backbone").read_text(encoding="utf-8")).stream(source):
        yield len(part)


def their_predictions(place: Path, source: Path) -> Iterator[int]:
    from transformers import pipeline

    def texts() -> Iterator[str]:
        with source.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["text"]

    for _ in pipeline("text-classification", model=str(place / "bundle"))(texts(), batch_size=32):
        yield 1


SIDES: dict[str, Callable[[Path, Path], Iterator[int]]] = {
    "nlptl-predict": our_predictions,
    "nlptl-embed": our_vectors,
    "transformers.pipeline": their_predictions,
}


def resident() -> float:
    """Resident memory of this process in MiB; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(side: str, place: Path, marks: list[int]) -> dict[str, Any]:
    """Go through the file, and look at the memory at each mark."""
    seen: dict[str, float] = {}
    passed = early = 0
    started = time.perf_counter()
    for rows in SIDES[side](place, place / "rows.csv"):
        if not early:  # what is loaded and made ready once is no part of the speed
            early, started = rows, time.perf_counter()
        before, passed = passed, passed + rows
        for mark in marks:
            if before < mark <= passed:
                seen[str(mark)] = round(resident(), 1)
    seconds = time.perf_counter() - started
    return {"side": side, "resident_mib": seen, "rows_a_second": round((passed - early) / seconds, 1)}


def table(found: list[dict[str, Any]], marks: list[int]) -> str:
    head = " | ".join(f"MiB after {mark:,} rows" for mark in marks)
    lines = [f"| | {head} | growth | rows/s |", f"|---|{'---|' * len(marks)}---|---|"]
    for row in found:
        at = [row["resident_mib"][str(mark)] for mark in marks]
        cells = " | ".join(f"{mib:,.0f}" for mib in at)
        lines.append(f"| {row['side']} | {cells} | {at[-1] / at[0]:.3f}× | {row['rows_a_second']:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000], help="when to look at the memory")
    words.add_argument("--backbone", help="a checkpoint's folder, instead of the tiny random one")
    words.add_argument("--only", nargs="+", choices=list(SIDES), default=list(SIDES), help="which sides to measure")
    words.add_argument("--json", type=Path, help="where to keep the figures")
    words.add_argument("--measure", nargs=2, metavar=("SIDE", "DIR"), help=argparse.SUPPRESS)
    given = words.parse_args()
    marks = sorted(given.rows)
    if given.measure:
        print(json.dumps(measure(given.measure[0], Path(given.measure[1]), marks)))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_rows(place / "rows.csv", marks[-1])
        backbone = given.backbone or str(make_checkpoint(place / "tiny"))
        (place / "backbone").write_text(backbone, encoding="utf-8")
        make_bundle(backbone, place / "bundle")
        found = []
        for side in given.only:
            again = [sys.executable, __file__, "--rows", *map(str, marks), "--measure", side, folder]
            done = subprocess.run(again, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(found[-1], flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"\n{given.backbone or 'a random BERT of 2 layers, width 32'}, on {machine}\n\n{table(found, marks)}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "found": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
