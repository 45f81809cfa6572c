"""Learn from rows, save what was learnt, and say how good it is."""

from __future__ import annotations

import argparse
import json
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nlptl import recipe
from nlptl.cli._arguments import add_columns, columns_of
from nlptl.cli._terminal import note
from nlptl.recipe import GENERAL, Entry, Recipe, is_main, tell

if TYPE_CHECKING:
    from nlptl.data.examples import Examples
    from nlptl.learner import Learner
    from nlptl.report import Report

HELP = "learn from rows, save what was learnt, and say how good it is"
EXAMPLES = """\
  nlptl fit                                        the bundled data, to see it work
  nlptl fit recipe.yaml --mode.rank 16             a recipe, one option changed
  nlptl fit --task sentiment --mode lora --backbone DIR --train train.csv --eval dev.csv --out runs/mood
  nlptl fit --mode frozen --train train.csv --eval 0.1 --columns text=review label=stars

every option of a task, a mode and of compute is a flag: --task.scale stars, --mode.rank 16, --compute.precision fp32
nlptl options lists them all; a recipe is YAML with the words above; flags win over it
paths are taken from where you are

the folder of the run: model/ (what predict and evaluate take), checkpoints/, record.json, report.json"""

#: Something to try once a learner stands.
TO_TRY = {
    "classification": "The pipe under the kitchen sink has been dripping since Monday.",
    "sentiment": "Not the disaster I had feared.",
    "ner": "Ada Lovelace left London for Paris.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", metavar="recipe.yaml", help="a recipe; flags alone do as well")
    for name, option in GENERAL.items():
        flag, told = f"--{name.replace('_', '-')}", option.help.partition("; with options")[0]
        if option.kind is bool:
            parser.add_argument(flag, action="store_const", const="true", help=told)
        elif name == "columns":
            add_columns(parser, told)
        elif name == "labels":
            parser.add_argument(flag, nargs="+", metavar="LABEL", help=f"{told}; numbers as '[1, 2]'")
        elif name != "compute":
            parser.add_argument(flag, metavar=name.upper(), help=told)


def run(given: argparse.Namespace) -> None:
    chosen = recipe.read(given.recipe, _flags(given), given.faults)
    out = _folder(chosen)
    for line in chosen.notes:
        note(line)
    note(f"{chosen.task.name}, mode {chosen.mode.name}, {chosen.backbone}")
    learner = chosen.learner().fit(
        chosen.train,
        eval=chosen.eval,
        columns=chosen.columns,
        labels=chosen.labels,
        run_dir=out if chosen.moves_weights else None,
        resume=chosen.resume,
    )
    model = learner.save(out / "model")
    _write(out / "record.json", learner.record_.to_dict())
    tell(replace(learner.record_, notes=[]), "")  # the notes were told one by one
    report = _report(learner, chosen)
    if report is not None:
        _write(out / "report.json", report.to_dict())
        learner.save(model)  # once more: the card tells how good it is
        tell(report, "")
    tell(f"saved in {model}; now try", f"  {_next_step(learner, chosen, model)}")


def _flags(given: argparse.Namespace) -> dict[str, Entry]:
    flags: dict[str, Entry] = {**given.dotted, **columns_of(given.columns, given.faults)}
    for name in GENERAL:
        value = getattr(given, name, None)
        if value is None or name == "columns":
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "labels" and not (len(value) == 1 and value[0].startswith("[")):
            flags[name] = Entry(value, flag)  # words, as a CSV has them
        else:
            flags[name] = Entry(value[0] if name == "labels" else value, flag, is_text=True)
    return flags


def _folder(chosen: Recipe) -> Path:
    """The folder of the run: made before anything is trained that could not be saved in it."""
    from nlptl.bundle.storage import check_place

    out = Path(chosen.out).expanduser()
    if is_main():
        check_place(out / "model")
    return out


def _report(learner: Learner, chosen: Recipe) -> Report | None:
    if chosen.eval is None:
        return None
    if not isinstance(chosen.eval, float):
        return learner.evaluate(chosen.eval, columns=chosen.columns)
    X, y = _held_out(chosen)
    return learner.evaluate(X, y)


def _held_out(chosen: Recipe) -> tuple[Any, Any]:
    """The rows that fit held out: the same seed draws the same ones."""
    import numpy as np

    from nlptl.errors import NlptlWarning
    from nlptl.report import Record
    from nlptl.rows import gather

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NlptlWarning)  # all was said when fit drew them
        rows = gather(
            chosen.task, chosen.train, None, eval=chosen.eval, columns=chosen.columns, labels=chosen.labels,
            sample_weight=None, seed=chosen.seed, record=Record(),
        )  # fmt: skip
    held = cast("Examples", rows.held)  # a fraction always holds some out
    return held.inputs, np.array(held.targets) if held.target_form == "indicator" else held.targets


def _write(path: Path, content: Mapping[str, Any]) -> None:
    if is_main():
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _next_step(learner: Learner, chosen: Recipe, model: Path) -> str:
    pairs = "text_pair" in learner.record_["data"].get("columns", {})
    if pairs or chosen.task.name not in TO_TRY:
        return f"nlptl predict {shlex.quote(str(model))} --input FILE --output predictions.jsonl"
    return f"nlptl predict {shlex.quote(str(model))} {shlex.quote(TO_TRY[chosen.task.name])}"
