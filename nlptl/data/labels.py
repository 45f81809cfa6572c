"""The labels that a learner knows: as the user gave them, as the model numbers them, as a file keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nlptl.data.examples import TargetForm
from nlptl.data.spans import Scheme
from nlptl.errors import DataError, Fault, did_you_mean, listing

Label = str | int | float | bool
Problem = Literal["single", "multi", "regression", "spans"]


@dataclass(frozen=True)
class LabelSpace:
    """What can be predicted, and how it is said.

    Parameters
    ----------
    problem : one label a unit, several, a number, or one tag a word
    names : what the model's config and the reports call the labels
    values : what `predict` returns for each, as the user gave them
    form : the form the targets had, which predictions have too
    spellings : other ways in which targets may name a label, and which label that is
    scheme : of tags: the scheme that was given, and is returned
    thresholds : of several labels: the probability from which each is predicted
    mean, spread : of numbers: what the model's output is scaled by
    low, high : of numbers: the range seen in training
    """

    problem: Problem
    names: tuple[str, ...]
    values: tuple[Label, ...] = ()
    form: TargetForm = "scalar"
    spellings: tuple[tuple[Label, int], ...] = ()
    scheme: Scheme | None = None
    thresholds: tuple[float, ...] | None = None
    mean: float = 0.0
    spread: float = 1.0
    low: float = 0.0
    high: float = 1.0
    _index: dict[Any, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._index.update({_key(value): i for i, value in enumerate(self.values)})
        self._index.update({_key(value): i for value, i in self.spellings})

    def __len__(self) -> int:
        return len(self.names)

    @property
    def reported(self) -> tuple[Label, ...]:
        """What a report has a line for: the labels, or the entity types."""
        if self.problem == "spans":
            return tuple(name[2:] for name in self.names if name.startswith("B-"))
        return self.values

    def find(self, label: Any) -> int | None:
        """The number of a label; None where it is not known."""
        return self._index.get(_key(label))

    def unknown(self, label: Any, where: str) -> Fault:
        """What to say of a label that training did not have."""
        known = [value for value in self.values] or list(self.names)
        return Fault(
            f"the label {label!r}",
            f"one of the {len(known)} labels known from training ({listing(known)})",
            f"correct it, leave the row out, or name every label in fit(…, labels=[…])."
            f"{did_you_mean(str(label), [str(v) for v in known])}",
            where,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> LabelSpace:
        """From what `to_dict` gave, after JSON made lists of its tuples."""
        as_tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
        as_tuples["spellings"] = tuple((label, int(i)) for label, i in kept.get("spellings", ()))
        return cls(**as_tuples)


def plain(label: Any) -> Any:
    """A label as a Python value: numpy's scalars are unwrapped, everything else stays."""
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label


def in_order(found: Sequence[Label], given: Sequence[Label] | None) -> tuple[Label, ...]:
    """The labels as `labels=` orders them, or sorted as sklearn sorts them."""
    if given is None:
        return tuple(sorted(set(found), key=lambda v: (isinstance(v, str), v)))
    values = tuple(plain(v) for v in given)
    known = [_key(v) for v in values]
    doubled = [v for i, v in enumerate(values) if _key(v) in known[:i]]
    if doubled:
        raise DataError(Fault(f"labels=… with {listing(doubled)} twice", "each label once", "leave out the second"))
    faults = [
        Fault(
            f"the label {label!r}, which labels=… does not name",
            f"only labels among {listing(values)}",
            f"add it to labels=, or correct the rows.{did_you_mean(str(label), [str(v) for v in values])}",
        )
        for label in sorted({v for v in found if _key(v) not in known}, key=str)
    ]
    if faults:
        raise DataError(*faults)
    return values


def _key(label: Any) -> Any:
    """True and 1 are one key to a dict, but two labels to a person."""
    label = plain(label)
    return ("bool", label) if isinstance(label, bool) else label
