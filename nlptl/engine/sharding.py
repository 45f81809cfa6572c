"""A model spread over the processes by torch's `fully_shard`; the whole one waits on the CPU and is filled again.

Each process holds its share of the weights, gradients and optimiser state of a twin. The model that everybody else
knows stays whole: it is filled from the shares after each epoch, is what predicts, and is what is saved, so that files
know nothing of how they were trained. What it costs is the whole model once more in the memory of each process's CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from nlptl.engine.launcher import Sharding
from nlptl.errors import OptionError, did_you_mean, listing


def shard(
    whole: torch.nn.Module, optimizer: torch.optim.Optimizer, device: torch.device, world: int, asked: Sharding
) -> torch.nn.Module:
    """A twin of a model, spread over the processes; the optimiser is turned to its weights."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    twin = copy.deepcopy(whole)
    mesh = init_device_mesh(device.type, (world,))
    for layer in _layers(twin, asked.layers):
        fully_shard(layer, mesh=mesh, reshard_after_forward=asked.reshard)
    fully_shard(twin, mesh=mesh)
    spread = dict(twin.named_parameters())
    twins = {p: spread[name] for name, p in whole.named_parameters()}
    for group in optimizer.param_groups:
        group["params"] = [twins[p] for p in group["params"]]
    return twin


@torch.no_grad()
def fill(whole: torch.nn.Module, twin: torch.nn.Module) -> None:
    """The whole model's weights from the shares of every process, one after the other; all processes must take part."""
    shares = dict(twin.named_parameters())
    for name, p in whole.named_parameters():
        if p.requires_grad:
            p.copy_(gathered(shares[name]))


@torch.no_grad()
def spread(whole: torch.nn.Module, twin: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The other way round: weights and optimiser state of a run that goes on, in the shares of every process."""
    shares = dict(twin.named_parameters())
    for name, p in whole.named_parameters():
        if p.requires_grad:
            shares[name].copy_(_spread_as(shares[name], p.detach()))
    for p, state in optimizer.state.items():
        optimizer.state[p] = {key: _spread_as(p, value) for key, value in state.items()}


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor whole, where it was spread over the processes; all of them must take part."""
    return tensor.full_tensor() if _is_spread(tensor) else tensor


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's share of a tensor; the tensor itself where it is whole."""
    return tensor.to_local() if _is_spread(tensor) else tensor


def _is_spread(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")


def _spread_as(like: Any, value: Any) -> Any:
    """Optimiser state in the shares of its weight; what is no tensor of its shape (a step count) stays whole."""
    if not isinstance(value, torch.Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def _layers(model: torch.nn.Module, names: tuple[str, ...]) -> Iterator[torch.nn.Module]:
    """The modules of the named classes, or each layer of the largest stack of them."""
    if names:
        kinds = {type(m).__name__ for m in model.modules()}
        for name in names:
            if name not in kinds:
                raise OptionError(
                    f"the launcher: received fsdp_transformer_layer_cls_to_wrap={name!r}, which is no class of this "
                    f"model; expected names among {listing(sorted(kinds))}; leave it out for each layer of the "
                    f"backbone.{did_you_mean(name, kinds)}"
                )
        # Inner ones first, as fully_shard wants them.
        yield from [m for m in model.modules() if type(m).__name__ in names][::-1]
        return
    stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    if stacks:
        yield from max(stacks, key=lambda stack: sum(p.numel() for p in stack.parameters()))
