"""The files of a bundle, looked at before any of them is read: names, links, kinds, sizes, hashes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from nlptl.errors import BundleError, listing

MANIFEST = "nlptl.json"

#: The page for people; nothing reads it, and whoever edits it on the Hub does the bundle no harm.
CARD = "README.md"

#: What a bundle may hold. A pickle is not among them, and code is read by nobody unless trust_remote_code says so.
KINDS = (".json", ".safetensors", ".skops", ".txt", ".model", ".jinja", ".spm", ".md", ".py")
#: Everything else than weights and heads is text of this size at most; the largest tokenizers have some 40 MB.
MAX_TEXT_BYTES = 128 << 20
#: A safetensors header is a list of names; the library refuses longer ones, too.
MAX_HEADER_BYTES = 100_000_000

#: Beside a bundle, and no part of it: what people and the Hub put there, which nothing here reads.
_BESIDE = re.compile(r"\..*|.*\.md|licen[sc]e.*|notice.*", re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-f]{64}")


def read_json(path: Path, most: int) -> Any:
    """A JSON file of a bounded size, without keys said twice."""
    size = path.stat().st_size
    if size > most:
        raise BundleError(f"{path}: received {size} bytes; expected at most {most}; save the learner again")
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path}: received a damaged file ({error}); expected valid JSON; save the learner again"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is said twice")
    return found


def check_names(folder: Path, said: Any) -> None:
    """The files that a manifest names: each inside the bundle, of a kind that it may hold, with its sha256."""
    if not isinstance(said, dict) or not all(isinstance(v, str) and _DIGEST.fullmatch(v) for v in said.values()):
        raise BundleError(
            f"{folder}: received a list of files without their sha256; expected one for each; save the learner again"
        )
    for name in said:
        _check_name(folder, name)


def check_files(folder: Path, said: dict[str, str]) -> None:
    """The files themselves: each there, as it was written, and none beside them that could be read in their place."""
    for name, digest in said.items():
        path = folder / name
        if name == CARD:
            continue
        if not path.is_file():
            raise BundleError(f"{path}: received a bundle without this file; expected it; copy the bundle again")
        _check_inside(folder, path)
        _check_size(path)
        if file_digest(path) != digest:
            raise BundleError(
                f"{path}: received a file that is not the one that was written; expected sha256 {digest}; "
                "copy the bundle again, or save the learner again"
            )
    strangers = unlisted(folder, said)
    if strangers:
        raise BundleError(
            f"{folder}: received files that its manifest does not name ({listing(strangers)}); expected none, for "
            "they could be read in the place of what was saved; take them away"
        )


def unlisted(folder: Path, listed: Iterable[str]) -> list[str]:
    """Files that no manifest names and that a library might read; what is known to lie beside a bundle is none."""
    known = {*listed, MANIFEST}
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir())
    return [name.as_posix() for name in names if name.as_posix() not in known and not _BESIDE.fullmatch(name.parts[0])]


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a folder, by its name inside."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def file_digest(path: Path) -> str:
    """sha256 of a file, read in parts."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _check_name(folder: Path, name: str) -> None:
    pure = PurePosixPath(name)
    inside = pure.parts and not pure.is_absolute() and ".." not in pure.parts and "." not in pure.parts
    if not name or not inside or "\\" in name or ":" in name or "\0" in name or pure.as_posix() != name:
        raise BundleError(
            f"{folder}: received the file name {name!r}; expected one inside the bundle; do not use this bundle"
        )
    if pure.suffix not in KINDS:
        raise BundleError(
            f"{folder}: received the file {name!r}; expected only {', '.join(KINDS)}: pickled weights can run code "
            "when they are read; convert them to safetensors, and save the learner again"
        )


def _check_inside(folder: Path, path: Path) -> None:
    """A link may not lead out; those of the Hub's cache lead from a snapshot to the blobs of the same repository."""
    real, home = path.resolve(), folder.resolve()
    blobs = home.parent.parent / "blobs"
    if real.is_relative_to(home) or (home.parent.name == "snapshots" and real.is_relative_to(blobs)):
        return
    raise BundleError(
        f"{path}: received a link to {str(real)!r}; expected files inside the bundle; do not use this bundle"
    )


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if path.suffix == ".safetensors":
        with path.open("rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
        if header > min(MAX_HEADER_BYTES, size):
            raise BundleError(
                f"{path}: received a header of {header} bytes in a file of {size}; expected one that fits in it; "
                "copy the bundle again"
            )
    elif path.suffix != ".skops" and size > MAX_TEXT_BYTES:
        raise BundleError(f"{path}: received {size} bytes; expected at most {MAX_TEXT_BYTES}; save the learner again")
