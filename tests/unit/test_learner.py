"""The learner's own doing: rows held out, faults before a model is opened, a record, silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nlptl import Compute, DataError, FullTuning, Learner, NlptlWarning, OptionError
from nlptl import learner as module
from tests.kit.cells import PLAIN, Cell, fitted
from tests.kit.rows import POLARITIES, TEXTS, rows
from tests.kit.shelf import tiny

BRIEF = FullTuning(steps=2, batch_size=4)
HELD = ([f"{text} indeed" for text in TEXTS], POLARITIES)


def brief(**options):
    return Learner(tiny("bert"), mode=BRIEF, compute=PLAIN, **options)


@pytest.fixture
def no_model(monkeypatch):
    """Whatever opens a checkpoint fails the test."""

    def opened(*_, **__):
        raise AssertionError("a checkpoint was opened before the rows were checked")

    monkeypatch.setattr(module, "open_backbone", opened)


@pytest.mark.parametrize(
    ("rows_", "options", "error", "said"),
    [
        ((TEXTS, ["a"] * 8), {}, DataError, "rows of one class only"),
        ((TEXTS, POLARITIES[:7]), {}, DataError, "8"),
        ((TEXTS, POLARITIES), {"eval": (TEXTS, ["odd"] * 8)}, DataError, "received the label 'odd'"),
        ((TEXTS, POLARITIES), {"eval": 1}, OptionError, r"eval=1: received a whole number; expected a fraction"),
        ((TEXTS, POLARITIES), {"eval": 1.5}, OptionError, r"expected a fraction between 0 and 1"),
        ((TEXTS, POLARITIES), {"resume": True}, OptionError, r"received no run_dir; expected the one of the run"),
        ((TEXTS, POLARITIES), {"labels": ["positive"]}, DataError, "which labels=… does not name"),
    ],
)
def test_faults_are_found_before_a_model_is_opened(no_model, rows_, options, error, said):
    with pytest.raises(error, match=said):
        brief().fit(*rows_, **options)


def test_a_fraction_is_held_out_by_label():
    texts = [f"{text} {n}" for n in range(5) for text in TEXTS]
    made = brief().fit(texts, POLARITIES * 5, eval=0.25)
    data = made.record_.to_dict()["data"]
    assert (data["rows"], data["eval_rows"]) == (30, 10)
    assert {"eval_accuracy", "eval_macro_f1"} <= set(made.history_[-1])
    again = brief().fit(texts, POLARITIES * 5, eval=0.25)
    assert [e["eval_accuracy"] for e in again.history_] == [e["eval_accuracy"] for e in made.history_]


def test_rows_in_both_are_warned_of_and_counted():
    with pytest.warns(NlptlWarning, match=r"8 of 8 eval rows are also training rows"):
        made = brief().fit(TEXTS, POLARITIES, eval=(TEXTS, POLARITIES))
    assert made.record_.to_dict()["counts"]["rows_shared_by_train_and_eval"] == 8
    made.fit(TEXTS, POLARITIES, eval=HELD)
    assert made.record_.to_dict()["counts"]["rows_shared_by_train_and_eval"] == 0


@pytest.mark.parametrize("mode", ["frozen", "full", "lora"])
@pytest.mark.parametrize("task", ["classification", "sentiment", "ner"])
def test_record_and_report_are_json_and_readable(task, mode):
    made = fitted(Cell(task, mode, "bert"))
    record = made.record_.to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["data"]["rows"] == 8
    assert {"windowed", "truncated"} <= set(record["counts"])
    assert {"device", "precision", "window"} <= set(record["choices"])
    assert record["training"]["total_parameters"] >= record["training"]["trainable_parameters"] > 0
    report = made.evaluate(*rows(task))
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert all(len(line) <= 100 for line in str(report).splitlines())
    assert str(made.record_)
    assert made.score(*rows(task)) == next(iter(report.metrics.values())).value


def test_the_last_entry_of_the_history_is_what_evaluate_says():
    made = brief().fit(TEXTS, POLARITIES, eval=HELD)
    report = made.evaluate(*HELD)
    for name in ("accuracy", "macro_f1"):
        assert made.history_[-1][f"eval_{name}"] == pytest.approx(report[name])


def test_a_file_is_read_for_fit_and_evaluate_and_predict(tmp_path: Path):
    path = tmp_path / "reviews.csv"
    lines = ["text,label", *(f'"{t}",{p}' for t, p in zip(TEXTS, POLARITIES, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = brief().fit(path)
    assert made.record_.to_dict()["data"]["train"].endswith("reviews.csv")
    assert made.evaluate(str(path)).rows == 8
    assert made.predict(path).tolist() == made.predict(TEXTS).tolist()


def test_nothing_is_said_where_nobody_looks(capsys):
    made = brief().fit(TEXTS, POLARITIES, eval=HELD)
    made.predict(TEXTS)
    made.evaluate(*HELD)
    told = capsys.readouterr()
    assert told.out == "" and told.err == ""


@pytest.mark.parametrize("mode", ["frozen", "full", "lora"])
def test_saving_and_loading_are_silent(mode, tmp_path, capsys):
    folder = fitted(Cell("classification", mode, "bert")).save(tmp_path / "bundle")
    Learner.load(folder)
    told = capsys.readouterr()
    assert told.out == "" and told.err == ""


def test_a_bar_is_drawn_when_asked_for(capsys):
    made = Learner(tiny("bert"), mode=BRIEF, compute=Compute(device="cpu", precision="fp32", progress=True))
    made.fit(TEXTS, POLARITIES, eval=HELD)
    assert "train" in capsys.readouterr().err


def test_compute_must_be_one():
    with pytest.raises(OptionError, match=r"compute=…: received 'cpu'; expected a Compute\(…\); write compute="):
        Learner(tiny("bert"), compute="cpu").get_params()


def test_what_is_given_to_init_is_kept_untouched():
    mode, compute = FullTuning(epochs=2), Compute(device="cpu")
    made = Learner("somewhere", task="ner", mode=mode, compute=compute, seed=4, revision="main")
    assert made.mode is mode and made.compute is compute
    assert (made.backbone, made.task, made.seed, made.revision) == ("somewhere", "ner", 4, "main")


def test_trackers_are_told_of_the_run(tmp_path: Path):
    pytest.importorskip("tensorboard")
    compute = Compute(device="cpu", precision="fp32", trackers=("tensorboard",))
    Learner(tiny("bert"), mode=BRIEF, compute=compute).fit(TEXTS, POLARITIES, eval=HELD, run_dir=tmp_path)
    assert list((tmp_path / "logs").rglob("events.*"))
