"""What a learner must not lose, touch or let pass: each was once seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nlptl import Compute, DataError, Frozen, FullTuning, Learner, LoRA, MissingExtraError, NlptlWarning, OptionError
from nlptl.bundle.storage import check_place
from nlptl.errors import BundleError
from tests.kit.shelf import tiny

TEXTS = ["a good day", "a bad night", "quite good", "really bad"] * 2
LABELS = ["pos", "neg"] * 4


def learner(mode: object, **options: object) -> Learner:
    return Learner(str(tiny("bert")), mode=mode, **options)  # type: ignore[arg-type]


def test_a_run_leaves_foreign_files_where_they_are(tmp_path: Path):
    foreign = tmp_path / "checkpoints" / "thesis.txt"
    lookalike = tmp_path / "checkpoints" / "step-7" / "notes.txt"
    lookalike.parent.mkdir(parents=True)
    foreign.write_text("years of work")
    lookalike.write_text("mine")
    learner(LoRA(steps=2)).fit(TEXTS, LABELS, run_dir=tmp_path)
    assert foreign.read_text() == "years of work"
    assert lookalike.read_text() == "mine"


def test_resuming_where_nothing_can_be_resumed_is_told(tmp_path: Path):
    with pytest.warns(NlptlWarning, match="no whole checkpoint"):
        learner(LoRA(steps=1)).fit(TEXTS, LABELS, run_dir=tmp_path, resume=True)


def test_an_estimator_of_ones_own_survives_a_load(tmp_path: Path):
    from sklearn.neighbors import KNeighborsClassifier

    first = learner(Frozen(head=KNeighborsClassifier(3))).fit(TEXTS, LABELS)
    first.save(tmp_path / "m")
    untrusted = "sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree"
    again = Learner.load(tmp_path / "m", trusted=untrusted)
    assert isinstance(again.mode.head, KNeighborsClassifier)
    assert again.fit(TEXTS, LABELS).record_["choices"]["head"] == "KNeighborsClassifier"


def test_a_loaded_full_model_starts_afresh_from_its_base(tmp_path: Path):
    first = learner(FullTuning(steps=3, learning_rate=1e-2)).fit(TEXTS, LABELS)
    first.save(tmp_path / "m")
    again = Learner.load(tmp_path / "m")
    told = first.predict_proba(TEXTS)
    assert (again.predict_proba(TEXTS) == told).all()
    assert (again.fit(TEXTS, LABELS).predict_proba(TEXTS) == told).all()
    again.save(tmp_path / "n")
    bases = [json.loads((tmp_path / name / "nlptl.json").read_text())["manifest"]["base"] for name in ("m", "n")]
    assert bases[0] == bases[1]


def test_class_weights_of_whole_numbers_survive_a_load(tmp_path: Path):
    mode = LoRA(steps=1, class_weight={0: 1.0, 1: 3.0})
    learner(mode).fit(TEXTS, [0, 1] * 4).save(tmp_path / "m")
    assert Learner.load(tmp_path / "m").mode == mode


def test_a_list_of_class_weights_is_refused():
    with pytest.raises(OptionError, match=r"received \[1, 50\]; expected .* write it as \{label: weight\}"):
        LoRA(class_weight=[1, 50])  # type: ignore[arg-type]


@pytest.mark.parametrize("learnt_from_pairs", [False, True])
def test_pairs_and_single_texts_are_not_mistaken_for_each_other(learnt_from_pairs: bool):
    pairs = [(text, "and more") for text in TEXTS]
    given, other = (pairs, TEXTS) if learnt_from_pairs else (TEXTS, pairs)
    fitted = learner(Frozen()).fit(given, LABELS)
    with pytest.raises(DataError, match=r"received .* for a learner of .*; expected .* as at fit; give the same kind"):
        fitted.predict(other)


def test_trackers_that_are_unknown_or_missing_are_told(tmp_path: Path):
    with pytest.raises(OptionError, match="Did you mean 'tensorboard'"):
        learner(LoRA(steps=1), compute=Compute(trackers=("tensorboad",))).fit(TEXTS, LABELS, run_dir=tmp_path)
    with pytest.raises(MissingExtraError, match="pip install clearml"):
        learner(LoRA(steps=1), compute=Compute(trackers=("clearml",))).fit(TEXTS, LABELS, run_dir=tmp_path)


@pytest.mark.parametrize("seed", [None, "a", -1, 1.5, True])
def test_a_seed_that_is_none(seed: object):
    with pytest.raises(OptionError, match="expected a whole number"):
        learner(Frozen(), seed=seed).fit(TEXTS, LABELS)


def test_a_place_that_holds_something_else_is_refused_before_work_is_done(tmp_path: Path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").touch()
    with pytest.raises(BundleError, match="holds something else"):
        check_place(tmp_path / "x")
    with pytest.raises(BundleError, match="cannot be written to"):
        check_place(Path("/proc/nowhere/m"))


@pytest.mark.parametrize("backbone", [None, 3])
def test_a_backbone_that_is_no_name(backbone: object):
    with pytest.raises(ValueError, match="expected a folder, a Hub id"):
        Learner(backbone, mode="frozen").fit(TEXTS, LABELS)


def test_the_parameters_of_heads_with_parts_are_counted():
    rows = [["a"], ["b"], ["a", "b"], []] * 2
    fitted = learner(Frozen()).fit(TEXTS, rows)
    assert fitted.record_["training"]["trainable_parameters"] == 2 * 33
