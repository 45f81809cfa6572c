"""Adapters of plain peft and checkpoints fine-tuned elsewhere: opened as far as they tell what they are.

A bundle tells its labels, its window, its base's fingerprint and its thresholds, and brings a probe. These folders do
not; what is inferred is noted in the record, and what is lacking is warned of once.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nlptl.backbones import Backbone, open_backbone
from nlptl.bundle import bases
from nlptl.bundle.adapters import CONFIG as ADAPTER_CONFIG
from nlptl.bundle.adapters import WEIGHTS, read_config
from nlptl.bundle.contents import Contents, open_tokenizer, opening
from nlptl.bundle.described import check_tags
from nlptl.bundle.files import read_json
from nlptl.data.labels import LabelSpace
from nlptl.errors import BundleError, NlptlWarning
from nlptl.modes.full import FullTuning
from nlptl.modes.lora import LoRA
from nlptl.tasks.base import Task
from nlptl.tasks.classification import Classification
from nlptl.tasks.ner import NER
from nlptl.tasks.sentiment import WORDS, Sentiment

MAX_BYTES = 16 << 20

_LEVELS = {"SEQ_CLS": "sequence", "TOKEN_CLS": "token"}


def known(folder: Path) -> bool:
    """Whether this is an adapter of peft's or a checkpoint with a classification head."""
    return (folder / ADAPTER_CONFIG).is_file() or _level(folder) is not None


def load(folder: Path, base: Backbone | str | Path | None, *, trust_remote_code: bool) -> Contents:
    """A learner of what somebody else made, as far as it tells what it is."""
    with opening(folder):
        if (folder / ADAPTER_CONFIG).is_file():
            contents, notes = _adapter(folder, base, trust_remote_code)
        else:
            contents, notes = _checkpoint(folder, trust_remote_code)
    contents.record["notes"] = notes
    warnings.warn(f"{folder}: not made by nlptl: {'; '.join(notes)}", NlptlWarning, stacklevel=4)
    return contents


def _checkpoint(folder: Path, trust_remote_code: bool) -> tuple[Contents, list[str]]:
    backbone = open_backbone(folder, trust_remote_code=trust_remote_code)
    names = [str(name) for _, name in sorted(backbone.config.id2label.items())]
    task, space, notes = _inferred(folder, _level(folder) or "sequence", names, backbone.config.problem_type)
    # A decoder that was made to read both ways says so in its config.
    both_ways = backbone.family.bidirectional and getattr(backbone.config, "is_causal", None) is False
    mode = FullTuning(bidirectional=both_ways)
    fitted = mode.read(folder, {}, backbone, task, space)
    bases.remember(backbone.fingerprint(), folder)
    lacks = "no window (texts are windowed at the model's own), no probe to try it on, no hashes"
    return Contents(task, mode, space, fitted, backbone, 0, {}, []), [*notes, f"it has {lacks}"]


def _adapter(folder: Path, base: Backbone | str | Path | None, trust_remote_code: bool) -> tuple[Contents, list[str]]:
    said = read_config(folder)
    level = _LEVELS[said["task_type"]]
    backbone = _base(folder, base, said.get("base_model_name_or_path"), trust_remote_code)
    names, whence = _names(folder, said, backbone)
    task, space, notes = _inferred(folder, level, names, None)
    if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        backbone = replace(backbone, tokenizer=open_tokenizer(folder, trust_remote_code=trust_remote_code))
    else:
        notes.append("its tokenizer is the base's of today")
    targets = said.get("target_modules")
    mode = LoRA(
        rank=int(said["r"]),
        alpha=float(said["lora_alpha"]),
        targets="all-linear" if isinstance(targets, str) or not targets else tuple(sorted(targets)),
        variant="dora" if said.get("use_dora") else "rslora" if said.get("use_rslora") else "plain",
    )
    fresh = [str(name) for name in said.get("modules_to_save") or ()]
    fitted = mode.read(folder, {"fresh": _own(fresh, folder), "trainable": 0}, backbone, task, space)
    lacks = "no fingerprint of its base, no window (texts are windowed at the model's own), no probe, no hashes"
    return Contents(task, mode, space, fitted, backbone, 0, {}, []), [f"labels: {whence}", *notes, f"it has {lacks}"]


