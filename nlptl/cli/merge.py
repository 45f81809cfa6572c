"""An adapter folded into its base."""

from __future__ import annotations

import argparse

from nlptl.cli._arguments import add_base, bundle_folder, refuse_dotted
from nlptl.errors import OptionError
from nlptl.recipe import tell

HELP = "fold a LoRA adapter into its base: a plain full model that everybody's tools open"
EXAMPLES = """\
  nlptl merge runs/mood runs/mood-merged"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_base(parser)
    parser.add_argument("out", metavar="OUT", help="the new folder")


def run(given: argparse.Namespace) -> None:
    refuse_dotted(given.dotted, given.faults, "nlptl merge")
    given.faults.raise_if_any(OptionError)
    from nlptl.learner import Learner

    learner = Learner.load(
        bundle_folder(given.folder),
        revision=given.revision,
        backbone=given.backbone,
        allow_base_drift=given.allow_base_drift,
        trust_remote_code=given.trust_remote_code,
    )
    tell(f"merged into {learner.merge().save(given.out)}")
