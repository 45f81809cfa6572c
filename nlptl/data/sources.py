"""PLACEHOLDER that will be replaced by the owner of nlptl/data: lists, JSONL and CSV only."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlptl.data.examples import Examples, Origin, Schema
from nlptl.data.spans import Span
from nlptl.errors import DataError


def _form(targets: Any) -> Any:
    if targets is None:
        return "none"
    first = next((t for t in targets if not (isinstance(t, (list, tuple)) and not len(t))), targets[0])
    if isinstance(first, (list, tuple)) and first and isinstance(first[0], (Span, dict, tuple)):
        return "spans"
    if isinstance(first, np.ndarray):
        return "indicator"
    return "lists" if isinstance(first, (list, tuple)) else "scalar"


def read(source: Any, y: Any = None, *, schema: Schema, columns: Any = None, sample_weight: Any = None, targets: str = "required", split: Any = None, name: str = "X") -> Examples:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.suffix == ".csv":
            rows = list(csv.DictReader(path.open(encoding="utf-8")))
        else:
            rows = [json.loads(line) for line in path.open(encoding="utf-8")]
        text = next(c for c in ("text", "tokens", "review") if c in rows[0])
        label = next((c for c in ("label", "ner_tags", "tags", "spans") if c in rows[0]), None)
        inputs = [r[text] for r in rows]
        y = None if label is None or targets == "none" else [r[label] for r in rows]
        if label == "spans" and y is not None:
            y = [[Span(**s) for s in r] for r in y]
        name = path.name
    else:
        inputs = list(source)
    targets_ = None if y is None or targets == "none" else list(y)
    if targets_ is None and targets == "required":
        raise DataError(f"{name}: no targets")
    form = _form(targets_)
    if form == "lists" and schema.level == "token":
        form = "tags"
    weights = None if sample_weight is None else [float(w) for w in sample_weight]
    return Examples(inputs, targets_, weights, Origin(name, list(range(len(inputs)))), target_form=form)


def split(examples: Examples, fraction: float, *, seed: int, stratify: Any) -> tuple[Examples, Examples]:
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    n = max(1, round(fraction * len(examples)))
    return examples.take(order[n:]), examples.take(order[:n])


def shared_rows(train: Examples, held: Examples) -> int:
    known = {str(i) for i in train.inputs}
    return sum(str(i) in known for i in held.inputs)


__all__: Sequence[str] = ["read", "shared_rows", "split"]
