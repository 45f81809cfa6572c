"""From older formats to the present one: one function a step, each taking a manifest's body to the next format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]


def _probe_and_metrics(body: Body) -> Body:
    """1 to 2: the last figures on held-out rows and the fresh modules got names of their own, and a probe came in.

    A bundle of format 1 has no probe: `load` says so, and has nothing to compare.
    """
    history = body.get("history") or [{}]
    kept = body.get("kept") or {}
    return {**body, "metrics": figures(history[-1]), "fresh": list(kept.get("fresh") or ()), "format": 2}


def figures(entry: dict[str, Any]) -> dict[str, Any]:
    """The metrics on held-out rows that an epoch's entry holds."""
    return {name.removeprefix("eval_"): value for name, value in entry.items() if name.startswith("eval_")}


#: format -> what makes the next one of it
MIGRATIONS: dict[int, Callable[[Body], Body]] = {1: _probe_and_metrics}


def migrated(body: Body, newest: int) -> Body:
    """A body of the newest format."""
    while body["format"] < newest:
        body = MIGRATIONS[body["format"]](body)
    return body
