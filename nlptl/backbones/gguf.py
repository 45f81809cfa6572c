"""A GGUF file, converted once to a safetensors folder that everything else can read."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from contextlib import nullcontext, redirect_stderr
from pathlib import Path

from nlptl.errors import BackboneError, Fault, MissingExtraError


def cache_root() -> Path:
    """Where nlptl keeps what can be made again: ``NLPTL_CACHE``, or a folder of the user's cache."""
    named = os.environ.get("NLPTL_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "nlptl"


def converted(file: Path) -> Path:
    """The safetensors folder of a GGUF file; made once, found by the file's content afterwards."""
    folder = cache_root() / "gguf" / sha256(file)
    if (folder / "config.json").is_file():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError(
            f"received the GGUF file {str(file)!r}; expected the package gguf, which reads it; pip install nlptl[gguf]"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and moved there whole: a killed conversion leaves no half of a checkpoint
    # behind.
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        _convert(file, making)
        try:
            making.rename(folder)
        except OSError:
            # Another process was faster, with the same content.
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from nlptl.backbones.sources import quiet

    where = {"gguf_file": file.name}
    # transformers counts the tensors on stderr, whoever reads it: half a minute's news for a person, noise in
    # a log.
    hushed = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    try:
        with quiet(), hushed:
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **where)
            # float32 holds every dequantised value exactly; half precision would round them a second time.
            model = AutoModel.from_pretrained(str(file.parent), dtype=torch.float32, **where)
    except Exception as error:
        # The reader takes the file apart by struct and index, and raises what these raise; the cause stays
        # chained.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            Fault(
                f"a GGUF file that transformers cannot read ({reason})",
                "a GGUF file of an architecture that transformers converts (Llama, Qwen2, Mistral, GPT-2, …)",
                "use the model's safetensors checkpoint",
                str(file),
            )
        ) from error
    # The weights are plain numbers by now; transformers refuses to save while the config says otherwise.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def sha256(file: Path) -> str:
    """The digest of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
