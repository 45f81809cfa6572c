"""LoRA through peft: thin adapters learn, and every module that the checkpoint lacked."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch

from nlptl.backbones import Backbone, Opened
from nlptl.data.labels import LabelSpace
from nlptl.errors import BundleError, Fault, Faults, OptionError, did_you_mean, listing
from nlptl.modes.base import Fitted, Job
from nlptl.modes.gradient import Gradient, Tuned
from nlptl.tasks.base import Task

Variant = Literal["plain", "dora", "rslora", "pissa", "olora"]

#: These change the base's weights at the start, and are turned into plain adapters at the end.
MUTATING: tuple[Variant, ...] = ("pissa", "olora")


@dataclass(frozen=True)
class LoRA(Gradient):
    """Low-rank adapters on a frozen backbone.

    Parameters
    ----------
    rank : of the adapters
    alpha : their scale; None is twice the rank
    lora_dropout : before the adapters; it costs a good part of the speed and helps little data most
    targets : "all-linear", or the names of the modules to adapt, each of which must match
    variant : "plain", "dora", "rslora", "pissa", "olora"
    """

    rank: int = 8
    alpha: float | None = None
    lora_dropout: float = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    variant: Variant = "plain"

    name: ClassVar[str] = "lora"

    def __post_init__(self) -> None:
        super().__post_init__()
        faults = Faults()
        if not isinstance(self.rank, int) or self.rank < 1:
            faults.add(repr(self.rank), "a whole number of 1 or more", "8 is a good start", "LoRA(rank=…)")
        if not 0 <= self.lora_dropout < 1:
            faults.add(repr(self.lora_dropout), "a number from 0 to below 1", "leave it out", "LoRA(lora_dropout=…)")
        if self.alpha is not None and self.alpha <= 0:
            faults.add(repr(self.alpha), "a number above 0", "leave it out for twice the rank", "LoRA(alpha=…)")
        if self.variant not in get_args(Variant):
            known = get_args(Variant)
            faults.add(
                repr(self.variant), f"one of {listing(known)}", f"choose one.{did_you_mean(self.variant, known)}",
                "LoRA(variant=…)",
            )  # fmt: skip
        if isinstance(self.targets, str) and self.targets != "all-linear":
            faults.add(
                repr(self.targets), "'all-linear' or a tuple of names", f"write targets=({self.targets!r},)",
                "LoRA(targets=…)",
            )  # fmt: skip
        faults.raise_if_any(OptionError)

    def default_rate(self, width: int) -> float:
        # Adapters want several times the rate of full fine-tuning, and depend less on the width.
        return 1e-3 * min(1.0, (384 / width) ** 0.5)

    def adapt(self, opened: Opened, job: Job) -> tuple[Any, dict[str, str]]:
        check_targets(self.targets, opened)
        config = self._config(opened, job.task.level)
        if self.variant == "olora" and config.fan_in_fan_out:
            raise OptionError(
                "LoRA(variant='olora'): received a backbone of transposed layers (GPT-2's Conv1D), which peft cannot "
                "start this way; expected plain linear layers; use 'pissa', 'rslora', 'dora' or 'plain'"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            model = wrap(opened.model, config)
        adapted = [name for name, m in model.named_modules() if hasattr(m, "lora_A") and len(m.lora_A)]
        if not adapted:
            raise OptionError(
                f"LoRA(targets={self.targets!r}): received names that match no module; expected at least one linear "
                f"layer; use 'all-linear'. There are: {listing(linear_names(opened.model))}"
            )
        return model, {
            "lora": f"rank {self.rank}, alpha {config.lora_alpha:g}, {self.variant}, {len(adapted)} modules",
            "fresh_modules": ", ".join(opened.fresh) or "none",
        }

    def finish(self, model: Any, job: Job) -> Any:
        if self.variant not in MUTATING:
            return model
        return self._as_plain(model, job)

    def fitted(self, backbone: Backbone, model: Any) -> Tuned:
        return Adapted(backbone, model=model)

    def read(self, folder: Path, kept: dict[str, Any], backbone: Backbone, task: Task, space: LabelSpace) -> Fitted:
        from peft import PeftModel

        opened = self.open(backbone, task, space, seed=0)
        unsaved = sorted(set(opened.fresh) - set(kept["fresh"]))
        if unsaved:
            raise BundleError(
                f"{folder}: received an adapter without {', '.join(unsaved)}, which its base lacks as well; expected "
                "every fresh module in it; load it on the base it was trained on"
            )
        with quiet_peft():
            model = PeftModel.from_pretrained(opened.model, str(folder), is_trainable=False)
        fitted = Adapted(backbone, model=model.eval())
        fitted.total = sum(p.numel() for p in model.parameters())
        fitted.trainable = kept["trainable"]
        return fitted

    def _config(self, opened: Opened, level: str, *, rank: int | None = None, plain: bool = False) -> Any:
        from peft import LoraConfig, TaskType

        whole = learning_whole(opened)
        mutating = {} if plain or self.variant not in MUTATING else {"init_lora_weights": self.variant}
        scale = (2.0 * self.rank if self.alpha is None else self.alpha) * ((rank or self.rank) / self.rank)
        return LoraConfig(
            task_type=TaskType.TOKEN_CLS if level == "token" else TaskType.SEQ_CLS,
            r=rank or self.rank,
            lora_alpha=scale,
            lora_dropout=0.0 if plain else self.lora_dropout,
            target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
            exclude_modules=whole,
            modules_to_save=whole,
            use_dora=self.variant == "dora",
            use_rslora=self.variant == "rslora",
            fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in opened.model.modules()),
            **mutating,
        )

    def _as_plain(self, model: Any, job: Job) -> Any:
        """A plain adapter of twice the rank that says the same on the untouched base.

        The run began at W' = W - s·B₀A₀ and learnt s·BA on top; on W that is s·(BA - B₀A₀), the adapter of [A; A₀] and
        [B, -B₀].
        """
        first = self._started(job)
        opened = self.open(job.backbone, job.task, job.space, job.seed)
        plain = wrap(opened.model, self._config(opened, job.task.level, rank=2 * self.rank, plain=True))
        trained = dict(model.named_parameters())
        with torch.no_grad():
            for name, weight in plain.named_parameters():
                if ".lora_A." in name:
                    weight.copy_(torch.cat([trained[name], first[name].to(weight.device)], 0))
                elif ".lora_B." in name:
                    weight.copy_(torch.cat([trained[name], -first[name].to(weight.device)], 1))
                elif ".modules_to_save." in name:
                    weight.copy_(trained[name])
        return plain.eval()

    def _started(self, job: Job) -> dict[str, torch.Tensor]:
        """The adapters as they were before the first step: drawn again, from the same seed and base."""
        opened = self.open(job.backbone, job.task, job.space, job.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            model = wrap(opened.model, self._config(opened, job.task.level))
        return {name: p.detach() for name, p in model.named_parameters() if ".lora_" in name}


@dataclass
class Adapted(Tuned):
    """A peft model: the base, its adapters, and the fresh modules."""

    def write(self, folder: Path) -> dict[str, Any]:
        with quiet_peft():
            self.model.save_pretrained(str(folder), safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # peft's own card; ours is written with the bundle
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        # Where the base lay on this machine is nobody's business and true nowhere else.
        config["base_model_name_or_path"] = self.backbone.public_id
        config["revision"] = self.backbone.commit if self.backbone.public_id else None
        for name in ("modules_to_save", "target_modules"):  # sets, in orders and with repeats that say nothing
            if isinstance(config[name], list):
                config[name] = sorted(set(config[name]))
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
        self.backbone.tokenizer.save_pretrained(folder)
        return {"fresh": sorted(config.get("modules_to_save") or ()), "trainable": self.trainable}


def wrap(model: Any, config: Any) -> Any:
    """A peft model around a transformers model."""
    from peft import get_peft_model

    with quiet_peft():
        return get_peft_model(model, config)


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Without what peft says on every call of things that a user can do nothing about."""
    with warnings.catch_warnings():
        # transformers has moved the attribute that peft still asks for.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        # peft offers to look up the vocabulary of the base on the Hub; the bundle keeps the tokenizer instead.
        warnings.filterwarnings("ignore", message="Could not find a config file in.*")
        yield


