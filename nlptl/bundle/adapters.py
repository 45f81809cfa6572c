"""The config of an adapter, read before peft reads it: some of its words import modules or change the base."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from nlptl.bundle.files import read_json
from nlptl.errors import BundleError, listing

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MAX_BYTES = 16 << 20
#: Beyond the width of any layer; a rank is allocated before the weights are compared with it.
MAX_RANK = 8192

#: What an adapter may say. All else must be as peft has it by default: `megatron_config` imports a module by name, and
#: several ways to begin (PiSSA, LoftQ and their kin) rewrite the base's weights when they are loaded.
_MAY_VARY = {
    "task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r",
    "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "use_rslora", "use_dora",
    "modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "lora_bias",
    "runtime_config", "megatron_core", "qalora_group_size",
}  # fmt: skip


def read_config(folder: Path) -> dict[str, Any]:
    """What an adapter says of itself, where peft can be let read it."""
    said = read_json(folder / CONFIG, MAX_BYTES) if (folder / CONFIG).is_file() else None
    if not isinstance(said, dict):
        raise BundleError(f"{folder}: received no {CONFIG}; expected it beside the adapter; copy the bundle again")
    if said.get("peft_type") != "LORA" or said.get("task_type") not in ("SEQ_CLS", "TOKEN_CLS"):
        raise BundleError(
            f"{folder}: received an adapter of type {said.get('peft_type')!r} for {said.get('task_type')!r}; expected "
            "'LORA' for 'SEQ_CLS' or 'TOKEN_CLS'; open it with peft itself"
        )
    odd = sorted(name for name, value in said.items() if not _usual(name, value))
    ranks = [said.get("r"), *(said.get("rank_pattern") or {}).values()]
    if any(isinstance(r, bool) or not isinstance(r, int) or not 1 <= r <= MAX_RANK for r in ranks):
        odd.append("r")
    if odd:
        raise BundleError(
            f"{folder}: received an adapter whose {CONFIG} says {listing(odd)} otherwise than a plain LoRA; expected "
            "a plain one, which changes nothing but its layers' outputs; convert it with peft, or open it there"
        )
    if not (folder / WEIGHTS).is_file():
        raise BundleError(
            f"{folder}: received an adapter without {WEIGHTS}; expected it: a pickle (*.bin) can run code when it is "
            "read, so nlptl never reads one; convert it with peft, if you trust it: "
            "PeftModel.from_pretrained(base, folder).save_pretrained('converted')"
        )
    return said


def _usual(name: str, value: Any) -> bool:
    if name in _MAY_VARY or value in (None, False, {}, [], ""):
        return True
    if name == "init_lora_weights":
        return value in (True, "gaussian")
    return name in (usual := _defaults()) and value == usual[name]


def _defaults() -> dict[str, Any]:
    from peft import LoraConfig

    return {f.name: f.default for f in fields(LoraConfig) if f.default is not MISSING}
