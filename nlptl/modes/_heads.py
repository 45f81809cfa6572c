"""The sklearn heads of the frozen mode: built by name, fitted, scored, and kept without a pickle."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nlptl.errors import OptionError

Array = npt.NDArray[Any]

#: How strong the logistic head's C may be; the vectors are standardised first, so one grid serves every backbone.
C_GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS = 3
#: Rows on which C is chosen; more of them cost much time and change the choice little.
MAX_ROWS_FOR_C = 6000


def is_estimator(thing: Any) -> bool:
    """Whether this walks like an sklearn estimator."""
    return not isinstance(thing, type) and all(hasattr(thing, name) for name in ("fit", "predict", "get_params"))


def fit_head(
    head: Any,
    problem: str,
    vectors: Array,
    targets: Array,
    weights: Array | None,
    class_weight: str | None,
    *,
    seed: int,
) -> tuple[Any, dict[str, str]]:
    """A fitted head, and what was chosen for it."""
    from sklearn.base import clone

    chosen: dict[str, str] = {}
    if problem == "regression":
        if class_weight is not None:
            raise OptionError(
                f"class_weight={class_weight!r}: received it for numbers, which have no classes; expected None; use "
                "sample_weight"
            )
        model = _regressor(head, seed)
    elif isinstance(head, str):
        model, chosen = HEADS[head](problem, vectors, targets, class_weight, seed)
    else:
        model = _with_probabilities(clone(head))
    if not isinstance(head, str) and model.get_params().get("random_state", 0) is None:
        model.set_params(random_state=seed)
    if problem == "multi":
        model = _fit_several(model, vectors, targets, weights)
    else:
        _fit(model, vectors, targets, weights)
    return model, {"head": head if isinstance(head, str) else type(head).__name__, **chosen}


def _fit_several(model: Any, vectors: Array, targets: Array, weights: Array | None) -> Any:
    """One head a label: sklearn's one-vs-rest, whose own `fit` takes no weights and warns of a label in every row."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import LabelBinarizer

    def one(there: Array) -> Any:
        if len(set(there.tolist())) > 1:
            head = clone(model)
            _fit(head, vectors, there, weights)
            return head
        # All rows or none: nothing to tell apart, so a head that always gives the same answer.
        head = LogisticRegression()
        head.classes_, head.coef_ = np.array([0, 1]), np.zeros((1, vectors.shape[1]))
        head.intercept_, head.n_iter_ = np.array([30.0 if there.all() else -30.0]), np.array([0])
        head.n_features_in_ = vectors.shape[1]
        return head

    several = OneVsRestClassifier(model)
    several.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(targets)
    several.classes_ = several.label_binarizer_.classes_
    several.estimators_ = [one(there) for there in targets.T]
    several.n_features_in_ = vectors.shape[1]
    return several


def head_scores(head: Any, vectors: Array, problem: str, n_labels: int) -> Array:
    """Log-probabilities (or log-odds, or numbers) of each unit: (units, labels)."""
    if problem == "regression":
        return np.asarray(head.predict(vectors)).reshape(-1, 1)
    chances = np.asarray(head.predict_proba(vectors), dtype=np.float64)
    tiny = 1e-12
    if problem == "multi":
        chances = np.clip(chances, tiny, 1 - tiny)
        return np.asarray(np.log(chances) - np.log1p(-chances))
    full = np.full((len(vectors), n_labels), tiny)
    full[:, head.classes_.astype(np.int64)] = np.maximum(chances, tiny)
    return np.log(full)


