"""Sentiment: negative < neutral < positive, or a number of stars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from nlptl.backbones import Backbone
from nlptl.data.examples import Examples, Level
from nlptl.data.labels import Label, LabelSpace, plain
from nlptl.errors import DataError, Fault, Faults, OptionError, listing
from nlptl.tasks.base import Array, Prepared, Task, WindowSize, softmax, together
from nlptl.tasks.classification import gold_one, learn_one
from nlptl.tasks.inputs import prepare_texts

NAMES = ("negative", "neutral", "positive")

#: The usual spellings, casefolded; further ones can be put in order with `labels=`.
WORDS = {
    "negative": 0, "neg": 0, "bad": 0, "-": 0, "unfavorable": 0, "unfavourable": 0,
    "neutral": 1, "neu": 1, "mixed": 1, "none": 1,
    "positive": 2, "pos": 2, "good": 2, "+": 2, "favorable": 2, "favourable": 2,
}  # fmt: skip

#: Integers mean what the whole set of them says: {0, 1}, {-1, 0, 1} or {1 … 5}.
INTEGER_SETS: tuple[dict[int, int], ...] = (
    {0: 0, 1: 2},
    {-1: 0, 1: 2},
    {-1: 0, 0: 1, 1: 2},
    {0: 0, 1: 1, 2: 2},
    {1: 0, 2: 0, 3: 1, 4: 2, 5: 2},
)


@dataclass(frozen=True)
class Sentiment(Task):
    """Sentiment analysis.

    Parameters
    ----------
    scale : "polarity" learns negative < neutral < positive, "stars" learns a number by regression; "auto" takes
        stars where a target has a fraction
    """

    scale: Literal["auto", "polarity", "stars"] = "auto"

    name: ClassVar[str] = "sentiment"
    level: ClassVar[Level] = "sequence"

    def __post_init__(self) -> None:
        if self.scale not in ("auto", "polarity", "stars"):
            raise OptionError(
                f"Sentiment(scale=…): received {self.scale!r}; expected 'auto', 'polarity' or 'stars'; choose one"
            )

    @property
    def estimator_type(self) -> Literal["classifier", "regressor"] | None:
        return "regressor" if self.scale == "stars" else "classifier"

    def learn(self, examples: Examples, labels: Sequence[Label] | None) -> tuple[LabelSpace, list[str]]:
        targets = [plain(t) for t in examples.targets or ()]
        if examples.target_form in ("lists", "indicator"):
            raise DataError(
                Fault(
                    "several labels a row",
                    "one polarity or one number a row",
                    "use task='classification' for several labels",
                    examples.origin.name,
                )
            )
        if self.scale == "stars" or (self.scale == "auto" and _has_fractions(targets)):
            return _learn_stars(examples, targets, labels)
        if labels is not None:
            return _learn_given(examples, targets, labels)
        return _learn_polarity(examples, targets)

    def prepare(self, backbone: Backbone, inputs: Sequence[Any], size: WindowSize) -> Prepared:
        return prepare_texts(backbone, inputs, size)

    def gold(self, examples: Examples, space: LabelSpace) -> tuple[list[Array], dict[str, int]]:
        if space.problem == "single":
            return gold_one(examples, space), {}
        faults, numbers = Faults(), []
        for i, target in enumerate(examples.targets or ()):
            value = _number(plain(target))
            if value is None:
                faults.add(
                    f"the target {plain(target)!r}",
                    "a number",
                    "correct it or leave the row out",
                    examples.origin.where(i),
                )
            numbers.append(np.array([((value or 0.0) - space.mean) / space.spread], dtype=np.float32))
        faults.raise_if_any(DataError)
        return numbers, {}

    def decode(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> list[Array]:
        flat = together(scores, len(space))
        if space.problem == "regression":
            return list(flat.astype(np.float32))
        return list(flat.argmax(-1)[:, None])

    def for_metrics(self, numbers: Sequence[Array], space: LabelSpace) -> Any:
        if space.problem == "regression":
            return together(numbers, 1).reshape(-1).astype(np.float64) * space.spread + space.mean
        return [space.values[int(n[0])] for n in numbers]

    def as_given(self, numbers: Sequence[Array], scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        if space.problem == "regression":
            return self.for_metrics(numbers, space)
        return np.array(space.values)[[int(n[0]) for n in numbers]]

    def probabilities(self, scores: Sequence[Array], prepared: Prepared, space: LabelSpace) -> Any:
        if space.problem == "regression":
            raise OptionError(
                "predict_proba: received a learner of numbers, which have no probabilities; expected a learner of "
                "labels; use predict, or polarity for a number in -1…1"
            )
        return softmax(together(scores, len(space)))

    def polarity(self, scores: Sequence[Array], space: LabelSpace) -> Array:
        """One number in -1…1 a row: P(positive) - P(negative), or the place in the range of stars seen in training."""
        flat = together(scores, len(space))
        if space.problem == "regression":
            if not space.high > space.low:
                raise OptionError(
                    "polarity: received a learner of numbers whose range is not known, as it was trained elsewhere; "
                    "expected the range that training saw; use predict"
                )
            stars = flat[:, 0].astype(np.float64) * space.spread + space.mean
            reach = max(space.high - space.low, 1e-12)
            return np.asarray(np.clip(2 * (stars - space.low) / reach - 1, -1, 1))
        chances = softmax(flat)
        return np.asarray(chances[:, -1] - chances[:, 0])


def _learn_polarity(examples: Examples, targets: Sequence[Any]) -> tuple[LabelSpace, list[str]]:
    classes = _classes(sorted(set(targets), key=lambda v: (isinstance(v, str), v)))
    if classes is None:
        raise DataError(
            Fault(
                f"labels that are no polarity known by name: {listing(sorted(set(targets), key=str))}",
                "negative/positive, neg/pos (with or without neutral), {0, 1}, {-1, 0, 1}, {0, 1, 2} or {1 … 5}",
                "name them from the most negative to the most positive in fit(…, labels=[…]), use "
                "Sentiment(scale='stars') for numbers, or task='classification' for other labels",
                examples.origin.name,
            )
        )
    learn_one(examples, None)  # one class only, or fewer rows than labels: the same faults as anywhere
    kinds = sorted(set(classes.values()))
    if len(kinds) < 2:
        raise DataError(
            Fault(
                f"rows that are all {NAMES[kinds[0]]}", "at least two polarities to tell apart",
                "add rows of another polarity", examples.origin.name,
            )
        )  # fmt: skip
    names = tuple(NAMES[k] for k in kinds)
    one_to_one = len(kinds) == len(classes)
    ordered = tuple(sorted(classes, key=lambda v: classes[v]))
    values: tuple[Label, ...] = ordered if one_to_one else names
    spellings = () if one_to_one else tuple((v, kinds.index(k)) for v, k in classes.items())
    told = ", ".join(f"{v!r} is {NAMES[k]}" for v, k in classes.items() if str(v) != NAMES[k])
    return LabelSpace("single", names, values, spellings=spellings), [f"polarity: {told}"] if told else []


def _learn_given(examples: Examples, targets: Sequence[Any], labels: Sequence[Label]) -> tuple[LabelSpace, list[str]]:
    """Labels put in order by the user, from the most negative to the most positive."""
    if len(labels) not in (2, 3):
        raise OptionError(
            f"labels={list(labels)!r}: received {len(labels)} labels; expected 2 or 3, from the most negative to the "
            "most positive; use Sentiment(scale='stars') or task='classification' for more"
        )
    space, _ = learn_one(examples, labels)
    names = NAMES if len(labels) == 3 else (NAMES[0], NAMES[2])
    told = ", ".join(f"{v!r} is {n}" for v, n in zip(space.values, names, strict=True) if str(v) != n)
    return replace(space, names=names), [f"polarity: {told}"] if told else []


def _learn_stars(
    examples: Examples, targets: Sequence[Any], labels: Sequence[Label] | None
) -> tuple[LabelSpace, list[str]]:
    if labels is not None:
        raise OptionError(
            f"labels={list(labels)!r}: received labels for numbers; expected none with stars; leave labels out"
        )
    faults = Faults()
    numbers = []
    for i, target in enumerate(targets):
        value = _number(target)
        if value is None:
            faults.add(
                f"the target {target!r}", "a number", "correct it or leave the row out", examples.origin.where(i)
            )
        else:
            numbers.append(value)
    faults.raise_if_any(DataError)
    if len(set(numbers)) < 2:
        raise DataError(
            Fault(
                f"the same number ({numbers[0]:g}) in every row", "numbers that differ", "check the target column",
                examples.origin.name,
            )
        )  # fmt: skip
    spread = float(np.std(numbers))
    space = LabelSpace(
        "regression", ("stars",), mean=float(np.mean(numbers)), spread=spread, low=min(numbers), high=max(numbers)
    )
    return space, ["targets read as numbers: regression"]


def _classes(values: Sequence[Any]) -> dict[Any, int] | None:
    """Each value's polarity, 0 to 2; None where they are of no known spelling."""
    if all(isinstance(v, str) and v.strip().casefold() in WORDS for v in values):
        return {v: WORDS[v.strip().casefold()] for v in values}
    whole = {v: _number(v) for v in values}
    if any(n is None or n != int(n) for n in whole.values()):
        return None
    integers = {int(n) for n in whole.values() if n is not None}
    for known in INTEGER_SETS:
        # {1, 2} could be two of {0, 1, 2} or of {1 … 5}: only five stars may have gaps.
        if integers == set(known) or (len(known) == 5 and integers <= set(known) and max(integers) > 2):
            return {v: known[int(n)] for v, n in whole.items() if n is not None}
    return None


def _has_fractions(targets: Sequence[Any]) -> bool:
    numbers = [_number(t) for t in targets]
    return all(n is not None for n in numbers) and any(
        isinstance(t, float) or n != int(n) for t, n in zip(targets, numbers, strict=True) if n is not None
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
