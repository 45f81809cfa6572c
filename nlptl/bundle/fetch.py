"""A bundle from the Hub: one commit of it, the files that its manifest names, each whole, in the Hub's own cache."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptl.backbones.sources import hub_in_reach, quiet
from nlptl.bundle import manifest as manifests
from nlptl.bundle.commit import info_of, tree_of
from nlptl.bundle.files import CARD, file_digest
from nlptl.bundle.hub import AwayError, Target, Wire, check_repo_id, open_wire
from nlptl.bundle.manifest import MAX_BYTES, NAME, Manifest
from nlptl.bundle.placing import standing
from nlptl.errors import BundleError, Fault, HubError, OptionError

log = logging.getLogger("nlptl")

#: What a file may weigh that is no weights: the largest tokenizers have some 40 MB.
MAX_TEXT_BYTES = 256 << 20
MAX_HEAD_BYTES = 4 << 30

#: What is read where nlptl has written no manifest: other makers' checkpoints and adapters, without any pickle.
OTHERS = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
          "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "model.safetensors.index.json",
          "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")  # fmt: skip


@dataclass(frozen=True)
class Fetched:
    """A bundle that lies on this machine, and the commit of the Hub that it is, if it is one."""

    folder: Path
    commit: str | None = None


def fetch(source: str | Path, revision: str | None = None, *, sleep: Callable[[float], None] = time.sleep) -> Fetched:
    """The folder of a bundle: the one that is named, or that of a Hub id, downloaded where it is not there yet."""
    folder = standing(Path(source).expanduser())
    if folder.exists():
        if revision is not None:
            raise OptionError(
                f"Learner.load({str(source)!r}, revision={revision!r}): received a revision with a local folder; "
                "expected none, which only a Hub id has; leave it out"
            )
        return Fetched(folder)
    name = folder.as_posix()
    if folder.is_absolute() or name.count("/") != 1 or name.startswith("."):
        raise OptionError(
            f"Learner.load({str(source)!r}): received no folder of this machine; expected one that Learner.save wrote, "
            "or a Hub id as user/name; check the path"
        )
    target = Target(check_repo_id(name), revision)
    if not hub_in_reach():
        return _from_cache(target)
    try:
        return _download(open_wire(target, sleep), target)
    except AwayError as away:
        try:
            kept = _from_cache(target)
        except HubError:
            raise away from None
        log.warning("%s; going on with what was fetched before", away)
        return kept


def _download(wire: Wire, target: Target) -> Fetched:
    info = info_of(wire, target)
    if info is None:
        raise HubError(
            Fault(
                "a repository that is not there, or that you may not see, and no folder of that name",
                "a bundle that you can read",
                "check the spelling; for a private one run: hf auth login",
                str(target),
            )
        )
    commit = str(info.sha)
    files = tree_of(wire, target, commit)
    if NAME in files:
        _check_size(target, NAME, files[NAME].size, MAX_BYTES)
        folder = _get(wire, target, commit, NAME).parent
        manifest = _manifest(wire, target, commit, folder)
        _get_all(wire, target, commit, manifest, files)
    else:
        folder = _get_others(wire, target, commit, files)
    _remember(wire, target)
    log.info("%s is commit %s", target, commit)
    return Fetched(folder, commit)


def _manifest(wire: Wire, target: Target, commit: str, folder: Path) -> Manifest:
    """The manifest, fetched a second time where the one in the cache is damaged."""
    try:
        return manifests.read_page(folder)
    except BundleError:
        _get(wire, target, commit, NAME, again=True)
        return manifests.read_page(folder)


def _get_all(wire: Wire, target: Target, commit: str, manifest: Manifest, files: Mapping[str, Any]) -> None:
    """Every file that the manifest names, with the hash that it says; what the Hub has beside them is left there."""
    for name, said in manifest.files.items():
        if name not in files:
            if name == CARD:
                continue
            raise BundleError(
                Fault(f"a bundle without {name}", "every file that it names", "push it again", str(target))
            )
        _check_file(target, name, said, files[name])
    _check_room(target, [files[name] for name in manifest.files if name in files], _cache())
    for name, said in manifest.files.items():
        if name not in files:
            continue
        path = _get(wire, target, commit, name)
        if name != CARD and file_digest(path) != said:
            log.warning("%s: %s in the cache is not what was pushed; fetching it again", target, name)
            path = _get(wire, target, commit, name, again=True)
            if file_digest(path) != said:
                raise BundleError(
                    Fault(
                        f"{name}, which is not the file that was pushed",
                        f"sha256 {said}",
                        "do not use this bundle; whoever pushed it can push it again",
                        str(target),
                    )
                )


def _get_others(wire: Wire, target: Target, commit: str, files: Mapping[str, Any]) -> Path:
    """A checkpoint or an adapter that somebody else's tools made."""
    names = [name for name in files if name in OTHERS or ("/" not in name and name.endswith(".safetensors"))]
    if not any(name.endswith(".safetensors") for name in names):
        raise BundleError(
            Fault(
                f"a repository with neither {NAME} nor *.safetensors",
                "a bundle, a checkpoint or an adapter",
                "push one with nlptl push, or have its weights converted: pickles are never read",
                str(target),
            )
        )
    for name in names:
        _check_size(target, name, files[name].size, _limit(name))
    _check_room(target, [files[name] for name in names], _cache())
    paths = [_get(wire, target, commit, name) for name in names]
    return paths[0].parent