def _base(folder: Path, given: Backbone | str | Path | None, named: str | None, trust_remote_code: bool) -> Backbone:
    if isinstance(given, Backbone):
        return given
    source = given or named
    if source is None or (given is None and str(source).startswith(("/", ".", "~")) and not Path(source).is_dir()):
        raise BundleError(
            f"{folder}: received an adapter whose base ({named!r}) is not on this machine; expected to be told where "
            "it is; use Learner.load(…, backbone='folder or Hub id of the base')"
        )
    return open_backbone(str(source), trust_remote_code=trust_remote_code)


def _names(folder: Path, said: dict[str, Any], backbone: Backbone) -> tuple[list[str], str]:
    """The labels' names, where any file tells them; their number is that of the saved head's rows."""
    count = _rows_of_head(folder)
    for where, config in (
        ("config.json of the adapter", _config(folder)),
        ("config.json of the base", backbone.config.to_dict()),
    ):
        found = {int(i): str(name) for i, name in (config.get("id2label") or {}).items()}
        names = [name for _, name in sorted(found.items())]
        if len(names) == count and any(not name.startswith("LABEL_") for name in names):
            return names, f"from {where}"
    return [f"LABEL_{n}" for n in range(count)], "no file names them: they are called LABEL_0 and so on"


def _rows_of_head(folder: Path) -> int:
    """How many labels the saved head tells apart: the rows of its last weight."""
    from safetensors import safe_open

    with safe_open(str(folder / WEIGHTS), "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  no mapping
    for last in ("score.weight", "classifier.out_proj.weight", "classifier.weight", "logits_proj.weight"):
        for name, shape in shapes.items():
            if name.removeprefix("base_model.model.").replace("modules_to_save.default.", "") == last:
                return int(shape[0])
    raise BundleError(
        f"{folder}: received an adapter without its head (there is no score or classifier in it); expected the head "
        "that was trained with it; without it every answer would be random; train again with "
        "modules_to_save=['classifier']"
    )


def _own(fresh: Sequence[str], folder: Path) -> list[str]:
    """The modules that the adapter says it brings, if it really does."""
    from safetensors import safe_open

    with safe_open(str(folder / WEIGHTS), "pt") as file:
        names = [f".{name}." for name in file.keys()]  # noqa: SIM118  no mapping
    return [module for module in fresh if any(f".{module}." in name for name in names)]


def _inferred(
    folder: Path, level: str, names: list[str], problem_type: str | None
) -> tuple[Task, LabelSpace, list[str]]:
    """Task and labels, from the level of the head and the labels' names."""
    if level == "token":
        try:
            check_tags(names)
        except ValueError as error:
            raise BundleError(
                f"{folder}: received {error}; expected BIO tags, by which entities are found; name them in id2label of "
                "its config.json (of the base's for an adapter), or open it with transformers"
            ) from None
        return NER(), LabelSpace("spans", tuple(names), tuple(names), "tags", scheme="BIO"), ["task: NER, tags are BIO"]
    if problem_type == "regression" or len(names) == 1:
        space = LabelSpace("regression", ("stars",), low=0.0, high=0.0)
        notes = ["task: a number a text; the range of its numbers is not known, so that polarity cannot be told"]
        return Sentiment(scale="stars"), space, notes
    if problem_type == "multi_label_classification":
        space = LabelSpace("multi", tuple(names), tuple(names), "lists")
        return Classification(multi_label=True), space, ["task: several labels a text, each from a probability of 0.5"]
    space = LabelSpace("single", tuple(names), tuple(names))
    order = [WORDS.get(name.strip().casefold()) for name in names]
    if None not in order and order == sorted(set(order)):  # type: ignore[type-var]
        return Sentiment(), space, ["task: sentiment, by the names of the labels"]
    return Classification(), space, ["task: one label a text"]


def _config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / "config.json", MAX_BYTES) if (folder / "config.json").is_file() else {}
    return found if isinstance(found, dict) else {}


def _level(folder: Path) -> str | None:
    """Sequence or token, as the name of the class in config.json ends; None for a bare checkpoint."""
    made = str((_config(folder).get("architectures") or [""])[0])
    return (
        next((level for level in ("Sequence", "Token") if made.endswith(f"For{level}Classification")), "").lower()
        or None
    )
