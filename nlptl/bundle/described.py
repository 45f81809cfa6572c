"""Task, mode and labels as a manifest tells them, and back; what cannot be is refused before a file is opened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from nlptl import modes, tasks
from nlptl.backbones import POOLINGS
from nlptl.bundle.manifest import Manifest
from nlptl.data.examples import TargetForm
from nlptl.data.labels import LabelSpace, Problem, plain
from nlptl.data.spans import Scheme
from nlptl.errors import BundleError
from nlptl.modes._heads import HEADS
from nlptl.modes.base import Mode
from nlptl.tasks.base import Task

#: Which problems a task can have: a task that is asked what it never learns would answer nonsense.
_PROBLEMS = {"classification": ("single", "multi"), "sentiment": ("single", "regression"), "ner": ("spans",)}


def described(folder: Path, manifest: Manifest) -> tuple[Task, Mode, LabelSpace]:
    """Task, mode and labels as the manifest tells them; what cannot be is told with the folder's name."""
    try:
        task = _revive(manifest.task, tasks.resolve, tasks.names())
        mode = _revive(manifest.mode, modes.resolve, list(modes.classes()))
        return task, mode, _labels(manifest.labels, task)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise BundleError(
            f"{folder}: received a manifest that describes no learner ({error}); expected one that Learner.save wrote; "
            "restore it, or save the learner again"
        ) from error


def named(thing: Task | Mode) -> dict[str, Any]:
    """A task or mode as its name and those of its options that are not the defaults."""
    usual = type(thing)()
    options = {
        f.name: getattr(thing, f.name)
        for f in fields(thing)
        if getattr(thing, f.name) != getattr(usual, f.name) and not hasattr(getattr(thing, f.name), "fit")
    }
    return {"name": thing.name, "options": {name: _jsonable(value) for name, value in options.items()}}


def check_kept(folder: Path, mode: Mode, kept: dict[str, Any]) -> None:
    """What a mode keeps beside its files, each of its kind."""
    if mode.name == "frozen":
        right = (
            set(kept) >= {"pooling", "normalize", "head"}
            and kept["pooling"] in POOLINGS
            and isinstance(kept["normalize"], bool)
            and (kept["head"] is None or kept["head"] in tuple(HEADS))
        )
    elif mode.name == "lora":
        fresh, trainable = kept.get("fresh"), kept.get("trainable")
        right = (
            isinstance(fresh, list)
            and all(isinstance(name, str) for name in fresh)
            and isinstance(trainable, int)
            and not isinstance(trainable, bool)
            and trainable >= 0
        )
    else:
        right = True
    if not right:
        raise BundleError(
            f"{folder}: received a manifest whose 'kept' is not what mode {mode.name!r} keeps ({kept}); expected one "
            "that Learner.save wrote; save the learner again"
        )


def check_record(folder: Path, record: dict[str, Any]) -> None:
    """The sections of a record as `fit` writes them: predictions look up in it which columns were named."""
    kinds = {"data": dict, "choices": dict, "counts": dict, "training": dict, "notes": list}
    data = record.get("data", {})
    named = data.get("named_columns", {}) if isinstance(data, dict) else None
    whole = all(isinstance(record.get(name, kind()), kind) for name, kind in kinds.items())
    texts = isinstance(named, dict) and all(
        isinstance(c, str) or (isinstance(c, list) and all(isinstance(each, str) for each in c)) for c in named.values()
    )
    if not whole or not texts or not isinstance(data.get("inputs", ""), str):
        raise BundleError(
            f"{folder}: received a record of another shape; expected the one that fit wrote; save the learner again"
        )


def _revive(kept: dict[str, Any], resolve: Callable[[Any], Any], known: Sequence[str]) -> Any:
    if kept.get("name") not in known:
        raise BundleError(
            f"received a bundle of {kept.get('name')!r}; expected one of {', '.join(known)}; "
            "install the nlptl that wrote it"
        )
    thing = resolve(kept["name"])
    options = {name: _from_json(value) for name, value in kept.get("options", {}).items()}
    unknown = sorted(set(options) - {f.name for f in fields(thing)})
    if unknown:
        raise BundleError(
            f"received the options {unknown} of {kept['name']!r}; expected known ones; install a newer nlptl"
        )
    return replace(thing, **options)


def _labels(kept: dict[str, Any], task: Task) -> LabelSpace:
    """A label space whose every part is of its kind: a wrong one would be a wrong prediction, not an error."""
    unknown = sorted(set(kept) - {f.name for f in fields(LabelSpace)})
    if unknown or "_index" in kept:
        raise ValueError(f"unknown words in labels: {unknown}")
    space = LabelSpace.from_dict(kept)
    count = len(space.names)
    scalar = (str, int, float)
    numbers = (space.mean, space.spread, space.low, space.high)
    edges = space.thresholds
    holds = {
        "problem": space.problem in get_args(Problem) and space.problem in _PROBLEMS.get(task.name, get_args(Problem)),
        "names": isinstance(space.names, tuple) and count > 0 and all(isinstance(n, str) for n in space.names),
        "values": isinstance(space.values, tuple)
        and len(space.values) == (0 if space.problem == "regression" else count)
        and all(isinstance(v, scalar) for v in space.values),
        "form": space.form in get_args(TargetForm),
        "scheme": space.scheme is None or space.scheme in get_args(Scheme),
        "spellings": all(isinstance(v, scalar) and 0 <= i < count for v, i in space.spellings),
        "thresholds": edges is None
        or (isinstance(edges, tuple) and len(edges) == count and all(0 <= _number(e) <= 1 for e in edges)),
        "numbers": all(math.isfinite(_number(n)) for n in numbers) and space.spread != 0,
    }
    wrong = [name for name, right in holds.items() if not right]
    if wrong:
        raise ValueError(f"labels whose {', '.join(wrong)} cannot be")
    if space.problem == "spans":
        check_tags(space.names)
    return space


def check_tags(names: Sequence[str]) -> None:
    """O, and B- and I- of each type: what every scheme is inside of nlptl."""
    kinds = {name[2:] for name in names if name[:2] in ("B-", "I-")}
    expected = {"O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI")}
    if set(names) != expected or len(set(names)) != len(names):
        raise ValueError(f"tags that are not O with B- and I- of each type: {', '.join(names)}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} in the place of a number")
    return float(value)


def _jsonable(value: Any) -> Any:
    """JSON has neither tuples nor keys that are not text: a mapping becomes pairs."""
    if isinstance(value, Mapping):
        return {"pairs": [[plain(k), plain(v)] for k, v in value.items()]}
    return list(value) if isinstance(value, tuple) else plain(value)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"pairs"}:
        return {key: v for key, v in value["pairs"]}
    return tuple(value) if isinstance(value, list) else value
