"""What metrics refuse, each with what came, what was expected, and what to do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from nlptl.errors import DataError, OptionError
from nlptl.metrics import scores


@pytest.mark.parametrize(
    ("problem", "gold", "predicted", "options", "error", "parts"),
    [
        (
            "single", ["a", "b"], ["a"], {}, DataError,
            ("1 predictions for 2 gold rows", "one prediction for each row", "predict on exactly the rows"),
        ),
        ("single", [], [], {}, DataError, ("no rows", "at least one row", "give a source")),
        (
            "single", ["a"], ["a"], {"labels": ["a", "b"], "probabilities": [[1.0]]}, DataError,
            ("shape (1, 1)", "shape (1, 2)", "predict_proba"),
        ),
        (
            "single", ["x"], ["a"], {"labels": ["a"], "probabilities": [[1.0]]}, DataError,
            ("'x'", "among 'a'", "drop those rows"),
        ),
        ("multi", [["a"], ["b"]], [[0], [1]], {}, DataError, ("gold of shape", "0 and 1", "0/1 columns")),
        ("multi", [[0, 2]], [[0, 1]], {}, DataError, ("gold of shape", "0 and 1", "0/1 columns")),
        (
            "multi", [[0, 1]], [[0, 1]], {"labels": ["a"]}, DataError,
            ("2 gold columns, 2 predicted columns, 1 labels", "as many columns", "one 0/1 column for each"),
        ),
        ("regression", ["a"], [1.0], {}, DataError, ("not one number a row", "numbers", "one float a row")),
        ("regression", [1.0], [[1.0]], {}, DataError, ("predictions", "numbers", "one float a row")),
        (
            "spans", [["O", "O"]], [["O"]], {}, DataError,
            ("sentence 0", "1 predicted tags for 2 words", "one tag a word", "the same words"),
        ),
        ("spans", [["S-a"]], [["O"]], {}, DataError, ("sentence 0", "'S-a'", "'B-…'", "convert the tags")),
        ("spans", [["O"]], [["O"]], {"probabilities": [[1.0]]}, OptionError, ("'spans'", "none", "leave")),
        ("multy", [[1]], [[1]], {}, OptionError, ("'multy'", "'regression'", "Did you mean 'multi'?")),
    ],
)  # fmt: skip
def test_the_fault_says_what_came_what_was_expected_and_what_to_do(problem, gold, predicted, options, error, parts):
    with pytest.raises(error) as caught:
        scores(problem, gold, predicted, **options)
    for part in parts:
        assert part in str(caught.value)


def test_every_faulty_sentence_is_named_at_once():
    with pytest.raises(DataError) as caught:
        scores("spans", [["O", "O"], ["O"], ["E-a"]], [["O"], ["O"], ["O"]])
    assert len(caught.value.faults) == 2
    assert "sentence 0" in str(caught.value) and "sentence 2" in str(caught.value)


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_any_sequence_will_do(kind):
    assert scores("single", kind(["a", "b"]), kind(["a", "a"]))["accuracy"] == 0.5
    assert scores("regression", kind([1.0, 2.0]), kind([1.0, 2.0]))["mae"] == 0


def test_scores_and_reports_need_nothing_heavy():
    code = (
        "import sys, nlptl.metrics, nlptl.report as r\n"
        "str(r.make_report('single', ['a', 'b'], ['a', 'a'], ['a', 'b']))\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'transformers', 'datasets', 'evaluate', 'pandas'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
