"""A saved learner onto the Hub."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from nlptl.cli._arguments import bundle_folder
from nlptl.recipe import tell

HELP = "put a saved learner on the Hub, in one commit"
EXAMPLES = """\
  nlptl push runs/mood me/mood
  nlptl push runs/mood me/mood --private --tag v1
  nlptl push runs/mood me/mood --base-model user/base     the base's Hub id, where it was opened from a folder

log in first: hf auth login; what is there already is not pushed again"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="what nlptl fit or Learner.save wrote")
    parser.add_argument("repo", metavar="USER/NAME", help="the repository; made where it is not there")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--private", action="store_const", const=True, help="a new repository is seen by you alone")
    shown.add_argument("--public", dest="private", action="store_const", const=False, help="a new one is seen by all")
    parser.add_argument("--revision", metavar="BRANCH", help="the branch; made where it is not there")
    parser.add_argument("--tag", metavar="TAG", help="put on the commit")
    parser.add_argument("--create-pr", action="store_true", help="offer it as a pull request")
    parser.add_argument("--base-model", metavar="USER/NAME", help="the Hub id of a base that was opened from a folder")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(given: argparse.Namespace) -> None:
    from nlptl.bundle.push import PushOptions, push
    from nlptl.errors import OptionError

    for entry in given.dotted.values():
        given.faults.add(f"{entry.place}", "no such flag here", "leave it out", entry.place)
    given.faults.raise_if_any(OptionError)
    options = PushOptions(given.private, given.revision, given.tag, given.create_pr, given.base_model)
    done = push(bundle_folder(given.folder), given.repo, options)
    tell(json.dumps(asdict(done), ensure_ascii=False) if given.json else done)
