"""The command line: ``nlptl fit``, ``predict``, ``evaluate``, ``options``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from nlptl import cli
from nlptl._version import __version__
from nlptl.cli import _terminal
from nlptl.cli._arguments import take_dotted, unknown_words
from nlptl.errors import Faults, NlptlError
from nlptl.registry import modules

ABOUT = "Adapt a pretrained BERT- or GPT-style checkpoint to your text: classification, sentiment, named entities."


def parser_of_all() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of its commands by name."""
    parser = argparse.ArgumentParser(prog="nlptl", description=ABOUT, epilog="nlptl COMMAND --help tells the rest.")
    parser.add_argument("--version", action="version", version=f"nlptl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    made = {}
    for module in modules(cli):
        name = module.__name__.rpartition(".")[2]
        made[name] = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(made[name])
        made[name].set_defaults(run=module.run)
    return parser, made


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 where the user is to change something, 130 after Ctrl-C."""
    faults = Faults()
    dotted, plain = take_dotted(sys.argv[1:] if words is None else words, faults)
    parser, commands = parser_of_all()
    given, left = parser.parse_known_args(plain)
    unknown_words(left, commands[given.command], faults)
    given.dotted, given.faults = dotted, faults
    try:
        with _terminal.notes_and_warnings():
            given.run(given)
    except NlptlError as error:
        return _terminal.failed(error)
    except KeyboardInterrupt as error:
        return _terminal.stopped(given.command, str(error))
    except BrokenPipeError:
        # Whoever read has read enough (nlptl predict … | head); Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
