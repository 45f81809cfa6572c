"""A card tells what a bundle is, its code runs, and no text of others breaks it."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptl import Frozen, Learner, LoRA, Sentiment
from nlptl.bundle import card, manifest, usage
from nlptl.bundle.manifest import Base, Manifest
from nlptl.bundle.markdown import literal, shown
from nlptl.bundle.usage import Facts
from tests.kit.cards import blocks, check, page_of, run
from tests.kit.cells import PLAIN, SOME, Cell, fitted, quick
from tests.kit.checkpoints import tiny_checkpoint
from tests.kit.rows import TEXTS, rows
from tests.kit.shelf import tiny

HOSTILE = [
    "</table><script>alert(1)</script>", "---", '"', "'", "a\nb", "| x |", "```", "{{ config }}", "[a](javascript:b)",
    "# h", "&lt;", "😀", "\u202eevil", "\ud800", "a" * 5000, "", " ", "`x`", "www.example.org", "@user", "\\", "${x}",
    "- a", "1. a", "<!--", "\x00", "\x85", "\u2028", "true", "null", "0x10", "!!python/object:os.system", "*a", "%YAML",
]  # fmt: skip
ANY = st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE))


# ----------------------------------------------------------------------------------------------- the code runs


@pytest.mark.parametrize("cell", SOME, ids=str)
def test_the_code_of_a_card_says_what_the_learner_says(cell: Cell, tmp_path: Path):
    learner, (inputs, _) = fitted(cell), rows(cell.task)
    folder = learner.save(tmp_path / "bundle")
    places = {usage.FOLDER: str(folder), usage.BASE: str(tiny(cell.family))}
    asked = inputs[:1] if cell.task == "ner" else inputs
    assert check(page_of(folder), learner, asked, places) == (3 if cell.mode == "full" else 2)


SEVERAL = [["a"], ["a", "b"], [], ["b"], ["c", "a"], ["b"], ["c"], ["a", "c"]]
STARS = [1.0, 5.0, 4.5, 1.0, 3.0, 2.0, 4.0, 2.5]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))
MANY = [f"label {n % 4}" for n in range(8)]
#: what a card's code must reckon with besides tasks, modes and families
KINDS = {
    "several labels, lora": ({"mode": quick("lora")}, TEXTS, SEVERAL, {}),
    "several labels, full": ({"mode": quick("full")}, TEXTS, SEVERAL, {}),
    "several labels, frozen": ({"mode": Frozen(head="svm")}, TEXTS, SEVERAL, {}),
    "stars, lora": ({"mode": quick("lora"), "task": Sentiment(scale="stars")}, TEXTS, STARS, {}),
    "stars, full": ({"mode": quick("full"), "task": Sentiment(scale="stars")}, TEXTS, STARS, {}),
    "stars, frozen": ({"mode": Frozen(), "task": Sentiment(scale="stars")}, TEXTS, STARS, {}),
    "pairs, lora": ({"mode": quick("lora")}, PAIRS, MANY, {}),
    "pairs, full": ({"mode": quick("full")}, PAIRS, MANY, {}),
    "more labels than are listed": ({"mode": quick("lora")}, TEXTS, MANY, {"labels": 60}),
    "a forest, the first layer, cls, unit length": (
        {"mode": Frozen(head="forest", layer=1, pooling="cls", normalize=True)}, TEXTS, MANY, {},
    ),
    "max": ({"mode": Frozen(pooling="max")}, TEXTS, MANY, {}),
    "last": ({"mode": Frozen(pooling="last")}, TEXTS, MANY, {}),
    "names that break things": ({"mode": quick("lora")}, TEXTS, (HOSTILE * 8)[:8], {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_a_card_runs_for_other_problems(kind: str, tmp_path: Path, monkeypatch):
    options, inputs, targets, more = KINDS[kind]
    if more:
        monkeypatch.setattr(usage, "LISTED", 3)
    base = tiny_checkpoint("bert", tmp_path / "base")
    path = base / "tokenizer_config.json"  # BERT's own tokenizer tells the types of a pair's tokens
    names = ["input_ids", "token_type_ids", "attention_mask"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": names}))
    learner = Learner(base, compute=PLAIN, **options).fit(inputs, targets)
    folder = learner.save(tmp_path / "bundle")
    page = page_of(folder)
    assert ("json.loads(" in page) is bool(more)
    assert check(page, learner, inputs, {usage.FOLDER: str(folder), usage.BASE: str(base)}) >= 2


@pytest.mark.parametrize("mode", [LoRA(steps=2, bidirectional=True), Frozen(bidirectional=True)])
def test_a_decoder_that_reads_both_ways(mode, tmp_path: Path):
    learner = Learner(tiny("gpt2"), mode=mode, compute=PLAIN).fit(TEXTS, MANY)
    folder = learner.save(tmp_path / "bundle")
    places = {usage.FOLDER: str(folder), usage.BASE: str(tiny("gpt2"))}
    assert check(page_of(folder), learner, TEXTS, places) == 2


# ----------------------------------------------------------------------------------------- what it tells


@cache
def facts_of(cell: Cell, where: str | None = "me/mood", base: str | None = "me/base") -> Facts:
    """The facts of a bundle, without saving it: what a card depends on."""
    known = fitted(cell)._known
    page = Manifest(
        task={"name": cell.task, "options": {}},
        mode={"name": cell.mode, "options": {}},
        labels=known.space.to_dict(),
        kept={"pooling": "mean", "normalize": False},
        base=Base(base, None, "c" * 40 if base else None, "f" * 64, cell.family),
        seed=0,
        record=fitted(cell).record_.to_dict(),
        history=[],
        versions=manifest.versions(),
    )
    return Facts(page, where, 0, "")


def front(page: str) -> dict:
    """The YAML in front of a card, as the Hub finds it."""
    found = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))", page)
    assert found
    return yaml.safe_load(found[2])


def body(page: str) -> str:
    return page.partition("\n---\n")[2]


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path):
    learner = Cell("sentiment", "lora", "bert").learner().fit(TEXTS, rows("sentiment")[1])
    report = learner.evaluate(TEXTS, rows("sentiment")[1])
    page = page_of(learner.save(tmp_path / "bundle"))
    said = front(page)
    assert said["library_name"] == "nlptl" and said["pipeline_tag"] == "text-classification"
    assert {"nlptl", "sentiment", "lora", "peft"} <= set(said["tags"]) and "language" not in said
    assert "license" not in said and "base_model" not in said and "datasets" not in said
    results = said["model-index"][0]["results"][0]["metrics"]
    score = next(m for m in results if m["name"] == "accuracy")
    assert score["value"] == pytest.approx(report["accuracy"], abs=1e-6) and score["type"] == "accuracy"
    assert score["args"]["interval"] == [report.metrics["accuracy"].low, report.metrics["accuracy"].high]
    assert said["metrics"] == sorted({m["type"] for m in results})
    assert f"| accuracy | {report['accuracy']:.4f} | {report.metrics['accuracy'].low:.4f} … " in page
    # A loaded learner tells the same; a score alone is no evaluation.
    again = Learner.load(tmp_path / "bundle")
    again.score(TEXTS[:2], rows("sentiment")[1][:2])
    assert page_of(again.save(tmp_path / "again")) == page


def test_scores_of_the_held_out_rows_are_told_where_there_are_no_others(tmp_path: Path):
    inputs, targets = rows("sentiment")
    learner = Cell("sentiment", "full", "bert").learner().fit(inputs[:6], targets[:6], eval=(inputs[6:], targets[6:]))
    page = page_of(learner.save(tmp_path / "bundle"))
    assert "On the rows held out of training, after its last epoch, without intervals." in page
    assert "| accuracy |" in page and "model-index" not in front(page)


@pytest.mark.parametrize("mode", ["frozen", "full", "lora"])
@pytest.mark.parametrize("task", ["classification", "ner"])
def test_a_base_of_the_hub_is_named(task, mode):
    page = card.page(facts_of(Cell(task, mode, "bert")))
    assert front(page)["base_model"] == "me/base"
    assert front(page).get("base_model_relation") == {"full": "finetune", "lora": "adapter"}.get(mode)
    assert front(page)["pipeline_tag"] == ("token-classification" if task == "ner" else "text-classification")
    assert usage.BASE not in page and "me/mood" in page and "c" * 40 in page


def test_data_sets_are_named_where_they_are_of_the_hub():
    facts = facts_of(Cell("sentiment", "lora", "bert"))
    for source, named in {"me/reviews": ["me/reviews"], "reviews.csv": None, "a/b/c": None, "X": None}.items():
        record = {**facts.manifest.record, "data": {"train": source, "rows": 3}}
        page = card.page(replace(facts, manifest=replace(facts.manifest, record=record)))
        assert front(page).get("datasets") == named


def test_a_tagger_that_only_nlptl_opens_says_so():
    facts = facts_of(Cell("ner", "lora", "bert"))
    record = {**facts.manifest.record, "notes": ["transformers has no class: such a model opens only in nlptl"]}
    page = card.page(replace(facts, manifest=replace(facts.manifest, record=record)))
    assert len(blocks(page)) == 1 and "it opens in nlptl alone" in page


# ------------------------------------------------------------------------------------------ what cannot break it


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(ANY, min_size=2, max_size=5, unique=True),
    source=ANY,
    note=ANY,
    where=st.sampled_from([None, "me/mood"]),
    mode=st.sampled_from(["frozen", "full", "lora"]),
)
def test_no_text_of_others_breaks_the_page(labels, source, note, where, mode):
    facts = facts_of(Cell("sentiment", mode, "bert"), where)
    space = {**facts.manifest.labels, "names": labels, "values": labels}
    evaluation = {
        "source": source,
        "rows": 3,
        "level": 0.95,
        "metrics": {"accuracy": {"value": 1, "low": 1, "high": 1}},
    }
    record = {
        "data": {"train": source, "rows": 3, "eval": source, "eval_rows": 1, "inputs": note},
        "choices": {note: note, "window": note}, "counts": {note: 1}, "training": {"seconds": 1.0, note: note},
        "notes": [note], "evaluation": evaluation,
    }  # fmt: skip
    options = {"bidirectional": False, "class_weight": {label: 1 for label in labels}}
    page = card.page(
        replace(
            facts,
            manifest=replace(
                facts.manifest, labels=space, record=record, mode={"name": mode, "options": options},
                versions={note: note},
            ),
        )
    )  # fmt: skip
    page.encode("utf-8")
    said, text = front(page), body(page)
    assert said["library_name"] == "nlptl"
    assert said["model-index"][0]["results"][0]["dataset"]["name"] == card._one_line(source or "rows of its own")
    assert "<" not in text
    # Nothing but our own headings, tables and fences stands at the start of a line, and a table keeps its columns.
    outside = re.sub(r"```python\n.*?\n```", "", text, flags=re.S)
    assert "```" not in outside and "](" not in outside and "{{" not in text and "javascript:" not in outside
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert [h for h in headings if h.startswith("## ")] == [
        f"## {name}" for name in ("Labels", "Use it", "Data", "Scores", "Training", "Limits", "Versions")
    ]
    rows_ = [line for line in outside.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows_}) <= 3
    assert sum(line.count("|") == 3 for line in rows_) >= len(labels)
    for source_code in blocks(page):
        names = next((line for line in source_code.splitlines() if line.startswith("names = ")), None)
        if names is not None:
            assert eval(names.removeprefix("names = ")) == labels
        compile(source_code, "card", "exec")


@given(ANY)
def test_what_is_shown_is_what_was_given(text):
    page = shown(text, limit=10_000)
    plain = html.unescape(page)
    line = " ".join(text.split())
    if line and line.isprintable():
        assert plain == line
    assert "\n" not in page and page


LEAVES = ANY | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()


@given(st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(ANY, LEAVES, max_size=3)))
def test_a_literal_is_the_value(value):
    source = literal(value)
    assert eval(source) == value
    assert "\n" not in source and "<" not in source and "`" not in source


def test_a_page_stays_a_page(tmp_path: Path):
    labels = [f"label {n}" for n in range(500)]
    facts = facts_of(Cell("sentiment", "lora", "bert"))
    space = {**facts.manifest.labels, "names": labels, "values": labels}
    page = card.page(replace(facts, manifest=replace(facts.manifest, labels=space)))
    assert len(page) < 12_000 and "… and 440 more, all of them in nlptl.json" in page and "json.loads(" in page


def test_the_run_of_a_block_would_show_a_difference(tmp_path: Path):
    """The check above can fail: another learner's card is not this learner's."""
    one, other = Cell("sentiment", "lora", "bert"), Cell("sentiment", "full", "bert")
    folder = fitted(other).save(tmp_path / "bundle")
    with pytest.raises(AssertionError):
        check(page_of(folder), fitted(one), TEXTS, {usage.FOLDER: str(folder)})
    assert np.isfinite(run(blocks(page_of(folder))[-1], TEXTS, {usage.FOLDER: str(folder)})["logits"].numpy()).all()
