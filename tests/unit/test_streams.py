"""Answers and vectors of a stream: those of the whole, in order, wherever it begins and however it ends."""

from __future__ import annotations

import json
import threading
import tracemalloc
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlptl import Answer, Classification, DataError, Embedder, FullTuning, Learner, NotFittedError, OptionError
from tests.kit.cells import PLAIN, Cell, fitted
from tests.kit.rows import SENTENCES, TEXTS, rows
from tests.kit.shelf import tiny

MANY = [f"{text} {n}" for n in range(4) for text in TEXTS]
MOOD = Cell("sentiment", "full", "bert")


def same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


@pytest.mark.parametrize("mode", ["frozen", "full"])
@pytest.mark.parametrize("task", ["classification", "sentiment", "ner"])
def test_a_stream_answers_as_predict_does(task: str, mode: str) -> None:
    learner = fitted(Cell(task, mode, "bert"))
    inputs = rows(task)[0]
    answers = list(learner.stream(iter(inputs)))
    assert [answer.input for answer in answers] == inputs
    assert [answer.prediction for answer in answers] == list(learner.predict(inputs))
    for answer, expected in zip(answers, learner.predict_proba(inputs), strict=True):
        assert same(answer.probabilities, expected)


def test_entities_several_labels_and_numbers() -> None:
    people = fitted(Cell("ner", "full", "bert"))
    assert [answer.prediction for answer in people.stream(SENTENCES)] == people.predict(SENTENCES)
    several = Learner(tiny("bert"), task=Classification(), mode=FullTuning(steps=2, batch_size=4), compute=PLAIN)
    several.fit(TEXTS, [["a"], ["b"], ["a", "b"], []] * 2)
    assert [answer.prediction for answer in several.stream(TEXTS)] == several.predict(TEXTS)
    stars = Learner(tiny("bert"), task="sentiment", mode=FullTuning(steps=2, batch_size=4), compute=PLAIN)
    stars.fit(TEXTS, [1.5, 2, 3, 4.5] * 2)
    answers = list(stars.stream(TEXTS))
    assert [answer.prediction for answer in answers] == stars.predict(TEXTS).tolist()
    assert {answer.probabilities for answer in answers} == {None}


@pytest.mark.parametrize("start", [0, 3, 8, 13, 31, 32, 40])
def test_an_answer_has_the_same_bits_wherever_the_stream_began(start: int) -> None:
    learner = fitted(MOOD)
    whole = list(learner.stream(MANY, chunk_rows=8))
    rest = list(learner.stream(MANY, chunk_rows=8, start=start))
    assert [answer.input for answer in rest] == MANY[start:]
    assert [a.probabilities.tobytes() for a in rest] == [a.probabilities.tobytes() for a in whole[start:]]


def test_columns_are_those_of_fit_and_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"review": text}) for text in TEXTS), encoding="utf-8")
    with caplog.at_level("INFO", logger="nlptl"):
        answers = list(fitted(MOOD).stream(path, chunk_rows=2))
    assert [answer.input for answer in answers] == TEXTS and isinstance(answers[0], Answer)
    assert caplog.messages == ["text taken from column 'review'"]


def test_an_endless_source_is_answered_and_left_without_a_thread() -> None:
    answers = fitted(MOOD).stream((f"text {n}" for n in count()), chunk_rows=4)
    assert [answer.input for answer in islice(answers, 6)] == [f"text {n}" for n in range(6)]
    answers.close()  # type: ignore[attr-defined]
    assert "nlptl-ahead" not in {thread.name for thread in threading.enumerate()}


def test_a_fault_comes_after_the_answers_before_it_or_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\nb\nc\n\nd\n\n", encoding="utf-8")
    learner = fitted(MOOD)
    answers = learner.stream(path, chunk_rows=2)
    assert [next(answers).input for _ in range(2)] == ["a", "b"]
    with pytest.raises(DataError, match=r"a\.txt, line 4: received an empty text"):
        next(answers)
    with pytest.raises(DataError, match=r"(?s)2 faults:.*a\.txt, line 4.*a\.txt, line 6"):
        next(learner.stream(path, chunk_rows=2, check=True))


def test_pairs_for_a_learner_of_texts_are_refused() -> None:
    with pytest.raises(DataError, match="received pairs of texts for a learner of texts or words"):
        next(fitted(MOOD).stream([("a", "b")]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chunk_rows": 0}, r"stream\(chunk_rows=…\): received 0; expected a whole number of 1 or more"),
        ({"start": -1}, r"stream\(start=…\): received -1; expected a whole number of 0 or more"),
        ({"start": True}, r"stream\(start=…\): received True"),
        ({"check": True}, r"received check=True and a list_iterator, which can be gone through once"),
    ],
)
def test_options_that_cannot_be_are_told_at_the_call(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        fitted(MOOD).stream(iter(TEXTS), **options)


def test_a_learner_that_has_not_learnt_says_so_at_the_call() -> None:
    with pytest.raises(NotFittedError):
        Learner(tiny("bert")).stream(TEXTS)


@pytest.mark.parametrize("start", [0, 11])
def test_vectors_of_a_stream_are_those_of_transform(start: int) -> None:
    embedder = Embedder(tiny("bert"), compute=PLAIN)
    parts = list(embedder.stream(iter(MANY), chunk_rows=8, start=start))
    assert all(len(part) <= 8 for part in parts)
    assert np.allclose(np.concatenate(parts), embedder.transform(MANY)[start:], atol=1e-6)


def test_any_number_of_rows_takes_the_memory_of_a_part(tmp_path: Path) -> None:
    learner = fitted(MOOD)

    def peak(number: int) -> int:
        path = tmp_path / f"{number}.txt"
        path.write_text("".join(f"a good movie {n}\n" for n in range(number)), encoding="utf-8")
        tracemalloc.start()
        try:
            assert sum(1 for _ in learner.stream(path, chunk_rows=256)) == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(300)  # what is made once a process
    assert peak(3072) < 1.3 * peak(1024)
