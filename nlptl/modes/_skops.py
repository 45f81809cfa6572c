"""Reading an sklearn head from a file that somebody else may have made: nothing of it runs before all of it is known.

skops keeps a head as named parts. They are read as a tree of descriptions first; every type in it must be trusted, and
the arrays of decision trees, which sklearn follows without looking, must not lead out of themselves. Only then is
anything built.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nlptl.errors import BundleError, NlptlError, listing

#: Parts of a head, unpacked, may be this large together; skops itself packs nothing, so that the file is as large.
MAX_BYTES, MAX_GROWTH = 8 << 30, 20
MAX_SCHEMA_BYTES = 512 << 20
_FREE_BYTES = 64 << 20

#: What every head may hold: numbers, texts and arrays.
_PLAIN = ("builtins.", "numpy.")
_LOGISTIC = (
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.multiclass.OneVsRestClassifier",
    "sklearn.preprocessing._label.LabelBinarizer",
)
_PIPELINE = ("sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler")

#: All that a named head may hold besides numbers, texts and arrays: read and found to run no code on load.
KNOWN: dict[str, tuple[str, ...]] = {
    "logistic": (*_LOGISTIC, *_PIPELINE, "sklearn.linear_model._ridge.RidgeCV"),
    "svm": (
        *_LOGISTIC,
        *_PIPELINE,
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.svm._classes.LinearSVC",
        "sklearn.svm._classes.LinearSVR",
    ),
    "forest": (
        *_LOGISTIC,
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._tree.Tree",
    ),
}

#: The kinds of parts that a named head is made of; functions, methods and partials are none of them.
_LOADERS = {
    "CachedNode", "DictNode", "DTypeNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode", "SetNode", "TreeNode",
    "TupleNode", "TypeNode",
}  # fmt: skip


def load_head(path: Path, named: str | None, trusted: tuple[str, ...]) -> Any:
    """A head whose every type is trusted: by skops, by the lists above, or by the user's own word."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            root = _described(archive, trusted)
            _check_types(path, root, named, trusted)
            for tree in _nodes(root):
                if type(tree).__name__ == "TreeNode":
                    _check_tree(path, tree)
            head = root.construct()
            _check_widths(path, head)
            return head
    except (NlptlError, MemoryError):
        raise
    except Exception as error:
        # What can go wrong with a crafted or damaged file is without end; skops, numpy and sklearn raise as they like.
        raise BundleError(
            f"{path}: received a head that cannot be read ({type(error).__name__}: {error}); expected what skops "
            "wrote; copy the bundle again, or save the learner again"
        ) from error


def check_head(path: Path, head: Any, problem: str, n_labels: int, width: int | None) -> None:
    """A head that answers for these labels and takes these vectors; a label out of range would be a wrong answer."""
    ask = "predict" if problem == "regression" else "predict_proba"
    classes = np.asarray(getattr(head, "classes_", ()))
    fits = {
        f"{ask}": callable(getattr(head, ask, None)),
        f"{width} features": width is None or getattr(head, "n_features_in_", width) == width,
        f"classes among {n_labels} labels": problem == "regression" or _classes_fit(classes, problem, n_labels),
    }
    lacking = [what for what, there in fits.items() if not there]
    if lacking:
        raise BundleError(
            f"{path}: received a head ({type(head).__name__}) without {', '.join(lacking)}; expected one for these "
            "labels and this base; save the learner again"
        )


