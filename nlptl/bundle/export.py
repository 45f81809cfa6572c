"""A full model as ONNX, compared with itself before it counts as exported."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nlptl.backbones.sources import quiet
from nlptl.bundle import placing
from nlptl.bundle.contents import Contents
from nlptl.bundle.probe import PROBES
from nlptl.engine.items import collate
from nlptl.errors import BundleError, MissingExtraError, OptionError
from nlptl.modes.full import FullyTuned

MODEL = "model.onnx"
#: onnxruntime sums in another order than torch: logits may differ by this, relative where they are beyond 1.
TOLERANCE = 1e-4

FORMATS = ("onnx",)

#: A protobuf holds 2 GB; the weights of larger models go into a file beside it.
_MOST_IN_ONE_FILE = 1_500_000_000


def export(contents: Contents, folder: Path, to: str = "onnx") -> Path:
    """Write ``model.onnx``, config and tokenizer into a folder; rows and tokens may be as many as one likes."""
    _check(contents, to)
    placing.check_place(folder, MODEL)
    # A copy that stays on the CPU and computes attention by plain products, which every runtime knows.
    model = copy.deepcopy(contents.fitted.model).cpu().float().eval()  # type: ignore[attr-defined]
    model.set_attn_implementation("eager")
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False
    batches = [_batch(contents, PROBES), _batch(contents, PROBES[1:2])]
    with placing.aside(folder) as aside, quiet():
        _write(model, batches[0], aside / MODEL)
        _compare(model, batches, aside / MODEL)
        model.config.save_pretrained(aside)
        contents.backbone.tokenizer.save_pretrained(aside)
        placing.put(aside, folder)
    return folder


class _Logits(torch.nn.Module):
    """Ids and mask in, logits out: what an ONNX graph has room for."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _check(contents: Contents, to: str) -> None:
    import importlib.util

    if to not in FORMATS:
        raise OptionError(f"export(to={to!r}): received an unknown format; expected 'onnx'; choose it")
    if not isinstance(contents.fitted, FullyTuned):
        remedy = "merge it first" if contents.mode.name == "lora" else "its head is sklearn's: save it instead"
        raise OptionError(
            f"export: received a learner of mode {contents.mode.name!r}; expected a full or merged model; {remedy}"
        )
    pairs = contents.record.get("data", {}).get("inputs") == "pairs of texts"
    if pairs and (getattr(contents.backbone.config, "type_vocab_size", 0) or 0) > 1:
        raise OptionError(
            "export: received a learner of pairs of texts whose model reads token types; expected one of single texts, "
            "for the graph takes ids and mask alone; save it instead"
        )
    lacking = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if lacking:
        raise MissingExtraError(
            f"export: received no package {', '.join(lacking)}; expected what the extra 'onnx' installs; "
            "pip install nlptl[onnx]"
        )


def _batch(contents: Contents, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    size = contents.mode.window(contents.backbone)
    items = contents.task.prepare(contents.backbone, list(texts), size).items
    batch = collate(items, contents.backbone.pad_id)
    return {"input_ids": batch.ids, "attention_mask": batch.mask}


def _write(model: Any, inputs: dict[str, torch.Tensor], path: Path) -> None:
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    axes = {0: rows, 1: tokens}
    large = sum(p.numel() * p.element_size() for p in model.parameters()) > _MOST_IN_ONE_FILE
    with warnings.catch_warnings(), torch.no_grad(), _hushed("torch.onnx"):
        warnings.simplefilter("ignore")  # the exporter thinks aloud about its own deprecations
        torch.onnx.export(
            _Logits(model),
            (inputs["input_ids"], inputs["attention_mask"]),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(axes, axes),
            dynamo=True,
            external_data=large,
            verbose=False,
        )


@contextlib.contextmanager
def _hushed(name: str) -> Iterator[None]:
    """Without what a library logs below an error."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _compare(model: Any, batches: Sequence[dict[str, torch.Tensor]], path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for inputs in batches:
        with torch.inference_mode():
            ours = model(**inputs).logits.numpy()
        (theirs,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})
        real = inputs["attention_mask"].numpy().astype(bool)
        if ours.ndim == 3:
            ours, theirs = ours[real], theirs[real]  # what stands on padding is read by nobody
        gap = float((np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max())
        if not gap <= TOLERANCE:
            raise BundleError(
                f"export: received logits of the ONNX model that differ by {gap:.3g} from the model's own; expected at "
                f"most {TOLERANCE:g}; nothing was written; keep the model as it is"
            )
