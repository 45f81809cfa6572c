"""Labels, numbers or entities for new texts."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptl.cli._arguments import add_bundle, add_columns, open_bundle
from nlptl.errors import OptionError
from nlptl.recipe import is_main, tell

if TYPE_CHECKING:
    from nlptl.learner import Learner

HELP = "labels, numbers or entities for new texts"
EXAMPLES = """\
  nlptl predict runs/mood "Not bad at all." "Never again."
  nlptl predict runs/mood --input new.csv --columns text=review --output predictions.jsonl
  nlptl predict runs/people "Ada Lovelace left London." --json

pairs of texts, and sentences that are words already, are read from a file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="texts; after -- where one begins with a dash")
    parser.add_argument("--input", metavar="FILE", help="a file of rows instead (.txt: one text a line)")
    parser.add_argument("--output", metavar="FILE", help="write JSON lines there instead of to the terminal")
    add_columns(parser, "which column of the file is what, as text=review")


def run(given: argparse.Namespace) -> None:
    if bool(given.text) == bool(given.input):
        given.faults.add(
            "texts and --input" if given.text else "neither texts nor --input", "one of the two",
            'write nlptl predict FOLDER "a text", or nlptl predict FOLDER --input FILE', "nlptl predict",
        )  # fmt: skip
    if given.columns and not given.input:
        given.faults.add("--columns without --input", "both", "leave it out: bare texts have no columns", "--columns")
    learner, columns = open_bundle(given)
    inputs = given.text or _inputs(learner, given.input, columns)
    rows = answers(learner, inputs)
    if given.output:
        number = _write(Path(given.output).expanduser(), rows)
        tell(f"{number} rows written to {given.output}")
    else:
        for row in rows:
            tell(_as_json(row) if given.json else as_text(row))


def answers(learner: Learner, inputs: Any) -> Iterator[dict[str, Any]]:
    """One JSON-safe row an input: what was given, what is predicted, and how sure that is."""
    # One pass of the model serves labels and probabilities both; the public calls make one each.
    known = learner._known
    prepared, scores = learner._score_rows(inputs)
    numbers = known.task.decode(scores, prepared, known.space)
    predicted = known.task.as_given(numbers, scores, prepared, known.space)
    chances = None
    if known.space.problem in ("single", "multi"):
        chances = known.task.probabilities(scores, prepared, known.space)
    for i, given in enumerate(inputs):
        row = _given(given)
        if known.space.problem == "spans":
            tags = predicted[i]
            row |= {"entities": [e._asdict() for e in tags]} if isinstance(given, str) else {"tags": list(tags)}
        elif chances is None:
            row["stars"] = float(predicted[i])
        else:
            if known.space.problem == "multi":
                row["labels"] = _several(predicted[i], known.space.values)
            else:
                row["label"] = _plain(predicted[i])
            row["probabilities"] = {str(v): float(p) for v, p in zip(known.space.values, chances[i], strict=True)}
        yield row


def as_text(row: dict[str, Any]) -> str:
    """A row for the eye: what is predicted first, then the text."""
    text = " ".join(row["tokens"]) if "tokens" in row else row["text"]
    if "text_pair" in row:
        text = f"{text} | {row['text_pair']}"
    if "entities" in row:
        line = "    {label:<14}{score:.2f}  {text}  [{start}:{end}]"
        return "\n".join([text, *([line.format(**e) for e in row["entities"]] or ["    no entity"])])
    if "tags" in row:
        pairs = zip(row["tokens"], row["tags"], strict=True)
        return " ".join(word if tag == "O" else f"{word}/{tag}" for word, tag in pairs)
    if "stars" in row:
        return f"{row['stars']:.2f}  {text}"
    if "labels" in row:
        said = ", ".join(f"{label} {row['probabilities'][str(label)]:.2f}" for label in row["labels"])
        return f"{said or 'no label'}  {text}"
    return f"{row['label']}  {row['probabilities'][str(row['label'])]:.2f}  {text}"


def _inputs(learner: Learner, file: str, columns: dict[str, Any]) -> Any:
    from nlptl.data.sources import read

    schema = learner.task.schema
    return read(file, schema=schema, columns=columns or None, targets="none", split="test", name="--input").inputs


def _given(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        return {"text": given}
    return {"tokens": list(given)} if isinstance(given, list) else {"text": given[0], "text_pair": given[1]}


def _several(predicted: Any, values: tuple[Any, ...]) -> list[Any]:
    """Labels by name, also where targets were columns of 0/1."""
    if hasattr(predicted, "nonzero"):
        return [values[k] for k in predicted.nonzero()[0]]
    return list(predicted)


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Aside first, so that a file of that name is a whole one."""
    lines = [_as_json(row) + "\n" for row in rows]
    if not is_main():
        return len(lines)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_text("".join(lines), encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OptionError(
            f"--output: received {str(path)!r}, which cannot be written ({error.strerror}); expected a file in a "
            "folder that is there; name another"
        ) from None
    return len(lines)