def _classes_fit(classes: Any, problem: str, n_labels: int) -> bool:
    if problem == "multi":
        return classes.shape == (n_labels,)
    numbers = classes.ndim == 1 and classes.dtype.kind in "iuf" and len(classes) > 0
    if not numbers or not np.isfinite(classes).all():
        return False
    whole = classes.astype(np.int64)
    inside = ((whole == classes) & (whole >= 0) & (whole < n_labels)).all()
    return bool(inside) and len(set(whole.tolist())) == len(whole)


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Before anything is unpacked: a small file may say that it holds terabytes."""
    parts = archive.infolist()
    total = sum(part.file_size for part in parts)
    most = min(MAX_BYTES, max(_FREE_BYTES, MAX_GROWTH * path.stat().st_size))
    schema = sum(part.file_size for part in parts if part.filename == "schema.json")
    if total > most or schema > MAX_SCHEMA_BYTES or len({part.filename for part in parts}) < len(parts):
        raise BundleError(
            f"{path}: received a head of {total} bytes unpacked, in {len(parts)} parts; expected at most {most}, and "
            "no part twice; do not use this bundle"
        )


def _described(archive: zipfile.ZipFile, trusted: tuple[str, ...]) -> Any:
    from skops.io._audit import get_tree
    from skops.io._utils import read_schema

    schema, context = read_schema(archive)
    return get_tree(schema, context, trusted=list(trusted))


def _check_types(path: Path, root: Any, named: str | None, trusted: tuple[str, ...]) -> None:
    known = KNOWN.get(named or "", ())
    allowed = {*known, *trusted}
    held = set(root.get_unsafe_set())
    if named is not None:
        held |= {
            f"{node.module_name}.{node.class_name}"
            for node in _nodes(root)
            if not f"{node.module_name}.".startswith(_PLAIN) or type(node).__name__ not in _LOADERS
        }
    strangers = sorted(held - allowed)
    if strangers:
        raise BundleError(
            f"{path}: received a head that holds {listing(strangers)}; expected only types known to be safe; if you "
            f"trust whoever made it, load it with trusted={strangers!r}"
        )


def _nodes(root: Any) -> Iterator[Any]:
    """Every part of a head once, those that are referred to from elsewhere included."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not hasattr(node, "children"):
            continue
        seen.add(id(node))
        yield node
        if hasattr(node, "cached"):
            waiting.append(node.cached)
        for child in node.children.values():
            if isinstance(child, list):
                waiting += child
            elif isinstance(child, dict):
                waiting += child.values()
            else:
                waiting.append(child)


def _check_tree(path: Path, tree: Any) -> None:
    """A decision tree whose arrays lead nowhere outside of themselves; children come after their parent, as sklearn's.

    sklearn follows the numbers of children and features without looking: wrong ones end in a crash of the process,
    in a walk without end, or in somebody else's memory.
    """
    n_features, n_classes, n_outputs = tree.args.construct()
    state = tree.attrs.construct()
    nodes, values, count = state["nodes"], state["values"], state["node_count"]
    # sklearn reads as many class counts as there are outputs, and sizes the values by the largest.
    sizes = np.asarray(n_classes)
    sound = (
        all(_whole(n) for n in (n_features, n_outputs, count, state["max_depth"]))
        and n_features >= 1
        and n_outputs == 1
        and sizes.shape == (1,)
        and sizes.dtype == np.intp
        and 1 <= int(sizes[0]) <= 1_000_000
        and isinstance(nodes, np.ndarray)
        and nodes.ndim == 1
        and nodes.flags.c_contiguous
        and 1 <= count == len(nodes)
        and isinstance(values, np.ndarray)
        and values.shape == (count, 1, int(sizes[0]))
        and 0 <= state["max_depth"] <= count
        and set(state) == {"max_depth", "node_count", "nodes", "values"}
    )
    if not sound or not _stays_inside(nodes, n_features):
        raise BundleError(
            f"{path}: received a decision tree whose arrays lead out of themselves or contradict each other; expected "
            "what sklearn wrote; do not use this bundle"
        )


def _check_widths(path: Path, head: Any) -> None:
    """Trees read features by number, and only the forest around them is checked against the vectors by sklearn."""
    for part in _objects(head):
        said = part.__dict__.get("n_features_in_")
        held = np.ravel(np.asarray(part.__dict__.get("estimators_", ()), dtype=object))
        trees = [getattr(each, "tree_", None) for each in (part, *held)]
        for tree in trees:
            if tree is not None and not (_whole(said) and tree.n_features <= said):
                raise BundleError(
                    f"{path}: received a decision tree of {tree.n_features} features in a head of {said}; expected no "
                    "more than the head's; do not use this bundle"
                )


def _objects(head: Any) -> Iterator[Any]:
    """Every object with attributes inside a head, once."""
    waiting, seen = [head], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple | set):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, np.ndarray):
            waiting += np.ravel(part).tolist() if part.dtype == object else []
        elif hasattr(part, "__dict__") and not isinstance(part, type) and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += part.__dict__.values()


def _stays_inside(nodes: Any, n_features: int) -> bool:
    left, right, feature = (np.asarray(nodes[name]) for name in ("left_child", "right_child", "feature"))
    if any(column.dtype != np.intp for column in (left, right, feature)):
        return False
    place = np.arange(len(nodes))
    leaf = left == -1
    inner = ~leaf
    onward = (left > place) & (right > place) & (left < len(nodes)) & (right < len(nodes))
    named = (feature >= 0) & (feature < n_features)
    return bool((leaf | (onward & named)).all() and (right[inner] != left[inner]).all())


def _whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)
