"""The model card: a page for people, written with every bundle; nothing ever reads it back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from nlptl.backbones.sources import is_hub_id
from nlptl.bundle import usage
from nlptl.bundle.files import CARD
from nlptl.bundle.manifest import Manifest
from nlptl.bundle.markdown import shown
from nlptl.bundle.usage import Facts
from nlptl.metrics import PRIMARY, Problem

#: Rows of a table of labels or scores; a page of hundreds is none.
LISTED = 60

MODES = {"frozen": "frozen embeddings with an sklearn head", "full": "full fine-tuning", "lora": "LoRA adapters"}
TAGS = {"frozen": ["sklearn", "skops"], "full": ["transformers", "safetensors"], "lora": ["peft", "lora"]}
RELATION = {"full": "finetune", "lora": "adapter"}
PIPELINES = {"spans": "token-classification"}

#: What the Hub calls the scores of ours that it has a name for, by their ends.
METRICS = {
    "accuracy": "accuracy", "f1": "f1", "precision": "precision", "recall": "recall",
    "matthews": "matthews_correlation", "r2": "r_squared", "mae": "mae", "rmse": "rmse",
    "spearman": "spearmanr", "pearson": "pearsonr",
}  # fmt: skip


def write(folder: Path, manifest: Manifest, where: str | None = None) -> None:
    """Write the card of a bundle into its folder; `where` is the Hub id that it will have."""
    facts = Facts.read(folder, manifest, where)
    (folder / CARD).write_text(page(facts), encoding="utf-8")


def page(facts: Facts) -> str:
    """The card: what the Hub reads in front, and the page below it."""
    parts = [_title(facts), _labels(facts), _use(facts), _data(facts), _scores(facts)]
    parts += [_training(facts), _limits(facts), _versions(facts)]
    return f"---\n{front_matter(facts)}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def front_matter(facts: Facts) -> str:
    """The YAML that the Hub reads; neither language nor licence, which nobody has told us."""
    from huggingface_hub import ModelCardData

    manifest, results = facts.manifest, _results(facts)
    base = manifest.base.id if manifest.base.id and is_hub_id(manifest.base.id) else None
    more: dict[str, Any] = {}
    if base and facts.mode in RELATION:
        more["base_model_relation"] = RELATION[facts.mode]
    if results:
        more |= {"eval_results": results, "model_name": f"{manifest.task['name']}, {facts.mode}"}
    data = ModelCardData(
        library_name="nlptl",
        pipeline_tag=_pipeline(facts),
        base_model=base,
        datasets=sorted({d for d in (_dataset(facts, "train"), _dataset(facts, "eval")) if d}) or None,
        metrics=sorted({result.metric_type for result in results}) or None,
        tags=["nlptl", str(manifest.task["name"]), facts.mode, *TAGS.get(facts.mode, [])],
        **more,
    )
    return str(data.to_yaml())


def evaluation(report: Any) -> dict[str, Any]:
    """What a card tells of an evaluation: the part of a report that goes into the record."""
    full = report.to_dict()
    return {
        "source": full["source"],
        "rows": full["rows"],
        "level": full["bootstrap"]["level"],
        "metrics": full["metrics"],
    }


def _results(facts: Facts) -> list[Any]:
    from huggingface_hub import EvalResult

    found = []
    kept = facts.manifest.record.get("evaluation") or {}
    source = str(kept.get("source") or "rows of its own")
    id = source if _is_dataset(source) else None
    for name, score in _primary_first(facts, kept.get("metrics") or {}):
        kind = METRICS.get(name.rpartition("_")[2])
        if kind is None or score.get("value") is None:
            continue
        found.append(
            EvalResult(
                task_type=_pipeline(facts),
                dataset_type=id or "unpublished",
                dataset_name=_one_line(source),
                metric_type=kind,
                metric_name=name,
                metric_value=round(float(score["value"]), 6),
                metric_args={"rows": kept["rows"], "interval": [score.get("low"), score.get("high")]},
            )
        )
    return found


def _title(facts: Facts) -> str:
    manifest, base = facts.manifest, facts.manifest.base
    named = f"`{base.id}`" if base.id and is_hub_id(base.id) else shown(base.id)
    stands = f"on {named}" if base.id else f"on a {shown(base.model_type)} checkpoint"
    lines = [f"# {shown(str(manifest.task['name'])).capitalize()}: {MODES.get(facts.mode, facts.mode)} {stands}", ""]
    if base.id:
        commit = f" at commit `{shown(base.commit)}`" if base.commit else ""
        lines.append(f"Its base is {named}{commit}; the fingerprint of its weights is `{base.fingerprint}`.")
    elif facts.mode == "full":
        lines.append(
            "The checkpoint it was trained from lay in a folder, so it has no public name here; the fingerprint of its "
            f"weights is `{base.fingerprint}`. It is not needed: all weights are in this model."
        )
    else:
        lines.append(
            "**Its base lay in a folder, so it has no public name here and must be named at load:** "
            f'`Learner.load(…, backbone="{usage.BASE}")`. The fingerprint of its weights is `{base.fingerprint}`; '
            "another base is refused."
        )
    return "\n".join(lines)


def _labels(facts: Facts) -> str:
    space = facts.manifest.labels
    if facts.problem == "regression":
        return f"## Labels\n\nNone: a number a text; in training they went from {space['low']:g} to {space['high']:g}."
    rows = [[str(n), shown(name)] for n, name in enumerate(facts.names)]
    if [str(v) for v in space["values"]] != facts.names:
        rows = [[*row, shown(value)] for row, value in zip(rows, space["values"], strict=True)]
    if space.get("thresholds"):
        rows = [[*row, f"{edge:.4f}"] for row, edge in zip(rows, space["thresholds"], strict=True)]
    header = ["number", "label"]
    header += ["as predicted"] if len(rows[0]) > 2 + bool(space.get("thresholds")) else []
    header += ["threshold"] if space.get("thresholds") else []
    kind = {"multi": "any number of labels a text", "spans": "one tag a word"}.get(facts.problem, "one label a text")
    return f"## Labels\n\n{len(rows)}, {kind}.\n\n{_table(header, rows)}"


def _use(facts: Facts) -> str:
    parts = ["## Use it", "", "With nlptl:", "", _code(usage.own(facts))]
    own_only = any("opens only in nlptl" in str(note) for note in facts.manifest.record.get("notes", ()))
    if own_only:
        return "\n".join([*parts, "", "transformers has no class for this task and base: it opens in nlptl alone."])
    if facts.mode == "full":
        parts += ["", "With transformers' pipeline:", "", _code(usage.pipeline(facts))]
    tools = {"frozen": "skops and transformers", "lora": "peft and transformers"}.get(facts.mode, "transformers")
    return "\n".join([*parts, "", f"With {tools}, without nlptl:", "", _code(usage.plain(facts))])


def _data(facts: Facts) -> str:
    data = facts.manifest.record.get("data", {})
    if not data:
        return ""
    lines = [f"- Trained on {data.get('rows', 0):,} rows {_source(data.get('train'))}."]
    if data.get("eval") is not None:
        lines.append(f"- Watched on {data.get('eval_rows', 0):,} rows {_source(data['eval'])}, held out of training.")
    counts = {name: n for name, n in sorted(facts.manifest.record.get("counts", {}).items()) if n}
    lines += [f"- {shown(name.replace('_', ' '))}: {n:,}" for name, n in counts.items()]
    return "## Data\n\n" + "\n".join(lines)


def _scores(facts: Facts) -> str:
    kept = facts.manifest.record.get("evaluation") or {}
    if kept.get("metrics"):
        rows = [
            [shown(name), _number(s.get("value")), f"{_number(s.get('low'))} … {_number(s.get('high'))}"]
            for name, s in _primary_first(facts, kept["metrics"])
        ][:LISTED]
        said = f"On {kept['rows']:,} rows {_source(kept.get('source'))}, with bootstrap intervals over the rows."
        return f"## Scores\n\n{said}\n\n" + _table(["score", "value", f"{kept['level']:.0%} interval"], rows)
    last = facts.manifest.history[-1] if facts.manifest.history else {}
    watched = {name.removeprefix("eval_"): score for name, score in last.items() if name.startswith("eval_")}
    rows = [[shown(name), _number(score)] for name, score in _primary_first(facts, watched)]
    if rows:
        said = "On the rows held out of training, after its last epoch, without intervals."
        return f"## Scores\n\n{said}\n\n" + _table(["score", "value"], rows)
    return "## Scores\n\nIt was not evaluated before it was saved."


def _training(facts: Facts) -> str:
    record, rows = facts.manifest.record, []
    for section in ("choices", "training"):
        rows += [[shown(k.replace("_", " ")), _cell(v)] for k, v in sorted(record.get(section, {}).items())]
    rows += [[shown(f"mode {k}"), _cell(v)] for k, v in sorted(facts.manifest.mode["options"].items())]
    rows.append(["seed", str(facts.manifest.seed)])
    return "## Training\n\n" + _table(["what", "how"], rows)


def _limits(facts: Facts) -> str:
    window = facts.manifest.record.get("choices", {}).get("window")
    lines = [
        "- What it does on text unlike its training rows is not known.",
        "- It predicts nothing but the labels above, also for texts that none of them fits."
        if facts.problem != "regression"
        else "- It predicts a number for every text, also for one that no number fits.",
    ]
    long = "nlptl reads longer texts in windows; the code without nlptl cuts them"
    if facts.problem == "spans":
        long = (
            "nlptl reads longer sentences in windows and allows legal sequences of tags alone; other code does neither"
        )
    lines.append(f"- {shown(window).capitalize()} at a time: {long}." if window else f"- {long[0].upper()}{long[1:]}.")
    if facts.pairs:
        lines.append(
            "- The second text of a pair has a token type of its own here; not every tokenizer gives it by itself."
        )
    if facts.decoder and facts.problem != "spans" and facts.mode != "frozen":
        lines.append(
            "- Its pad token may be its end-of-text token: transformers reads a text that itself ends in it one token "
            "early, nlptl does not."
        )
    return "## Limits\n\n" + "\n".join(lines)


def _versions(facts: Facts) -> str:
    known = ", ".join(f"{shown(name)} {shown(v)}" for name, v in sorted(facts.manifest.versions.items()))
    return f"## Versions\n\nWritten by {known}." if known else ""


def _primary_first(facts: Facts, scores: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Scores by name, the one that `Learner.score` gives in front: a manifest keeps no order of its own."""
    first = PRIMARY.get(cast("Problem", facts.problem))
    return sorted(scores.items(), key=lambda pair: (pair[0] != first, pair[0]))


def _pipeline(facts: Facts) -> str:
    return PIPELINES.get(facts.problem, "text-classification")


def _source(name: Any) -> str:
    return f"of {shown(name)}" if name not in (None, "", "X", "source", "eval") else "given in Python"


def _dataset(facts: Facts, part: str) -> str | None:
    name = str(facts.manifest.record.get("data", {}).get(part) or "")
    return name if _is_dataset(name) else None


def _is_dataset(name: str) -> bool:
    """Whether rows came from the Hub: files and arguments are recorded without a slash."""
    return "/" in name and is_hub_id(name)


def _one_line(text: str) -> str:
    """A short single line for the front matter, without what YAML or a page could break at."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()[:80] or "rows"


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{k}: {v}" for k, v in value.items())
    return shown(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value, 160)


def _number(value: Any) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows[:LISTED]]
    more = len(rows) - LISTED
    return "\n".join([*lines, *([f"\n… and {more} more, all of them in nlptl.json"] if more > 0 else [])])


def _code(source: str) -> str:
    return f"```python\n{source}\n```"
