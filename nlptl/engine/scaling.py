"""The factor that keeps small float16 gradients from vanishing; in other precisions nothing is scaled."""

from __future__ import annotations

from typing import Any

import torch

from nlptl.engine.runtime import Runtime

#: A factor below this cannot be what made the gradients overflow.
SMALLEST = 1.0


class LossScale:
    """torch's GradScaler where the arithmetic is fp16, and no step in between where it is not."""

    def __init__(self, runtime: Runtime) -> None:
        self._scaler = torch.amp.GradScaler(runtime.device.type) if runtime.precision == "fp16" else None

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return loss if self._scaler is None else self._scaler.scale(loss)

    def unscale(self, optimizer: Any) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Any) -> None:
        """A step of the optimiser; one whose gradients overflowed is left out, and the factor made smaller."""
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()

    @property
    def may_overflow(self) -> bool:
        """Whether gradients that are no numbers may come of the factor alone, and pass."""
        return self._scaler is not None and self._scaler.get_scale() > SMALLEST

    def state(self) -> dict[str, Any]:
        return {} if self._scaler is None else dict(self._scaler.state_dict())

    def load(self, state: dict[str, Any]) -> None:
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)
