"""The sklearn side of a learner: its parameters, those of its parts, and what sklearn may take it for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Self

from sklearn.base import BaseEstimator

from nlptl import modes, tasks
from nlptl.engine.compute import Compute
from nlptl.errors import OptionError, did_you_mean, listing


class Parameters(BaseEstimator):
    """Arguments stored untouched; the options of task, mode and compute as ``mode__rank``.

    Task, mode and compute are frozen dataclasses: setting one of their options replaces the whole, so that two learners
    that were cloned from one another never share a change.
    """

    task: Any
    mode: Any
    compute: Any

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments; deep, also the options of task, mode and compute as ``mode__rank``."""
        given = {name: getattr(self, name) for name in self._get_param_names()}
        if deep:
            for part, thing in self._parts().items():
                given |= {f"{part}__{f.name}": getattr(thing, f.name) for f in fields(thing)}
        return given

    def set_params(self, **params: Any) -> Self:
        """Set arguments, and options as ``mode__rank``; the frozen mode and task are replaced, never changed."""
        nested: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            part, _, option = name.partition("__")
            if part not in self._get_param_names():
                known = self.get_params()
                raise OptionError(
                    f"set_params({name}=…): received an unknown parameter; expected one of {listing(known, 40)}; "
                    f"correct it.{did_you_mean(name, known)}"
                )
            if option:
                nested.setdefault(part, {})[option] = value
            else:
                setattr(self, name, value)
        for part, options in nested.items():
            thing = self._parts().get(part)
            known_options = [] if thing is None else [f.name for f in fields(thing)]
            for option in set(options) - set(known_options):
                raise OptionError(
                    f"set_params({part}__{option}=…): received an option that {type(thing).__name__} does not have; "
                    f"expected one of {listing(known_options, 40)}; correct it.{did_you_mean(option, known_options)}"
                )
            setattr(self, part, replace(thing, **options))  # type: ignore[type-var]
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags

        tags = super().__sklearn_tags__()
        kind = tasks.resolve(self.task).estimator_type
        tags.estimator_type = kind
        tags.classifier_tags = ClassifierTags() if kind == "classifier" else None
        tags.regressor_tags = RegressorTags() if kind == "regressor" else None
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def _parts(self) -> dict[str, Any]:
        return {"task": tasks.resolve(self.task), "mode": modes.resolve(self.mode), "compute": self._compute()}

    def _compute(self) -> Compute:
        if not isinstance(self.compute, Compute):
            raise OptionError(
                f"compute=…: received {self.compute!r}; expected a Compute(…); write compute=Compute(device='cpu')"
            )
        return self.compute
