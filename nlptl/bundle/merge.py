"""An adapter folded into its base: a plain full model that says the same."""

from __future__ import annotations

import copy
from dataclasses import fields, replace

import numpy as np
import torch

from nlptl.bundle.contents import Contents, Scorer, base_of
from nlptl.bundle.probe import PROBES
from nlptl.errors import BundleError, OptionError
from nlptl.modes.full import FullTuning, FullyTuned
from nlptl.modes.lora import Adapted, LoRA, quiet_peft

#: Adding the adapters to the weights rounds once more: logits may differ by this, relative where they are beyond 1.
TOLERANCE = 1e-4


def merged(contents: Contents, scorer: Scorer) -> Contents:
    """A full model that scores as the adapter does, compared in float32; the adapter's own weights stay as they are."""
    if not isinstance(contents.fitted, Adapted) or not isinstance(contents.mode, LoRA):
        raise OptionError(
            f"merge: received a learner of mode {contents.mode.name!r}; expected 'lora', whose adapters can be folded "
            "into its base; save this one as it is"
        )
    # A copy of every tensor: the base may be shared with other learners.
    adapted = copy.deepcopy(contents.fitted.model).float().eval()
    with quiet_peft(), torch.no_grad():
        model = adapted.merge_and_unload(safe_merge=False)
    model.requires_grad_(True)
    total = sum(p.numel() for p in model.parameters())
    fitted = FullyTuned(
        contents.backbone,
        history=list(contents.fitted.history),
        choices={**contents.fitted.choices, "merged": "adapters folded into the base, in fp32"},
        notes=list(contents.fitted.notes),
        model=model.eval(),
        trainable=total,
        total=total,
    )
    mode = FullTuning(**{f.name: getattr(contents.mode, f.name) for f in fields(FullTuning)})
    base = contents.base or base_of(contents.backbone)
    result = replace(contents, mode=mode, fitted=fitted, base=base, history=list(contents.history))
    _compare(contents, result, scorer)
    return result


def _compare(before: Contents, after: Contents, scorer: Scorer) -> None:
    worst = 0.0
    for old, new in zip(scorer(before, PROBES), scorer(after, PROBES), strict=True):
        if old.size:
            gap = float((np.abs(old - new) / np.maximum(1, np.abs(old))).max())
            worst = gap if not gap <= worst else worst  # a gap that is no number is the worst of all
    if not worst <= TOLERANCE:
        raise BundleError(
            f"merge: received logits of the merged model that differ by {worst:.3g} from the adapter's; expected at "
            f"most {TOLERANCE:g}, relative where they are beyond 1; keep the adapter: its numbers are too large to be "
            "added to the base's in float32"
        )
