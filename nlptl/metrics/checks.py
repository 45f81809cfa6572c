"""What every metric asks of its inputs before it counts anything."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np

from nlptl.errors import DataError, Fault
from nlptl.metrics.tally import Array


def same_rows(gold: Sized, predicted: Sized) -> None:
    """Refuse an empty evaluation, and predictions that are not one a row."""
    if len(gold) != len(predicted):
        raise DataError(
            Fault(
                f"{len(predicted)} predictions for {len(gold)} gold rows",
                "one prediction for each row",
                "predict on exactly the rows that the gold labels belong to",
            )
        )
    if len(gold) == 0:
        raise DataError(Fault("no rows", "at least one row to score", "give a source that holds rows"))


def plain_list(values: Any) -> list[Any]:
    """A list of Python objects from whatever sequence came: numpy scalars would print as ``np.str_('a')``."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def probability_rows(probabilities: Any, shape: tuple[int, int]) -> Array:
    """Probabilities as an array of the shape asked for, clipped away from 0 and 1.

    The clip is the precision of their own type, as in scikit-learn: a float32 that was rounded to 0 says only
    that it is below that.
    """
    array = np.asarray(probabilities)
    if array.shape != shape:
        raise DataError(
            Fault(
                f"probabilities of shape {array.shape}",
                f"shape {shape}: one row a prediction, one column a label",
                "give predict_proba's answer for the same rows, with labels in the same order",
            )
        )
    precise = np.finfo(array.dtype if array.dtype.kind == "f" else float)
    smallest = float(precise.eps)
    clipped: Array = np.clip(array.astype(float), smallest, 1 - smallest)
    return clipped
