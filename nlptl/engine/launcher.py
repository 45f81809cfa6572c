"""What the launcher asks for: torchrun's and accelerate's environment, read once and checked before anything starts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from nlptl.errors import Faults, NlptlWarning, OptionError

#: Who says how many processes there are: torchrun, and the MPI launchers.
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")
LOCAL_SIZES = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_LOCAL_SIZE")

#: accelerate's word for a precision -> ours. Its "no" is what it says when nobody chose, so it chooses nothing here.
PRECISIONS = {"no": None, "bf16": "bf16", "fp16": "fp16"}

#: Ways of spreading a model that accelerate can be configured for, and that nlptl does not go.
REFUSED = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism_config (tensor or context parallel)",
}

SHARD_COMMAND = "accelerate launch --use_fsdp --fsdp_version 2 --num_processes 8 …"


@dataclass(frozen=True)
class Sharding:
    """How a model is spread over the processes.

    Parameters
    ----------
    layers : names of the classes that are gathered one at a time; () is each layer of the backbone
    reshard : give a layer's weights up again between its forward and its backward pass
    checkpointing : gradient checkpointing, which the launcher calls activation checkpointing
    """

    layers: tuple[str, ...] = ()
    reshard: bool = True
    checkpointing: bool = False


@dataclass(frozen=True)
class Launch:
    """What the environment asks of this process.

    Parameters
    ----------
    world, local : processes that were started together, and those of them on this machine
    precision : None where the launcher has none
    sharding : None where every process holds the whole model
    """

    world: int = 1
    local: int = 1
    precision: str | None = None
    sharding: Sharding | None = None


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """The environment's wishes; those that cannot be granted are refused, all in one message."""
    asked = os.environ if environment is None else environment
    faults = Faults()
    for name, what in REFUSED.items():
        if _flag(asked, name):
            faults.add(
                f"a launch with {what} ({name})", "DDP, or FSDP2 for a model too large for one device",
                f"use torchrun, or {SHARD_COMMAND}", "the launcher",
            )  # fmt: skip
    parts = _number(asked, ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS",))
    if parts > 1:
        faults.add(
            f"gradient_accumulation_steps={parts}", "none: batch_size is the rows of one optimiser step over all "
            "processes, and is cut into as many parts as Compute(batch_tokens=…) asks for",
            f"leave it out; where {parts} times the rows were meant, multiply batch_size", "the launcher",
        )  # fmt: skip
    said = asked.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if said not in PRECISIONS:
        faults.add(
            f"mixed_precision={said!r}", "one of 'no', 'bf16', 'fp16'", "choose one, or leave the choice to the "
            "hardware with 'no'", "the launcher",
        )  # fmt: skip
    sharding = _sharding(asked, faults) if _flag(asked, "ACCELERATE_USE_FSDP") else None
    faults.raise_if_any(OptionError)
    return Launch(_number(asked, SIZES), _number(asked, LOCAL_SIZES), PRECISIONS[said], sharding)


def warn_if_left_alone(environment: Mapping[str, str] | None = None) -> None:
    """Several processes were asked for, and this one was started without the others.

    ``accelerate launch --cpu --num_processes 2``, and a config of type MULTI_CPU, name a meeting place and then start a
    single process.
    """
    asked = os.environ if environment is None else environment
    met = "ACCELERATE_USE_CPU" in asked and "MASTER_PORT" in asked
    if met and not any(name in asked for name in SIZES):
        warn_once(
            "accelerate launch was asked for several processes and has started one: it does so with --cpu, with a "
            "config of type MULTI_CPU, and where it sees no GPU. The run goes on in this one, with the same numbers; "
            "for several on CPUs write torchrun --nproc-per-node 2 SCRIPT …"
        )


def warn_of_threads(launch: Launch, threads: int) -> None:
    """Processes that share a machine badly: torchrun gives each one thread, other launchers all cores to each."""
    cores = _cores()
    wanted = max(1, cores // launch.local)
    if launch.world > 1 and (threads > wanted or threads * 2 <= wanted):
        warn_once(
            f"{launch.local} processes of {threads} threads each share {cores} cores; each would best have {wanted}: "
            f"set OMP_NUM_THREADS={wanted} before the launcher (torchrun sets 1 where it is not set)"
        )


@cache
def warn_once(message: str) -> None:
    """A warning that belongs to the process, however many runs there are in it; the main process gives it."""
    if is_main():
        warnings.warn(message, NlptlWarning, stacklevel=3)


def is_main(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this is the only process, or the first of those that were started together."""
    asked = os.environ if environment is None else environment
    return next((asked[name] for name in RANKS if name in asked), "0") == "0"


def _sharding(asked: Mapping[str, str], faults: Faults) -> Sharding:
    if asked.get("FSDP_VERSION", "1") != "2":
        faults.add(
            f"FSDP version {asked.get('FSDP_VERSION', '1')}", "version 2, which is torch's fully_shard",
            "add --fsdp_version 2, or fsdp_version: 2 to the config", "the launcher",
        )  # fmt: skip
    for name, what, remedy in (
        ("FSDP_OFFLOAD_PARAMS", "weights kept on the CPU", "take more processes, or LoRA"),
        ("FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD", "activations kept on the CPU", "use activation checkpointing alone"),
    ):
        if _flag(asked, name):
            faults.add(f"{name.lower()} ({what})", "shards on the devices", f"leave it out; {remedy}", "the launcher")
    policy = asked.get("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP").upper()
    if policy == "SIZE_BASED_WRAP":
        faults.add(
            "fsdp_auto_wrap_policy SIZE_BASED_WRAP", "TRANSFORMER_BASED_WRAP: nlptl spreads a model layer by layer",
            "write that, or leave it out", "the launcher",
        )  # fmt: skip
    named = asked.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "")
    return Sharding(
        layers=tuple(name.strip() for name in named.split(",") if name.strip()),
        reshard=_flag(asked, "FSDP_RESHARD_AFTER_FORWARD", "true"),
        checkpointing=_flag(asked, "FSDP_ACTIVATION_CHECKPOINTING"),
    )


def _flag(asked: Mapping[str, str], name: str, default: str = "false") -> bool:
    return asked.get(name, default).strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _number(asked: Mapping[str, str], names: tuple[str, ...]) -> int:
    """The first of some variables that is a number; 1 where none is."""
    found = (asked.get(name, "") for name in names)
    return next((int(value) for value in found if value.isdigit()), 1)


def _cores() -> int:
    """The cores that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
