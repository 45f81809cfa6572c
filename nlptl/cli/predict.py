"""Labels, numbers or entities for new texts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptl._version import __version__
from nlptl.cli._arguments import add_bundle, add_columns, bundle_folder, open_bundle
from nlptl.cli._terminal import note
from nlptl.recipe import tell

if TYPE_CHECKING:
    from nlptl.engine.runtime import Runtime
    from nlptl.learner import Learner
    from nlptl.streams import Answer

HELP = "labels, numbers or entities for new texts"
EXAMPLES = """\
  nlptl predict runs/mood "Not bad at all." "Never again."
  nlptl predict runs/mood --input new.csv --columns text=review --output predictions.jsonl
  nlptl predict runs/mood --input new.csv --columns text=review --output predictions.jsonl --resume
  nlptl predict runs/people "Ada Lovelace left London." --json

pairs of texts, and sentences that are words already, are read from a file; a file of any length takes the memory of a
few thousand rows"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="texts; after -- where one begins with a dash")
    parser.add_argument("--input", metavar="FILE", help="a file of rows instead (.txt: one text a line)")
    parser.add_argument("--output", metavar="FILE", help="write JSON lines there instead of to the terminal")
    parser.add_argument("--resume", action="store_true", help="go on with an --output that was not finished")
    parser.add_argument(
        "--chunk-rows", metavar="N", type=int, help="rows that are batched, and then written, together (4096)"
    )
    add_columns(parser, "which column of the file is what, as text=review")


def run(given: argparse.Namespace) -> None:
    if bool(given.text) == bool(given.input):
        given.faults.add(
            "texts and --input" if given.text else "neither texts nor --input", "one of the two",
            'write nlptl predict FOLDER "a text", or nlptl predict FOLDER --input FILE', "nlptl predict",
        )  # fmt: skip
    if given.columns and not given.input:
        given.faults.add("--columns without --input", "both", "leave it out: bare texts have no columns", "--columns")
    if given.resume and not (given.input and given.output):
        given.faults.add(
            "--resume without --input and --output", "all three", "leave it out: there is nothing to go on with",
            "--resume",
        )  # fmt: skip
    learner, columns = open_bundle(given)
    if given.output:
        _into_file(given, learner, columns)
        return
    for row in rows_of(learner, _stream(given, learner, columns)):
        tell(_as_json(row) if given.json else as_text(row))


def rows_of(learner: Learner, answers: Iterable[Answer]) -> Iterator[dict[str, Any]]:
    """One JSON-safe row an answer: what was given, what is predicted, and how sure that is."""
    words = learner.task.level == "token"
    values = learner.classes_.tolist() if hasattr(learner, "classes_") else []
    names = [str(value) for value in values]
    for given, predicted, chances in answers:
        row = _given(given)
        if words:
            tagged = [e._asdict() for e in predicted] if isinstance(given, str) else list(predicted)
            row["entities" if isinstance(given, str) else "tags"] = tagged
        elif chances is None:
            row["stars"] = predicted
        else:
            several = isinstance(predicted, list) or hasattr(predicted, "nonzero")
            row |= {"labels": _several(predicted, values)} if several else {"label": predicted}
            row["probabilities"] = dict(zip(names, chances.tolist(), strict=True))
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


def _stream(given: argparse.Namespace, learner: Learner, columns: dict[str, Any], start: int = 0) -> Iterator[Answer]:
    size = {} if given.chunk_rows is None else {"chunk_rows": given.chunk_rows}
    if given.text:
        return learner.stream(given.text, **size)
    # Gone through first: a fault in the last row is told now, and not after hours.
    return learner.stream(given.input, columns=columns or None, start=start, check=True, **size)


def _into_file(given: argparse.Namespace, learner: Learner, columns: dict[str, Any]) -> None:
    from nlptl.cli._unfinished import Unfinished
    from nlptl.engine.runtime import Runtime
    from nlptl.streams import CHUNK_ROWS

    runtime = Runtime(learner.compute)
    every = given.chunk_rows or CHUNK_ROWS
    aside = None
    if runtime.is_main:
        aside = Unfinished(Path(given.output).expanduser(), _run(given, columns, every, runtime), given.resume)
        if aside.rows:
            note(f"going on after the {aside.rows} rows that are there")
    # Every process works on every part, so all must begin at the same row.
    (start,) = runtime.merge([] if aside is None else [(0, aside.rows)])
    rows = rows_of(learner, _stream(given, learner, columns, start))
    if aside is None:
        for _ in rows:
            pass
        return
    try:
        number = aside.write((_as_json(row) for row in rows), every)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped: {aside.rows} rows are in {aside.part}; the same command with --resume goes on from there"
        ) from None
    tell(f"{number} rows written to {given.output}")


def _run(given: argparse.Namespace, columns: dict[str, Any], every: int, runtime: Runtime) -> dict[str, Any]:
    """What every bit of the results depends on."""
    from nlptl.bundle.manifest import NAME
    from nlptl.cli._unfinished import digest

    bundle = bundle_folder(given.folder) / NAME
    how = runtime.describe()
    return {
        "nlptl": __version__,
        "bundle": digest(str(bundle)) if bundle.is_file() else str(given.folder),
        "input": digest(given.input or json.dumps(given.text)),
        "columns": columns,
        "chunk_rows": every,
        **{name: how[name] for name in ("device", "precision", "threads", "batch_tokens")},
    }


def _given(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        return {"text": given}
    return {"tokens": list(given)} if isinstance(given, list) else {"text": given[0], "text_pair": given[1]}


def _several(predicted: Any, values: Sequence[Any]) -> list[Any]:
    """Labels by name, also where targets were columns of 0/1."""
    if hasattr(predicted, "nonzero"):
        return [values[k] for k in predicted.nonzero()[0]]
    return list(predicted)


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)
