"""The manifest of a bundle: what it holds, of what, and the hash of every file."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nlptl._version import __version__
from nlptl.bundle.files import MANIFEST, check_files, check_names, hashes, read_json
from nlptl.bundle.migrations import MIGRATIONS, migrated
from nlptl.errors import BundleError

NAME = MANIFEST

#: Raised when an older nlptl could not read what a newer one writes; `migrations` then gets a step.
FORMAT = 2

#: A manifest is a page of JSON; one of megabytes is none.
MAX_BYTES = 4 << 20

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

__all__ = ["FORMAT", "MAX_BYTES", "NAME", "Base", "Manifest", "hashes", "other_versions", "read", "versions"]


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
    fresh : modules that the base lacks and the bundle brings
    metrics : the last figures on held-out rows, where there were any
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
    fresh: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        (folder / NAME).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The manifest as it is written, its own hash in front."""
        body = json.loads(_canonical(_finite(asdict(self))))
        return json.dumps({"sha256": _digest(_canonical(body)), "manifest": body}, indent=1) + "\n"


def read(folder: Path) -> Manifest:
    """The manifest of a folder, checked against its own hash and those of the files."""
    manifest = read_page(folder)
    check_files(folder, manifest.files)
    return manifest


def read_page(folder: Path) -> Manifest:
    """The manifest of a folder, checked against its own hash alone: its files may not be there yet."""
    path = folder / NAME
    if not path.is_file():
        raise BundleError(
            f"{folder}: received a folder without {NAME}; expected one that Learner.save wrote; "
            "check the path, or save the learner again"
        )
    body = migrated(_checked(path, read_json(path, MAX_BYTES)), FORMAT)
    try:
        body["base"] = Base(**body["base"])
        manifest = Manifest(**body)
    except TypeError as error:
        raise BundleError(
            f"{path}: received a manifest of another shape ({error}); expected format {FORMAT}; save the learner again"
        ) from None
    _check_types(path, manifest)
    check_names(folder, manifest.files)
    return manifest


def versions() -> dict[str, str]:
    """The versions of what was at work."""
    from importlib.metadata import version

    return {
        "nlptl": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: version(name) for name in ("torch", "transformers", "peft", "scikit-learn", "skops")},
    }


def other_versions(said: dict[str, str]) -> str:
    """What was at work then and is of another version now, for an error that may come of it."""
    now = versions()
    told = [f"{name} {old} then, {now[name]} now" for name, old in said.items() if now.get(name, old) != old]
    return "; ".join(told) or "all versions are the same"


def _checked(path: Path, document: Any) -> dict[str, Any]:
    """The manifest's body, of a format that is known, and as it was written."""
    try:
        body, said = document["manifest"], document["sha256"]
        version = body["format"]
        needed = str((body.get("versions") or {}).get("nlptl", "a newer version"))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BundleError(
            f"{path}: received a damaged manifest ({error}); expected valid JSON; save the learner again"
        ) from None
    if isinstance(version, bool) or not isinstance(version, int) or version not in (FORMAT, *MIGRATIONS):
        newer = isinstance(version, int) and version > FORMAT
        remedy = f"install nlptl {needed} or later" if newer else "save the learner again"
        raise BundleError(
            f"{path}: received format {version!r}, written by nlptl {needed}; expected format {FORMAT} or older; "
            f"{remedy}"
        )
    try:
        same = _digest(_canonical(body, strict=version > 1)) == said
    except ValueError:
        raise BundleError(
            f"{path}: received a manifest with NaN or infinite numbers; expected finite ones; save the learner again"
        ) from None
    if not same:
        raise BundleError(
            f"{path}: received a manifest that is not the one that was written; expected sha256 {said}; "
            "restore the file, or save the learner again"
        )
    return dict(body)


def _check_types(path: Path, manifest: Manifest) -> None:
    """The kinds of JSON values that the fields are written as."""
    kinds = {"dict": dict, "list": list, "int": int, "Base": Base}
    for f in fields(manifest):
        value = getattr(manifest, f.name)
        kind = kinds[str(f.type).split("[")[0]]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BundleError(
                f"{path}: received {type(value).__name__} for {f.name!r}; expected {kind.__name__}; "
                "save the learner again"
            )
    base = asdict(manifest.base)
    for name, value in base.items():
        if not isinstance(value, str) and (value is not None or name in ("fingerprint", "model_type")):
            raise BundleError(
                f"{path}: received {value!r} for the base's {name}; expected text; save the learner again"
            )
    if base["id"] is not None and not _HUB_ID.fullmatch(base["id"]):
        raise BundleError(
            f"{path}: received {base['id']!r} as the base's Hub id; expected one as 'user/name', which no path is; "
            "do not use this bundle"
        )


def _finite(value: Any) -> Any:
    """JSON has no word for NaN: a metric that is none is null."""
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _canonical(body: Any, *, strict: bool = True) -> str:
    return json.dumps(body, sort_keys=True, allow_nan=not strict)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
