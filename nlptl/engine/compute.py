"""Where and how the work is done. What the user gives wins over the launcher's environment, that over the hardware."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from pathlib import Path

from nlptl.errors import OptionError, did_you_mean, listing

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
KERNELS = ("auto", "plain")
DEVICES = ("auto", "cpu", "cuda", "mps")
#: Words that a user may well write for `cache`, and that would make odd names of folders.
NO_FOLDERS = ("", "on", "off", "none", "true", "false", "yes", "no")


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
    cache : where frozen vectors are kept, so that none is computed twice: "auto" is the folder vectors of NLPTL_CACHE
        (of ~/.cache/nlptl where that is not set), or a folder of your own; False or None keeps none
    cache_gib : how large that folder may grow; the oldest vectors go first
    """

    device: str = "auto"
    precision: str = "auto"
    batch_tokens: int | str = "auto"
    kernels: str = "auto"
    progress: bool | str = "auto"
    gradient_checkpointing: bool = False
    trackers: tuple[str, ...] = ()
    cache: bool | str | Path | None = "auto"
    cache_gib: float = 2.0

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
                "'auto'; 2048 is what 'auto' takes on a CPU in float32."
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
        self._check_cache()

    def _check_cache(self) -> None:
        given = self.cache
        wrong = given is not None and not isinstance(given, bool | str | Path)
        if wrong or (isinstance(given, str) and given.casefold() in NO_FOLDERS):
            raise OptionError(
                f"Compute(cache=…): received {given!r}; expected 'auto', a folder's path or False; leave it at 'auto', "
                "or write False for none."
            )
        if not isinstance(given, bool) and given is not None and Path(given).expanduser().is_file():
            raise OptionError(
                f"Compute(cache=…): received {str(given)!r}, which is a file; expected a folder, new or old; "
                "name another."
            )
        size = self.cache_gib
        if isinstance(size, bool) or not isinstance(size, numbers.Real) or not 0 < size < float("inf"):
            raise OptionError(
                f"Compute(cache_gib=…): received {size!r}; expected a number above 0; leave it out for 2, or write "
                "cache=False for no cache."
            )
