"""Where bases lie on this machine, by fingerprint; kept in the cache, so that no bundle needs to tell a path."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path


def remember(fingerprint: str, folder: Path) -> None:
    """Note where a base was opened from; a cache that cannot be written is no fault of the user's."""
    path = _path()
    known = {**_known(), fingerprint: str(folder.resolve())}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(aside, path)


def locate(fingerprint: str) -> Path | None:
    """The folder that a base of this fingerprint was last opened from, if it is still there."""
    found = _known().get(fingerprint)
    return Path(found) if found and Path(found).exists() else None


def _known() -> dict[str, str]:
    try:
        known = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in known.items()} if isinstance(known, dict) else {}


def _path() -> Path:
    folder = os.environ.get("NLPTL_CACHE") or Path.home() / ".cache" / "nlptl"
    return Path(folder) / "bases.json"