def save_head(head: Any, path: Path) -> None:
    """Write a head with skops, which keeps what it holds as named parts and not as code.

    skops names the parts by their place in memory, and a zip keeps the hour: here they are numbered in order and have
    no hour, so that the same head is the same file.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(head))) as written:
        parts = {name: written.read(name) for name in written.namelist()}
    schema = json.loads(parts.pop("schema.json"))
    names = _numbered(schema, {})
    with zipfile.ZipFile(path, "w") as file:
        for name in sorted(parts, key=lambda name: list(names).index(name)):
            file.writestr(zipfile.ZipInfo(str(names[name])), parts[name])
        file.writestr(zipfile.ZipInfo("schema.json"), json.dumps(schema, indent=1))


def _numbered(node: Any, seen: dict[Any, int | str]) -> dict[Any, int | str]:
    """Replace the ids and file names of a schema, in place, by numbers in the order in which they come."""
    if isinstance(node, list):
        for part in node:
            _numbered(part, seen)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "__id__" and isinstance(value, int):
                node[key] = seen.setdefault(value, len(seen) + 1)
            elif key == "file" and isinstance(value, str):
                node[key] = seen.setdefault(value, f"{len(seen) + 1}{Path(value).suffix}")
            else:
                _numbered(value, seen)
    return seen


def _logistic(
    problem: str, vectors: Array, targets: Array, class_weight: str | None, seed: int
) -> tuple[Any, dict[str, str]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def make(c: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, class_weight=class_weight))

    c = _choose_c(make, problem, vectors, targets, seed)
    if c is None:
        return make(0.1), {"C": "0.1 (too few rows a label to choose it)"}
    return make(c), {"C": f"{c:g} of {C_GRID[0]:g}…{C_GRID[-1]:g}, by {FOLDS}-fold cross-validation"}


def _choose_c(make: Callable[[float], Any], problem: str, vectors: Array, targets: Array, seed: int) -> float | None:
    """The C of the best cross-validated accuracy; of equals the smallest, which is the smoothest."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.multiclass import OneVsRestClassifier

    rows = np.random.default_rng(seed).permutation(len(vectors))[:MAX_ROWS_FOR_C]
    vectors, targets = vectors[rows], targets[rows]
    if problem == "multi":
        if len(rows) < 2 * FOLDS or not (targets.any(0) & ~targets.all(0)).all():
            return None
        folds: Any = KFold(FOLDS, shuffle=True, random_state=seed)
    else:
        counts = np.bincount(targets.astype(np.int64))
        frequent = np.isin(targets, np.flatnonzero(counts >= FOLDS))
        vectors, targets = vectors[frequent], targets[frequent]
        if len(set(targets.tolist())) < 2:
            return None
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    best, best_score = None, -np.inf
    for c in C_GRID:
        model = OneVsRestClassifier(make(c)) if problem == "multi" else make(c)
        with warnings.catch_warnings():
            # A rare label may be in no row of a fold.
            warnings.filterwarnings("ignore", message="Label (not )?.* is present in all training examples")
            score = float(cross_val_score(model, vectors, targets, cv=folds).mean())
        if score > best_score:
            best, best_score = c, score
    return best


def _svm(
    problem: str, vectors: Array, targets: Array, class_weight: str | None, seed: int
) -> tuple[Any, dict[str, str]]:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import LinearSVC

    columns = targets.T if problem == "multi" else [targets]
    counts = [np.unique(column, return_counts=True)[1] for column in columns]
    # A label that all rows have, or none, gets no svm.
    fewest = min((int(c.min()) for c in counts if len(c) > 1), default=5)
    folds = min(5, fewest)
    if folds < 2:
        raise OptionError(
            "Frozen(head='svm'): received a label with one row only; expected two or more a label, for its "
            "probabilities are calibrated by cross-validation; add rows, or use head='logistic'"
        )
    svc = LinearSVC(class_weight=class_weight, random_state=seed)
    return CalibratedClassifierCV(svc, cv=folds, ensemble=False), {"calibration": f"sigmoid, {folds} folds"}


def _forest(
    problem: str, vectors: Array, targets: Array, class_weight: str | None, seed: int
) -> tuple[Any, dict[str, str]]:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(300, class_weight=class_weight, random_state=seed, n_jobs=-1), {"trees": "300"}


#: name -> the classifier for a problem, and what was chosen
HEADS: dict[str, Callable[[str, Array, Array, str | None, int], tuple[Any, dict[str, str]]]] = {
    "logistic": _logistic,
    "svm": _svm,
    "forest": _forest,
}


def _regressor(head: Any, seed: int) -> Any:
    from sklearn.base import clone, is_regressor
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVR

    if isinstance(head, str):
        return {
            "logistic": lambda: make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 13))),
            "svm": lambda: make_pipeline(StandardScaler(), LinearSVR(C=0.01, max_iter=10000, random_state=seed)),
            "forest": lambda: RandomForestRegressor(300, random_state=seed, n_jobs=-1),
        }[head]()
    if not is_regressor(head):
        raise OptionError(
            f"Frozen(head={head!r}): received a classifier for targets that are numbers; expected a regressor; give "
            "one, or 'logistic', 'svm', 'forest' for the regressor of that kind"
        )
    return clone(head)


def _with_probabilities(head: Any) -> Any:
    """A head without probabilities is calibrated, for entities, thresholds and reports all need them."""
    if hasattr(head, "predict_proba"):
        return head
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(head, ensemble=False)


def _fit(model: Any, vectors: Array, targets: Array, weights: Array | None) -> None:
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    if weights is None:
        model.fit(vectors, targets)
        return
    final = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not has_fit_parameter(final, "sample_weight"):
        raise OptionError(
            f"sample_weight=…: received weights for {type(final).__name__}, which takes none; expected a head that "
            "does; leave the weights out, or use 'logistic', 'svm' or 'forest'"
        )
    name = f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
    model.fit(vectors, targets, **{name: weights})
