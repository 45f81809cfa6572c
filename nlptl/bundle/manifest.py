"""The manifest of a bundle: what it holds, of what, and the hash of every file."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nlptl._version import __version__
from nlptl.errors import BundleError

NAME = "nlptl.json"

#: The page for people; nothing reads it, and whoever edits it on the Hub does the bundle no harm.
CARD = "README.md"

#: Raised when an older nlptl could not read what a newer one writes.
FORMAT = 1

#: A manifest is a page of JSON; one of megabytes is none.
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Base:
    """The checkpoint that a bundle stands on, without a word of where it lay on somebody's disk."""

    id: str | None
    revision: str | None
    commit: str | None
    fingerprint: str
    model_type: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Parameters
    ----------
    task, mode : name and options
    labels : the label space
    kept : what the mode wants to know beside its files
    base : the checkpoint underneath
    files : sha256 of every other file of the bundle
    """

    task: dict[str, Any]
    mode: dict[str, Any]
    labels: dict[str, Any]
    kept: dict[str, Any]
    base: Base
    seed: int
    record: dict[str, Any]
    history: list[dict[str, float]]
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        (folder / NAME).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The manifest as it is written, its own hash in front."""
        body = json.dumps(asdict(self), sort_keys=True)
        return json.dumps({"sha256": _digest(body.encode()), "manifest": json.loads(body)}, indent=1) + "\n"


def read(folder: Path) -> Manifest:
    """The manifest of a folder, checked against its own hash and those of the files."""
    manifest = read_page(folder)
    _check_files(folder, manifest.files)
    return manifest


def read_page(folder: Path) -> Manifest:
    """The manifest of a folder, checked against its own hash alone: its files may not be there yet."""
    path = folder / NAME
    if not path.is_file():
        raise BundleError(
            f"{folder}: received a folder without {NAME}; expected one that Learner.save wrote; "
            "check the path, or save the learner again"
        )
    if path.stat().st_size > MAX_BYTES:
        size = path.stat().st_size
        raise BundleError(f"{path}: received {size} bytes; expected at most {MAX_BYTES}; save the learner again")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        body, said = document["manifest"], document["sha256"]
        version = int(body["format"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"{path}: received a damaged manifest ({error}); expected valid JSON; save the learner again"
        ) from None
    if version > FORMAT:
        needed = body.get("versions", {}).get("nlptl", "a newer version")
        raise BundleError(
            f"{path}: received format {version}, written by nlptl {needed}; expected format {FORMAT} or older; "
            f"install nlptl {needed} or later"
        )
    if _digest(json.dumps(body, sort_keys=True).encode()) != said:
        raise BundleError(
            f"{path}: received a manifest that is not the one that was written; expected sha256 {said}; "
            "restore the file, or save the learner again"
        )
    try:
        manifest = Manifest(**{**body, "base": Base(**body["base"])})
    except TypeError as error:
        raise BundleError(
            f"{path}: received a manifest of another shape ({error}); expected format {FORMAT}; save the learner again"
        ) from None
    _check_names(folder, manifest.files)
    return manifest


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a folder, by its name inside."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }


def file_digest(path: Path) -> str:
    """sha256 of a file, read in parts."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions of what was at work."""
    from importlib.metadata import version

    return {
        "nlptl": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: version(name) for name in ("torch", "transformers", "peft", "scikit-learn", "skops")},
    }


def _check_names(folder: Path, files: dict[str, str]) -> None:
    for name in files:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise BundleError(
                f"{folder}: received the file name {name!r}; expected one inside the bundle; do not use this bundle"
            )


def _check_files(folder: Path, files: dict[str, str]) -> None:
    for name, said in files.items():
        path = folder / name
        if name == CARD:
            continue
        if not path.is_file():
            raise BundleError(f"{path}: received a bundle without this file; expected it; copy the bundle again")
        if file_digest(path) != said:
            raise BundleError(
                f"{path}: received a file that is not the one that was written; expected sha256 {said}; "
                "copy the bundle again, or save the learner again"
            )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
