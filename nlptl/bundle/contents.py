"""What a bundle holds once it is opened, and what a checkpoint underneath one is known by."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptl.backbones import Backbone
from nlptl.bundle.manifest import Base
from nlptl.data.labels import LabelSpace
from nlptl.errors import BundleError, NlptlError
from nlptl.modes.base import Fitted, Mode
from nlptl.tasks.base import Array, Task

#: Files whose bytes make a tokenizer; two bundles that agree in them share one in memory.
_TOKENIZER = (".json", ".txt", ".model", ".jinja", ".spm")
_NO_TOKENIZER = ("nlptl.json", "probe.json", "adapter_config.json", "model.safetensors.index.json")

_TOKENIZERS: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


@dataclass
class Contents:
    """All that a learner knows."""

    task: Task
    mode: Mode
    space: LabelSpace
    fitted: Fitted
    backbone: Backbone
    seed: int
    record: dict[str, Any]
    history: list[dict[str, float]]
    #: of a learner that was loaded: the base it was trained on, which a full model's folder does not show
    base: Base | None = None


#: scores some probe inputs with what was saved, to be compared with what was loaded
Scorer = Callable[[Contents, Sequence[str]], list[Array]]


def base_of(backbone: Backbone) -> Base:
    """What a checkpoint is known by."""
    return Base(
        id=backbone.public_id,
        revision=backbone.revision,
        commit=backbone.commit,
        fingerprint=backbone.fingerprint(),
        model_type=backbone.family.name,
    )


def open_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of the day of training, from the bundle itself; held once for all bundles that have the same."""
    from transformers import AutoTokenizer

    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _TOKENIZER and path.name not in _NO_TOKENIZER:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    key = f"{digest.hexdigest()} {trust_remote_code}"
    known = _TOKENIZERS.get(key)
    if known is None:
        known = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trust_remote_code)
        _TOKENIZERS[key] = known
    return known


@contextmanager
def opening(folder: Path) -> Iterator[None]:
    """Whatever a library raises on a file of a bundle is told as one line with the folder's name."""
    try:
        yield
    except (NlptlError, MemoryError):
        raise
    except Exception as error:
        # tokenizers, safetensors, peft and skops each raise kinds of their own; the cause stays chained.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BundleError(
            f"{folder}: received files that cannot be opened ({type(error).__name__}: {first}); expected a whole "
            "bundle; copy it again, or save the learner again"
        ) from error