def _get(wire: Wire, target: Target, commit: str, name: str, *, again: bool = False) -> Path:
    """One file of a commit, from the cache or from the Hub; the client puts it there whole or not at all."""
    return Path(
        wire.patiently(
            f"fetching {name} of",
            target,
            lambda: wire.api.hf_hub_download(target.repo_id, name, revision=commit, force_download=again),
        )
    )


def _check_file(target: Target, name: str, said: str, entry: Any) -> None:
    """What the Hub tells of a file, before a byte of it is read."""
    _check_size(target, name, entry.size, _limit(name))
    if name != CARD and entry.lfs is not None and entry.lfs.sha256 != said:
        raise BundleError(
            Fault(
                f"{name}, which is not the file that was pushed",
                f"sha256 {said}",
                "do not use this bundle; whoever pushed it can push it again",
                str(target),
            )
        )


def _limit(name: str) -> int | None:
    if name.endswith(".safetensors"):
        return None  # as large as the model is: the disk is the limit
    return MAX_HEAD_BYTES if name.endswith(".skops") else MAX_TEXT_BYTES


def _check_size(target: Target, name: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise BundleError(Fault(f"{name} of {size} bytes", f"at most {limit}", "do not use this bundle", str(target)))


def _check_room(target: Target, entries: list[Any], cache: Path) -> None:
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    need, free = sum(entry.size for entry in entries), shutil.disk_usage(place).free
    if need > free:
        raise HubError(
            Fault(
                f"{need} bytes to fetch, and {free} free in {str(place)!r}", "room for them", "make room", str(target)
            )
        )


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _remember(wire: Wire, target: Target) -> None:
    """Let the client's cache know the commit of the branch, for a day without a network."""
    wire.patiently("looking it up", target, lambda: wire.api.resolve_revision(target.repo_id, revision=target.revision))


def _from_cache(target: Target) -> Fetched:
    """The bundle as it was last fetched; whole, or not at all."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    def missing(what: str) -> HubError:
        return HubError(
            Fault(
                f"{what}, and the Hub cannot be reached",
                "a network, or a bundle that was fetched before",
                "go online once, or name a folder",
                str(target),
            )
        )

    try:
        with quiet():
            folder = Path(
                snapshot_download(
                    target.repo_id, revision=target.revision, local_files_only=True, allow_patterns=[NAME]
                )
            )
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        raise missing("a bundle that is neither a folder here nor in the cache") from None
    if (folder / NAME).is_file():
        manifest = manifests.read_page(folder)
        lost = [name for name in manifest.files if name != CARD and not (folder / name).is_file()]
        if lost:
            raise missing(f"a bundle of which the cache lacks {lost[0]}")
    log.info("%s is commit %s, from the cache: the Hub was not asked", target, folder.name)
    return Fetched(folder, folder.name)
