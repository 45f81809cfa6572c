"""The bundled sets: text written for nlptl and given to the public domain."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Task = Literal["classification", "sentiment", "ner"]
Split = Literal["train", "test"]


def path(task: Task, split: Split = "train") -> Path:
    """The JSON Lines file of a task: ``text`` and ``label``, or ``text`` and ``spans`` for NER."""
    file = Path(__file__).with_name(f"{task}.{split}.jsonl")
    if not file.is_file():
        from nlptl.errors import Fault, OptionError, did_you_mean, listing

        known = sorted(f.name.removesuffix(".jsonl") for f in file.parent.glob("*.jsonl"))
        hint = did_you_mean(f"{task}.{split}", known)
        raise OptionError(
            Fault(f"the bundled set '{task}.{split}'", f"one of {listing(known)}", f"name one of these.{hint}")
        )
    return file
