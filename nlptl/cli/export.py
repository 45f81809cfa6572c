"""A full or merged model for other runtimes."""

from __future__ import annotations

import argparse

from nlptl.cli._arguments import add_base, bundle_folder, refuse_dotted
from nlptl.errors import OptionError
from nlptl.recipe import tell

HELP = "write a full or merged model for another runtime (ONNX), compared with itself"
EXAMPLES = """\
  nlptl export runs/mood/model --to onnx --output runs/mood-onnx
  nlptl merge runs/mood runs/mood-merged && nlptl export runs/mood-merged --output runs/mood-onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_base(parser)
    parser.add_argument("--to", choices=("onnx",), default="onnx", help="the format")
    parser.add_argument("--output", required=True, metavar="DIR", help="the new folder")


def run(given: argparse.Namespace) -> None:
    refuse_dotted(given.dotted, given.faults, "nlptl export")
    given.faults.raise_if_any(OptionError)
    from nlptl.learner import Learner

    learner = Learner.load(
        bundle_folder(given.folder),
        revision=given.revision,
        backbone=given.backbone,
        allow_base_drift=given.allow_base_drift,
        trust_remote_code=given.trust_remote_code,
    )
    tell(f"written to {learner.export(given.output, given.to)}")
