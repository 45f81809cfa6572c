"""The code of a card, run as whoever copies it would run it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlptl.backbones.sources import quiet
from nlptl.modes.lora import quiet_peft
from tests.kit.cells import scores


def blocks(page: str) -> list[str]:
    """The blocks of Python of a card, in order."""
    return re.findall(r"```python\n(.*?)\n```", page, re.S)


def run(source: str, inputs: Sequence[Any], places: Mapping[str, str]) -> dict[str, Any]:
    """What a block leaves behind, with other inputs than its example's and with folders in the place of its names."""
    for name, place in places.items():
        source = source.replace(name, place)
    found: list[str] = []
    for line in source.splitlines():
        name = line.partition(" = ")[0]
        if name in ("texts", "sentences"):
            line = f"{name} = {list(inputs)!r}"
        elif name == "sentence":  # one of them, with the blank before it that the card gives it, if it gives one
            lead = " " if line.partition(" = ")[2][1:].startswith(" ") else ""
            line = f"sentence = {lead + ' '.join(inputs[0])!r}"
        found.append(line)
    namespace: dict[str, Any] = {"print": lambda *said: None}
    with quiet(), quiet_peft():
        exec("\n".join(found), namespace)
    return namespace


def check(page: str, learner: Any, inputs: Sequence[Any], places: Mapping[str, str], tolerance: float = 1e-5) -> int:
    """Every block of a card says what the learner says; how many there were."""
    found = blocks(page)
    for source in found:
        given = run(source, inputs, places)
        space = learner._known.space
        if "Learner.load" in source:
            assert _listed(given["found"]) == _listed(learner.predict(inputs))
        elif "pipeline" in source:
            _check_pipeline(given["found"], learner, inputs, tolerance)
        else:
            expected = scores(learner, inputs)
            expected = expected[0] if space.problem == "spans" else np.concatenate(expected)
            if space.problem == "regression":
                assert np.allclose(given["found"], learner.predict(inputs), atol=tolerance * 10)
            elif "chances" in given and space.problem != "multi":
                seen = expected[:, given["head"].classes_]  # a head knows the labels that its rows had
                np.testing.assert_allclose(np.log(given["chances"]), seen, atol=tolerance, rtol=tolerance)
            elif "logits" in given:
                np.testing.assert_allclose(given["logits"].numpy(), expected, atol=tolerance, rtol=tolerance)
            if space.problem in ("single", "spans"):
                assert list(given["found"]) == [space.names[k] for k in expected.argmax(-1)]
            elif space.problem == "multi":
                assert [set(row) for row in given["found"]] == [
                    {space.names[k] for k in np.flatnonzero(row)} for row in _as_rows(learner.predict(inputs), space)
                ]
    return len(found)


def page_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def _check_pipeline(found: Any, learner: Any, inputs: Sequence[Any], tolerance: float) -> None:
    space = learner._known.space
    if space.problem == "spans":
        assert all(set(entity) >= {"entity_group", "score", "start", "end"} for entity in found)
        return
    if space.problem == "regression":
        assert np.allclose(found, learner.predict(inputs), atol=tolerance * 10)
        return
    by_name = [{entry["label"]: entry["score"] for entry in row} for row in found]
    chances = [[row[name] for name in space.names] for row in by_name]
    np.testing.assert_allclose(chances, learner.predict_proba(inputs), atol=tolerance)


def _listed(predicted: Any) -> Any:
    return predicted.tolist() if hasattr(predicted, "tolist") else list(map(list, predicted))


def _as_rows(predicted: Any, space: Any) -> Any:
    if hasattr(predicted, "ndim"):
        return predicted
    return [[value in row for value in space.values] for row in predicted]
