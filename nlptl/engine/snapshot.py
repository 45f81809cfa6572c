"""The tensors of a run as a checkpoint holds them, and back: weights that learn, buffers, optimiser, best weights."""

from __future__ import annotations

from typing import Any

import torch

from nlptl.errors import TrainingError

Tensors = dict[str, torch.Tensor]


def learning(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    """The weights that learn; all others are the checkpoint's own, and need not be kept."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def take(model: Any, optimizer: Any, best: Tensors) -> Tensors:
    """All tensors that a run needs to go on."""
    found = {f"weight.{name}": p for name, p in learning(model)}
    for name, p in found.items():
        if not bool(torch.isfinite(p).all()):
            raise TrainingError(
                f"checkpoint: received {name.removeprefix('weight.')} with values that are no numbers; expected finite "
                "weights; nothing was written; lower the learning rate, or use Compute(precision='fp32')"
            )
    found |= {f"buffer.{name}": b for name, b in _running(model)}
    found |= {f"best.{name}": t for name, t in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{index}.{key}": torch.as_tensor(v) for key, v in state.items() if v is not None}
    return found


def put_back(model: Any, optimizer: Any, kept: Tensors) -> Tensors:
    """The state of `take`, back in its places; returns the best weights."""
    load_weights(model, _under("weight.", kept))
    buffers = dict(_running(model))
    for name, tensor in _under("buffer.", kept).items():
        buffers[name].copy_(tensor)
    state: dict[int, Tensors] = {}
    for name, tensor in _under("optimizer.", kept).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return _under("best.", kept)


def load_weights(model: Any, weights: Tensors) -> None:
    with torch.no_grad():
        for name, p in learning(model):
            p.copy_(weights[name])


def _running(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Buffers that training may change: those that are saved with a model, such as running means."""
    passing = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name in module._non_persistent_buffers_set
    }
    return [(name, b) for name, b in model.named_buffers() if name not in passing]


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
