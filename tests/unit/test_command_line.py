"""The command line, as somebody at a terminal meets it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from nlptl.__main__ import main, parser_of_all
from tests.kit.checkpoints import tiny_checkpoint

HEAVY = {"torch", "sklearn", "transformers", "datasets", "accelerate", "pandas", "peft", "yaml"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(tiny_checkpoint("bert", tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    texts = [(f"a good movie number {i}", "pos") for i in range(8)] + [
        (f"a bad plot number {i}", "neg") for i in range(8)
    ]
    path.write_text("review,mood\n" + "".join(f"{text},{label}\n" for text, label in texts), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def mood(backbone, rows, tmp_path_factory):
    """A frozen sentiment run, made by the command line itself."""
    out = tmp_path_factory.mktemp("runs") / "mood"
    code = main(
        ["fit", "--task", "sentiment", "--mode", "frozen", "--backbone", backbone, "--train", rows, "--eval", rows,
         "--columns", "text=review", "label=mood", "--out", str(out)]
    )  # fmt: skip
    assert code == 0
    return out


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["predict", "--help"], ["evaluate", "--help"]])
def test_help_is_light(words):
    probe = (
        "import sys\nfrom nlptl.__main__ import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('LOADED', *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
    assert not HEAVY & set(done.stdout.rpartition("LOADED")[2].split())


def test_each_command_has_help_and_examples():
    _, commands = parser_of_all()
    assert {"fit", "predict", "evaluate", "options"} <= set(commands)
    assert all(parser.epilog and parser.description for parser in commands.values())


def test_fit_writes_its_folder_and_says_what_to_try(mood, backbone, rows, capsys):
    assert (mood / "model" / "nlptl.json").is_file()
    assert json.loads((mood / "record.json").read_text())["data"]["rows"] == 16
    assert json.loads((mood / "report.json").read_text())["rows"] == 16


def test_fit_by_steps_from_a_recipe_with_a_fraction_held_out(backbone, rows, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"task: sentiment\nmode: {{name: lora, rank: 2, steps: 9}}\ntrain: {rows}\n"
        "columns: {text: review, label: mood}\n"
    )
    out = tmp_path / "run"
    words = ["fit", str(recipe), "--backbone", backbone, "--mode.steps", "2", "--eval", "0.25", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "training" in said.out and "accuracy" in said.out and f"nlptl predict {out / 'model'}" in said.out
    assert "· polarity: " in said.err and "Traceback" not in said.err
    report = json.loads((out / "report.json").read_text())
    assert report["rows"] == 4 and report["choices"]["steps"] == "2"
    assert any((out / "checkpoints").iterdir())
    assert main([*words, "--resume"]) == 0


def test_predict_for_the_eye_and_as_json_agree_with_the_learner(mood, capsys):
    from nlptl import Learner

    texts = ["a good movie", "a bad plot"]
    learner = Learner.load(mood / "model")
    assert main(["predict", str(mood), *texts]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(learner.predict(texts))
    assert main(["predict", str(mood / "model"), *texts, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in found] == list(learner.predict(texts))
    chances = learner.predict_proba(texts)
    for row, chance in zip(found, chances, strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(list(chance))


def test_predict_a_file_into_a_file(mood, rows, tmp_path, capsys):
    out = tmp_path / "predictions.jsonl"
    assert main(["predict", str(mood), "--input", rows, "--columns", "text=review", "--output", str(out)]) == 0
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(found) == 16 and found[0]["text"] == "a good movie number 0"
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_evaluate_is_the_report_of_fit(mood, rows, capsys):
    assert main(["evaluate", str(mood), rows, "--columns", "text=review", "label=mood", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metrics"] == json.loads((mood / "report.json").read_text())["metrics"]


def test_entities_of_strings(backbone, tmp_path, capsys):
    rows = tmp_path / "ner.jsonl"
    text = "ada lovelace left london for paris"
    spans = [{"start": 0, "end": 12, "label": "person"}, {"start": 18, "end": 24, "label": "location"}]
    rows.write_text("".join(json.dumps({"text": text, "spans": spans}) + "\n" for _ in range(8)))
    out = str(tmp_path / "people")
    fit = ["fit", "--task", "ner", "--mode", "frozen", "--backbone", backbone, "--train", str(rows), "--out", out]
    assert main(fit) == 0
    capsys.readouterr()
    assert main(["predict", out, text, "--json"]) == 0
    entities = json.loads(capsys.readouterr().out)["entities"]
    assert entities and all(text[e["start"] : e["end"]] == e["text"] for e in entities)
    assert main(["predict", out, text]) == 0
    assert entities[0]["label"] in capsys.readouterr().out


def test_several_labels_from_columns_of_0_and_1(backbone, tmp_path, capsys):
    rows = tmp_path / "multi.csv"
    rows.write_text("body,rude,spam\n" + "awful you,1,0\nbuy it now,0,1\na lovely day,0,0\nbuy it awful,1,1\n" * 3)
    out = str(tmp_path / "multi")
    words = ["--mode", "frozen", "--backbone", backbone, "--train", str(rows), "--columns", "label=rude,spam"]
    assert main(["fit", *words, "--out", out, "--eval", "0.25"]) == 0
    capsys.readouterr()
    assert main(["predict", out, "buy it awful", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row["probabilities"]) == {"rude", "spam"} and set(row["labels"]) <= {"rude", "spam"}


def test_faults_of_the_recipe_and_of_the_flags_come_together(capsys):
    code = main(["fit", "--lables", "a", "b", "--mode.stepz", "3", "--columns", "text", "--seed", "x", "--mode.rank"])
    said = capsys.readouterr()
    assert code == 2 and said.out == "" and "Traceback" not in said.err
    assert said.err.startswith("nlptl: 6 faults:")  # "a" is taken for the recipe, which is not there
    for part in (
        "a recipe that cannot be read",
        "unknown flag --lables",
        "'--labels'?",
        "'steps'?",
        "expected role=column",
        "--mode.rank without a value",
    ):
        assert part in said.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["predict", "x"], "received neither texts nor --input; expected one of the two; write"),
        (["predict", "x", "a", "--input", "b"], "received texts and --input; expected one of the two"),
        (["predict", "x", "a", "--mode.rank", "3"], "leave it out: what was learnt has its task and mode"),
        (
            ["predict", "x", "a", "--compute.precision", "fp8"],
            "--compute.precision, Compute(precision=…): received 'fp8'",
        ),
        (["predict", "nowhere", "a"], "received no folder of this machine"),
        (["evaluate", "x", "y", "--columns", "txt=a"], "received the unknown role 'txt'; expected one of"),
        (["options", "lorra"], "received 'lorra'; expected one of"),
        (["options", "--mode.rank", "3"], "received the flag --mode.rank; expected names only; leave it out"),
    ],
)
def test_a_user_error_is_one_message_and_exit_code_2(words, expected, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert expected in said and said.startswith("nlptl: ") and "Traceback" not in said


def test_an_output_that_cannot_be_written(mood, tmp_path, capsys):
    assert main(["predict", str(mood), "a", "--output", str(tmp_path / "absent" / "x.jsonl")]) == 2
    assert "which cannot be written (No such file or directory); expected a file in a folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_before_training(backbone, rows, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code = main(["fit", "--backbone", backbone, "--train", rows, "--out", str(tmp_path / "file" / "run")])
    assert code == 2 and "cannot be written to" in capsys.readouterr().err


def run_with(monkeypatch, action) -> int:
    from nlptl.cli import options

    monkeypatch.setattr(options, "run", lambda given: action())
    return main(["options"])


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert run_with(monkeypatch, interrupt) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_warnings_and_notes_are_one_line_each_and_everything_is_put_back(monkeypatch, capsys):
    import warnings

    from nlptl.errors import NlptlWarning

    def speak():
        warnings.warn("3 truncated", NlptlWarning, stacklevel=1)
        logging.getLogger("nlptl").info("text taken from 'review'")

    before, shown = list(logging.getLogger("nlptl").handlers), warnings.showwarning
    assert run_with(monkeypatch, speak) == 0
    assert capsys.readouterr().err == "warning: 3 truncated\n· text taken from 'review'\n"
    assert logging.getLogger("nlptl").handlers == before and warnings.showwarning is shown


def test_only_the_main_process_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["options", "compute"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_process_that_is_alone_with_its_trouble_says_so(monkeypatch, capsys):
    """Where all have it the first one speaks, and their launcher ends this one while it waits."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    waited = []
    monkeypatch.setattr("nlptl.cli._terminal.time.sleep", waited.append)
    assert main(["options", "lorra"]) == 2
    assert capsys.readouterr().err.startswith("nlptl, process 1 of 2: ") and waited == [2.0]


def test_options_lists_every_option_with_its_help(capsys):
    from dataclasses import fields

    from nlptl import modes

    assert main(["options"]) == 0
    said = capsys.readouterr().out
    for mode in modes.classes().values():
        assert all(f"--mode.{f.name}  (" in said for f in fields(mode))
    assert "of the adapters" in said and "default 8" in said


def test_every_option_has_help():
    from nlptl import modes, registry, tasks
    from nlptl.engine.compute import Compute
    from nlptl.recipe import Recipe
    from nlptl.recipe.options import options_of
    from nlptl.tasks.base import Task

    owners = [*modes.classes().values(), *registry.named_classes(tasks, Task).values(), Compute, Recipe]
    assert [o.name for owner in owners for o in options_of(owner).values() if not o.help] == []


def test_a_closed_pipe_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)  # whoever read has gone before the first line comes
    with os.fdopen(writing, "w") as pipe:
        words = [sys.executable, "-m", "nlptl", "options"]
        done = subprocess.run(words, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
