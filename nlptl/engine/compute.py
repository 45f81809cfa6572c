"""Where and how the work is done. What the user gives wins over the launcher's environment, that over the hardware."""

from __future__ import annotations

from dataclasses import dataclass

from nlptl.errors import OptionError, did_you_mean, listing

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
KERNELS = ("auto", "plain")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Compute:
    """How the work is done; "auto" chooses from the hardware, and the record says what was chosen.

    Parameters
    ----------
    device : "auto", "cpu", "cuda" (or "cuda:1"), "mps"
    precision : "auto", "fp32", "bf16", "fp16"; of the arithmetic, the weights that learn stay float32
    batch_tokens : padded tokens in one forward pass; a larger batch is accumulated in parts, with the same gradient
    kernels : "auto" takes the fast ways that serve (each gives what the plain one gives), "plain" none of them
    progress : show a bar: "auto" does on a terminal
    gradient_checkpointing : compute activations again in the backward pass instead of keeping them: less memory, more
        work; for models and texts that would not fit otherwise
    trackers : names of Accelerate's trackers ("tensorboard", "wandb", …) that are told of losses and metrics
    """

    device: str = "auto"
    precision: str = "auto"
    batch_tokens: int | str = "auto"
    kernels: str = "auto"
    progress: bool | str = "auto"
    gradient_checkpointing: bool = False
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OptionError(
                f"Compute(precision=…): received {self.precision!r}; expected one of {listing(PRECISIONS)}; "
                f"leave it at 'auto' to choose from the hardware.{did_you_mean(self.precision, PRECISIONS)}"
            )
        if self.device.split(":")[0] not in DEVICES:
            raise OptionError(
                f"Compute(device=…): received {self.device!r}; expected one of {listing(DEVICES)}, with a number where "
                f"there are several; leave it at 'auto' to choose.{did_you_mean(self.device, DEVICES)}"
            )
        if self.batch_tokens != "auto" and (not isinstance(self.batch_tokens, int) or self.batch_tokens < 1):
            raise OptionError(
                f"Compute(batch_tokens=…): received {self.batch_tokens!r}; expected a whole number of 1 or more, or "
                "'auto'; 4096 is what 'auto' takes on a CPU."
            )
        if self.kernels not in KERNELS:
            raise OptionError(
                f"Compute(kernels=…): received {self.kernels!r}; expected one of {listing(KERNELS)}; "
                f"leave it at 'auto', or compare with 'plain'.{did_you_mean(str(self.kernels), KERNELS)}"
            )
        if self.progress not in (True, False, "auto"):
            raise OptionError(
                f"Compute(progress=…): received {self.progress!r}; expected True, False or 'auto'; "
                "'auto' shows a bar on a terminal."
            )
        if not isinstance(self.gradient_checkpointing, bool):
            raise OptionError(
                f"Compute(gradient_checkpointing=…): received {self.gradient_checkpointing!r}; expected True or False; "
                "leave it out unless memory is short."
            )
        if isinstance(self.trackers, str):
            raise OptionError(
                f"Compute(trackers=…): received the string {self.trackers!r}; expected a tuple of names; "
                f"write trackers=({self.trackers!r},)."
            )
