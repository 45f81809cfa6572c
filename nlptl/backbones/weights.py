"""The fingerprint of a checkpoint's weights, by which a bundle knows its base again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from nlptl.backbones.sources import Place, told
from nlptl.errors import BackboneError

_CHUNK = 1 << 24
#: A header is a list of names; the safetensors library refuses longer ones, too.
_MAX_HEADER = 100_000_000

#: Files with their size and the time they were written at: as long as these are the same, so are the weights in them.
Stamps = tuple[tuple[str, int, int], ...]


def fingerprint(place: Place) -> str:
    """sha256 over every tensor's name, type, shape and bytes, in the order of the names.

    It does not depend on how the weights are spread over files, nor on what else stands in a file's header.
    """
    return _digest(stamps(place))


def stamps(place: Place) -> Stamps:
    """The files that hold a checkpoint's weights, as they stand now."""
    return stamps_of(_files(place))


def stamps_of(files: Iterable[Path | str]) -> Stamps:
    """Files as they stand now; one that is gone has no size."""
    found = []
    for file in map(Path, files):
        there = file.stat() if file.is_file() else None
        found.append((str(file), -1, 0) if there is None else (str(file), there.st_size, there.st_mtime_ns))
    return tuple(found)


def _files(place: Place) -> list[Path]:
    if place.folder is not None:
        folder = place.folder
    else:
        from transformers.utils import cached_file

        with told(place):
            index = cached_file(
                place.name,
                "model.safetensors.index.json",
                revision=place.revision,
                local_files_only=place.offline,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
            single = index or cached_file(
                place.name, "model.safetensors", revision=place.revision, local_files_only=place.offline
            )
        folder = Path(single).parent
    listed = folder / "model.safetensors.index.json"
    if listed.is_file():
        names = set(json.loads(listed.read_text(encoding="utf-8"))["weight_map"].values())
    elif (folder / "model.safetensors").is_file():
        names = {"model.safetensors"}
    else:
        names = {file.name for file in folder.glob("*.safetensors")}
    if not names:
        raise BackboneError(f"received {place.name!r} without weights; expected *.safetensors; fetch it again")
    return [folder / name for name in sorted(names)]


@lru_cache(maxsize=64)
def _digest(files: Stamps) -> str:
    """The digest of these files as they stood: size and time are in the key: a changed file is read anew."""
    tensors: list[tuple[str, str, list[int], str, int, int]] = []
    for file, _, _ in files:
        for name, entry, start in _header(Path(file)):
            first, last = entry["data_offsets"]
            tensors.append((name, entry["dtype"], entry["shape"], file, start + first, last - first))
    digest = hashlib.sha256()
    for name, dtype, shape, file, start, length in sorted(tensors):
        digest.update(json.dumps([name, dtype, shape]).encode())
        with Path(file).open("rb") as stream:
            stream.seek(start)
            _feed(digest, stream, length)
    return digest.hexdigest()


def _header(file: Path) -> list[tuple[str, dict[str, Any], int]]:
    """The tensors that a safetensors file lists, and where its data begins."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > min(_MAX_HEADER, file.stat().st_size):
            raise BackboneError(
                f"received {str(file)!r} with a header of {size} bytes; expected one that fits in it; fetch it again"
            )
        header = json.loads(stream.read(size))
    return [(name, entry, 8 + size) for name, entry in header.items() if name != "__metadata__"]


def _feed(digest: Any, stream: BinaryIO, length: int) -> None:
    while length > 0:
        part = stream.read(min(length, _CHUNK))
        if not part:
            raise BackboneError(
                f"received {stream.name!r}, which ends too early; expected whole weights; fetch it again"
            )
        digest.update(part)
        length -= len(part)
