"""The README's Python runs as it stands, on tiny checkpoints and a few rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kit.checkpoints import tiny_checkpoint

README = Path(__file__).parents[2] / "README.md"
CHECKPOINTS = {
    "bert-base-uncased": "bert",
    "gpt2": "gpt2",
    "roberta-base": "roberta",
    "distilbert-base-uncased": "distilbert",
}


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def rows(path: Path, labels: tuple[Any, ...]) -> Path:
    texts = ("a good day", "a bad night", "the train was late", "we had a lovely time")
    lines = [{"text": f"{text} {n}", "label": labels[n % len(labels)]} for n, text in enumerate(texts * 6)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the block names."""
    monkeypatch.chdir(tmp_path)
    mood = rows(tmp_path / "reviews.jsonl", ("positive", "negative")).read_text(encoding="utf-8").splitlines()
    table = "text,label\n" + "".join("{text},{label}\n".format(**json.loads(line)) for line in mood)
    (tmp_path / "reviews.csv").write_text(table)
    (tmp_path / "dev.csv").write_text("text,label\nquite a good book,positive\nan awful book,negative\n")
    rows(tmp_path / "test.jsonl", ("positive", "negative"))
    stars = [json.loads(line) for line in rows(tmp_path / "s.jsonl", (1.5, 4.0, 3.5)).read_text().splitlines()]
    (tmp_path / "stars.csv").write_text("text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in stars))
    return tmp_path


@pytest.mark.filterwarnings("ignore::nlptl.NlptlWarning")
def test_the_python_of_the_readme_runs(here: Path):
    block = "\n".join(python_blocks())
    for name, family in CHECKPOINTS.items():
        assert f'"{name}"' in block
        folder = tiny_checkpoint(family, here / family)
        block = block.replace(f'"{name}"', repr(str(folder)))
    words = {
        "texts": ["where is my parcel", "give me my money back"] * 8,
        "labels": ["delivery", "refund"] * 8,
        "sentences": [["Ada", "left", "London"], ["Bo", "is", "here"]] * 8,
        "tags": [["B-person", "O", "B-location"], ["B-person", "O", "O"]] * 8,
    }
    exec(compile(block, str(README), "exec"), words)
    assert words["people"].predict(["Ada Lovelace left London."]) is not None
    assert all((here / "runs" / name / "nlptl.json").is_file() for name in ("people", "whole"))
