"""Where a checkpoint comes from: a folder, a GGUF file or the Hub, and what is said when it cannot be had."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlptl.errors import BackboneError, Fault, NlptlError, OptionError, did_you_mean, redacted

#: `name` or `user/name`, as the Hub allows them.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


#: Seconds after which the Hub counts as out of reach.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Place:
    """Where transformers is to read: a folder of this machine, or a Hub id.

    `offline` is a Hub id while the Hub cannot be reached: only the local cache is asked, which answers at
    once, where huggingface_hub would try for some twenty seconds a file before it looked there.
    """

    name: str
    local: bool
    revision: str | None = None
    offline: bool = False

    @property
    def folder(self) -> Path | None:
        return Path(self.name) if self.local else None


def locate(source: str | os.PathLike[str], revision: str | None = None) -> Place:
    """Find out what a source is; a local path goes first, so nothing is asked of a network for a folder.

    A GGUF file is converted here, once, to a folder that is read in its place.
    """
    name = os.fspath(source)
    path = Path(name).expanduser()
    if path.exists():
        if revision is not None:
            raise OptionError(
                f"received revision={revision!r} with the local path {name!r}; expected no revision, "
                "which only a Hub id has; leave it out, or name the Hub id"
            )
        return Place(str(_readable_folder(path)), local=True)
    if _looks_like_path(name):
        raise BackboneError(_not_there(name, path))
    return Place(name, local=False, revision=revision, offline=not hub_in_reach())


def hub_in_reach() -> bool:
    """Whether the Hub is worth asking: the machine may be told not to, or nobody may answer there."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    if getproxies():
        return True  # a proxy may reach what we cannot
    endpoint = urlsplit(constants.ENDPOINT)
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
    try:
        socket.create_connection((endpoint.hostname or "", port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def is_hub_id(name: str) -> bool:
    """Whether a text has the form of a Hub id, ``name`` or ``user/name``."""
    return _HUB_ID.fullmatch(name) is not None and len(name) <= 193


def _looks_like_path(name: str) -> bool:
    return not _HUB_ID.fullmatch(name) or name.endswith((".gguf", ".safetensors", ".bin"))


def _not_there(name: str, path: Path) -> Fault:
    parent = next((above for above in path.parents if above.is_dir()), Path())
    near = did_you_mean(path.name, (p.name for p in parent.iterdir())) if parent == path.parent else ""
    return Fault(
        received=f"{name!r}, which is not there",
        expected="a folder with config.json and *.safetensors, a .gguf file, or a Hub id as 'gpt2'",
        remedy=f"check the path; the nearest folder that exists is {str(parent.absolute())!r}.{near}",
    )


def _readable_folder(path: Path) -> Path:
    """The folder that transformers can open for a path that exists, or a fault that says what it lacks."""
    from nlptl.backbones import gguf

    if path.is_file():
        if path.suffix != ".gguf":
            raise BackboneError(
                Fault(
                    f"the file {str(path)!r}",
                    "a checkpoint's folder, or a .gguf file",
                    f"name the folder it is in: {str(path.parent)!r}",
                )
            )
        return gguf.converted(path)
    if any(path.glob("*.safetensors")) and (path / "config.json").is_file():
        return path
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return gguf.converted(ggufs[0])
    raise BackboneError(_unreadable(path, ggufs))


def _unreadable(path: Path, ggufs: list[Path]) -> Fault:
    where = str(path)
    if ggufs:
        names = ", ".join(file.name for file in ggufs)
        return Fault(f"a folder with {len(ggufs)} GGUF files ({names})", "one", "name the file itself", where)
    if (path / "adapter_config.json").is_file():
        return Fault(
            "a folder with an adapter and no checkpoint",
            "the checkpoint that the adapter was trained on",
            "open it with Learner.load, or name its base checkpoint here",
            where,
        )
    if any(path.glob("*.bin")):
        return _pickled(where)
    if (path / "config.json").is_file():
        return Fault("a folder without weights", "*.safetensors beside config.json", "copy the weights there", where)
    return Fault(
        "a folder without a checkpoint",
        "config.json and *.safetensors in it",
        "name the checkpoint's folder",
        where,
    )


def _pickled(where: str) -> Fault:
    return Fault(
        "a checkpoint without *.safetensors",
        "*.safetensors: a pickle (*.bin) can run code when it is read, so nlptl never reads one",
        'if you trust it, convert it once: python -c "from transformers import AutoModel, AutoTokenizer as T'
        f"; s = {where!r}; AutoModel.from_pretrained(s).save_pretrained('converted'); "
        "T.from_pretrained(s).save_pretrained('converted')\"",
        where,
    )


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Turn what transformers and the Hub raise on opening a checkpoint into one line with a remedy."""
    import torch

    try:
        with quiet():
            yield
    except (NlptlError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # tokenizers and safetensors raise bare Exceptions of their own; the cause stays chained.
        raise BackboneError(_explained(place, error)) from error


def _explained(place: Place, error: Exception) -> Fault:
    from huggingface_hub import errors as hub

    chain = list(_causes(error))
    text = " ".join(str(link) for link in chain)
    shown = repr(place.name) + (f" at revision {place.revision!r}" if place.revision else "")
    first_line = redacted((str(error).strip().splitlines() or [type(error).__name__])[0])
    if "trust_remote_code" in text:
        return Fault(
            f"{shown}, which brings code of its own",
            "a checkpoint that transformers itself can open",
            "read that code; if you trust it, pass trust_remote_code=True",
        )
    if place.local:
        return Fault(
            f"a folder that cannot be opened ({first_line})",
            "a whole checkpoint",
            "fetch it again",
            place.name,
        )
    if any(isinstance(link, hub.GatedRepoError) for link in chain):
        return Fault(f"{shown}, which is gated", "access to it", "accept its terms on the Hub, then run: hf auth login")
    if any(isinstance(link, hub.RevisionNotFoundError) for link in chain):
        return Fault(f"{shown}, which it does not have", "a revision it has", "look it up on the Hub")
    if any(isinstance(link, hub.RepositoryNotFoundError) for link in chain) or "not a valid model identifier" in text:
        return Fault(
            f"{shown}, which is neither a path here nor a checkpoint on the Hub that you can see",
            "a local folder, a .gguf file, or a Hub id",
            "check the spelling; for a private one run: hf auth login",
        )
    if place.offline or _offline(chain):
        return Fault(
            f"{shown}, which is not a path here and not in the local cache, and the Hub cannot be reached",
            "a network, or a checkpoint that is on this machine",
            "go online once to fetch it, or name the path of a local folder or .gguf file",
        )
    if "pytorch_model.bin" in text or "model.safetensors" in text:
        return _pickled(place.name)
    # What the Hub's client raises on the wire comes from a package whose name changed with its version.
    if any(isinstance(link, hub.HfHubHTTPError.__mro__[1:2]) for link in chain):
        return Fault(
            f"{shown}, whose download failed ({first_line})",
            "a whole download",
            "try again: what has arrived is not fetched twice",
        )
    return Fault(f"{shown}, which cannot be opened ({first_line})", "a checkpoint for AutoModel", "try another one")


def _offline(chain: list[BaseException]) -> bool:
    from huggingface_hub import errors as hub

    kinds = (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError, ConnectionError, TimeoutError)
    return any(isinstance(link, kinds) for link in chain) or "couldn't connect" in str(chain[0])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' load reports and progress bars quiet: what they tell stands in our notes."""
    from transformers.utils import logging as hf_logging

    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels, bars = [logger.level for logger in loggers], hf_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            hf_logging.enable_progress_bar()


def pinned(place: Place) -> Place:
    """The same place with the commit that a branch or no revision stands for today.

    Config, tokenizer and weights are then of one commit, even if the branch moves in between. A local folder has none.
    """
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    if place.local:
        return place
    file = cached_file(place.name, "config.json", revision=place.revision, local_files_only=place.offline)
    return replace(place, revision=extract_commit_hash(file, None) or place.revision)


def json_in(place: Place, name: str) -> Any:
    """A JSON file that stands beside the weights, or None."""
    import json

    from transformers.utils import cached_file

    try:
        found = cached_file(
            place.name,
            name,
            revision=place.revision,
            local_files_only=place.offline,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except OSError:
        return None
    return json.loads(Path(found).read_text(encoding="utf-8")) if found else None
