"""What is computed in another way than torch and peft do it, to the same result; one file a matter.

`accelerated` is the one door: it holds for a run of the training loop, and leaves the model as it was. Each way has a
parity test against the plain one, which ``Compute(kernels="plain")`` takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from nlptl.engine.fast.adapters import fused_adapters
from nlptl.engine.fast.dropout import FastDropout
from nlptl.engine.runtime import Runtime


@contextlib.contextmanager
def accelerated(model: Any, runtime: Runtime) -> Iterator[dict[str, str]]:
    """The fast ways that serve this model on this machine, for as long as it is open; yields what was chosen."""
    chosen: dict[str, str] = {}
    if runtime.compute.kernels == "plain":
        yield {"kernels": "plain, as asked"}
        return
    with contextlib.ExitStack() as stack:
        adapters = stack.enter_context(fused_adapters(model))
        if adapters:
            chosen["adapters"] = f"{adapters} layers as one function each"
        if runtime.device.type == "cpu":
            # A GPU draws its masks in parallel: nothing is to be gained there.
            stack.enter_context(FastDropout())
            chosen["dropout"] = "masks of 16 random bits an element"
        yield chosen
