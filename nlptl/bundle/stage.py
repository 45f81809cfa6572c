"""A bundle made ready for the Hub: its base by the name that it has there, its card for where it will be."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nlptl.bundle import bases, card
from nlptl.bundle.files import CARD, file_digest
from nlptl.bundle.hub import Target, Wire
from nlptl.bundle.manifest import Base, Manifest, hashes
from nlptl.errors import BundleError, Fault, OptionError

ADAPTER = "adapter_config.json"


def stage(folder: Path, aside: Path, manifest: Manifest, repo_id: str, base: Base) -> Manifest:
    """Put a bundle's files into an empty folder as they are to stand on the Hub; the bundle itself stays as it is."""
    for name in {*manifest.files, CARD}:
        place = aside / name
        place.parent.mkdir(parents=True, exist_ok=True)
        _lend(folder / name, place)
    _name_base(aside, base)
    staged = replace(manifest, base=base)
    if not _written_by_hand(folder, manifest):
        (aside / CARD).unlink(missing_ok=True)
        card.write(aside, staged, repo_id)
    staged = replace(staged, files=hashes(aside))
    staged.write(aside)
    return staged


def named_base(wire: Wire, base: Base, given: str | None) -> Base:
    """The base with the Hub id that the user gives it, proved by the fingerprint of its weights."""
    from nlptl.backbones import open_backbone
    from nlptl.backbones.sources import is_hub_id

    if given is None:
        return base
    if not is_hub_id(given) or Path(given).exists():
        raise OptionError(
            f"base_model={given!r}: received no Hub id; expected user/name of the base on the Hub; a folder of this "
            "machine means nothing to others"
        )
    target = Target(given)
    info = wire.patiently("looking up the base", target, lambda: wire.api.model_info(given, files_metadata=True))
    if not _same_file(info, bases.locate(base.fingerprint)):
        found = open_backbone(given, revision=info.sha).fingerprint()
        if found != base.fingerprint:
            raise BundleError(
                Fault(
                    f"a base whose weights have fingerprint {found[:12]}…",
                    f"the base it was trained on, {base.fingerprint[:12]}…",
                    "name that one, or leave base_model out",
                    f"base_model={given!r}",
                )
            )
    return replace(base, id=given, revision=None, commit=info.sha)


def _same_file(info: object, local: Path | None) -> bool:
    """Whether the base's one file of weights on the Hub is the local one; saves a download of gigabytes."""
    mine = local / "model.safetensors" if local is not None and local.is_dir() else None
    if mine is None or not mine.is_file():
        return False
    listed = {s.rfilename: s for s in getattr(info, "siblings", None) or ()}
    weights = [name for name in listed if name.endswith(".safetensors")]
    lfs = getattr(listed.get("model.safetensors"), "lfs", None)
    return weights == ["model.safetensors"] and lfs is not None and lfs.sha256 == file_digest(mine)


def _name_base(aside: Path, base: Base) -> None:
    """What plain peft opens must be the base of the manifest, at its commit."""
    path = aside / ADAPTER
    if not path.is_file():
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    named = {"base_model_name_or_path": base.id, "revision": base.commit if base.id else None}
    if all(config.get(key) == value for key, value in named.items()):
        return
    path.unlink()  # a link into the bundle, which is not to be changed
    path.write_text(json.dumps(config | named, indent=2, sort_keys=True), encoding="utf-8")


def _written_by_hand(folder: Path, manifest: Manifest) -> bool:
    """Whether somebody has changed the card since the bundle was saved: then it goes up as it is."""
    path = folder / CARD
    return path.is_file() and file_digest(path) != manifest.files.get(CARD)


def _lend(source: Path, place: Path) -> None:
    """The same file in a second place, without a second copy of gigabytes where that can be."""
    if source.name == CARD and not source.is_file():
        return
    with suppress(OSError):
        os.symlink(source.resolve(), place)
        return
    shutil.copyfile(source, place)
