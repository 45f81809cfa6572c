"""What goes wrong in one process ends all of them at once, with its message and a code."""

from __future__ import annotations

import json

import pytest

from tests.processes import ends

#: Seconds from the start of two processes to the end of both; alone on a machine it is two or three.
AT_ONCE = 20.0


@pytest.fixture(scope="module")
def ended(groups):
    said = groups[1].said
    told = json.loads(said.splitlines()[-1])
    parts = {part.split("\n", 1)[0]: part for part in said.split("== ")[1:]}
    return {name: (told[name], parts[name]) for name in told if name in parts}


@pytest.mark.parametrize("what", [end.__name__ for end in ends.ENDS])
def test_all_end_within_seconds_and_with_a_code(ended, what):
    told, said = ended[what]
    assert told["seconds"] < AT_ONCE, said
    assert all(told["codes"]) and told["codes"], said


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("in_the_loop", "lightning struck"),
        ("killed_in_the_loop", "received no answer from another"),
        ("in_prediction", "lightning struck"),
        ("in_reading", "nlptl, process 1 of 2: received the path"),
        ("in_saving", "received an error from the main process (BundleError: "),
    ],
)
def test_the_message_of_the_one_that_failed_is_said(ended, what, message):
    assert message in ended[what][1]
