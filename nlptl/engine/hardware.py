"""What this machine can do: devices, and the precision that they multiply fastest."""

from __future__ import annotations

import torch

from nlptl.errors import OptionError


def named_device(wanted: str, world: int) -> torch.device:
    """The device that the user named, if it is there."""
    kind, _, number = wanted.partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[kind]
    if not there:
        raise OptionError(
            f"Compute(device=…): received {wanted!r}, which this machine or this build of torch does not have; "
            "expected a device that is there; leave it at 'auto', or use 'cpu'."
        )
    if number and world > 1:
        raise OptionError(
            f"Compute(device=…): received {wanted!r} in {world} processes, which would all use that one device; "
            f"expected a device for each; use {kind!r}, or leave it at 'auto'."
        )
    return torch.device(wanted)


def fastest(device: torch.device) -> str:
    """bf16 where the hardware multiplies it; where it is emulated, fp32 is the faster one."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """AMX or AVX512-BF16; the probe is private in torch, so its absence means no."""
    probes = (getattr(torch.cpu, "_is_amx_tile_supported", None), getattr(torch.cpu, "_is_avx512_bf16_supported", None))
    return any(bool(probe()) for probe in probes if probe is not None)
