"""Metrics on rows whose answers are known."""

from __future__ import annotations

import argparse
import json

from nlptl.cli._arguments import add_bundle, add_columns, open_bundle
from nlptl.recipe import tell

HELP = "metrics with their intervals, on rows whose answers are known"
EXAMPLES = """\
  nlptl evaluate runs/mood test.csv
  nlptl evaluate runs/mood test.csv --columns text=review label=stars --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("file", metavar="FILE", help="rows with targets: a file, a saved dataset, or a Hub dataset id")
    add_columns(parser, "which column is what, as text=review label=stars")


def run(given: argparse.Namespace) -> None:
    learner, columns = open_bundle(given)
    report = learner.evaluate(given.file, columns=columns or None)
    tell(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if given.json else report)