def learning_whole(opened: Opened) -> list[str]:
    """Modules that learn without an adapter: the fresh ones, and the last layer of a head that was loaded.

    peft lets a last layer of these two names learn whole in any case, and fails where an adapter is asked for as well.
    """
    return list(dict.fromkeys((*opened.fresh, *(name for name in opened.head if name in ("classifier", "score")))))


def linear_names(model: Any) -> list[str]:
    """The last parts of the names of the layers that can be adapted."""
    kinds = ("Linear", "Conv1D")
    return sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if type(m).__name__ in kinds})


def check_targets(targets: str | tuple[str, ...], opened: Opened) -> None:
    """Each named target must match; one wrong name among right ones would otherwise pass in silence."""
    if isinstance(targets, str):
        return
    names = [name for name, _ in opened.model.named_modules()]
    faults = Faults()
    for target in targets:
        inside = [n for n in names if n == target or n.endswith(f".{target}")]
        fresh = [n for n in inside if any(n == f or n.endswith(f".{f}") for f in opened.fresh)]
        where = "LoRA(targets=…)"
        linear = linear_names(opened.model)
        if not inside:
            faults.add(
                f"{target!r}, which matches no module",
                f"names among {listing(linear)}",
                f"correct it, or use 'all-linear'.{did_you_mean(target, linear)}",
                where,
            )
        elif len(fresh) == len(inside):
            faults.extend(
                [
                    Fault(
                        f"{target!r}, a fresh module, which learns whole",
                        f"names among {listing(linear)}",
                        "leave it out",
                        where,
                    )
                ]
            )
    faults.raise_if_any(OptionError)
