"""Writing and reading a bundle: aside, flushed, checked by loading it again, and only then put in its place."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nlptl import modes, tasks
from nlptl.backbones import Backbone, open_backbone
from nlptl.bundle import bases, card
from nlptl.bundle.manifest import NAME, Base, Manifest, hashes, read, versions
from nlptl.data.labels import LabelSpace, plain
from nlptl.engine.checkpoint import flush
from nlptl.errors import BundleError, NlptlWarning
from nlptl.modes.base import Fitted, Mode
from nlptl.tasks.base import Array, Task

#: Loaded and saved learners must score these alike; texts of ours, so that no bundle carries a user's.
PROBES = (
    "The train from Lisbon arrives at nine, if it arrives at all.",
    "Not bad!",
    "Ada Lovelace wrote to Charles Babbage about the engine, and he wrote back the same week.",
)


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


def save(contents: Contents, folder: Path, scorer: Scorer, *, trust_remote_code: bool = False) -> None:
    """Write a bundle, load it again, compare its scores, and put it where it belongs."""
    check_place(folder)
    aside = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        kept = contents.fitted.write(aside)
        manifest = Manifest(
            task=_named(contents.task),
            mode=_named(contents.mode),
            labels=contents.space.to_dict(),
            kept=kept,
            base=contents.base or _base(contents.backbone),
            seed=contents.seed,
            record=contents.record,
            history=contents.history,
            versions=versions(),
        )
        card.write(aside, manifest)
        manifest = replace(manifest, files=hashes(aside))
        manifest.write(aside)
        again = load(aside, base=contents.backbone, trusted=_all_types(aside), trust_remote_code=trust_remote_code)
        _compare(scorer(contents, PROBES), scorer(again, PROBES), folder)
        for path in aside.rglob("*"):
            flush(path)
        _put(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if contents.backbone.local is not None:
        bases.remember(manifest.base.fingerprint, contents.backbone.local)


def load(
    folder: Path,
    *,
    base: Backbone | str | Path | None = None,
    trusted: Sequence[str] = (),
    allow_base_drift: bool = False,
    trust_remote_code: bool = False,
) -> Contents:
    """Read a bundle: hashes first, then the base it stands on, then what was learnt."""
    manifest = read(folder)
    task, mode, space = _described(folder, manifest)
    if mode.name == "full":
        backbone = open_backbone(str(folder), trust_remote_code=trust_remote_code)
    else:
        backbone = _open_base(manifest.base, base, folder, allow_base_drift, trust_remote_code)
        backbone = replace(backbone, tokenizer=open_tokenizer(folder))
    kept = {**manifest.kept, "trusted": list(trusted)}
    fitted = mode.read(folder, kept, backbone, task, space)
    return Contents(
        task, mode.as_fitted(fitted), space, fitted, backbone, manifest.seed, manifest.record, manifest.history,
        base=manifest.base,
    )  # fmt: skip


def _described(folder: Path, manifest: Manifest) -> tuple[Task, Mode, LabelSpace]:
    """Task, mode and labels as the manifest tells them; what cannot be is told with the folder's name."""
    try:
        task = _revive(manifest.task, tasks.resolve, tasks.names())
        mode = _revive(manifest.mode, modes.resolve, list(modes.classes()))
        return task, mode, LabelSpace.from_dict(manifest.labels)
    except (TypeError, ValueError, KeyError) as error:
        raise BundleError(
            f"{folder}: received a manifest that describes no learner ({error}); expected one that Learner.save wrote; "
            "restore it, or save the learner again"
        ) from error


def base_source(base: Base | None) -> tuple[str | None, str | None]:
    """Where a base can be opened from again: this machine's folder of it, or its Hub id and commit, or neither."""
    if base is None:
        return None, None
    place = bases.locate(base.fingerprint)
    return (base.id, base.commit or base.revision) if place is None else (str(place), None)


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer of the day of training, from the bundle itself."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def _open_base(
    base: Base, given: Backbone | str | Path | None, folder: Path, allow_drift: bool, trust_remote_code: bool
) -> Backbone:
    if isinstance(given, Backbone):
        return given  # the one it was trained on, in this very process
    source = given or bases.locate(base.fingerprint) or base.id
    if source is None:
        raise BundleError(
            f"{folder}: received a bundle whose base ({base.model_type}, fingerprint {base.fingerprint[:12]}…) was "
            "opened from a local folder that this machine does not know; expected to be told where it is; "
            "use Learner.load(…, backbone='folder of the base')"
        )
    revision = (base.commit or base.revision) if source == base.id else None  # a folder has none
    backbone = open_backbone(str(source), revision=revision, trust_remote_code=trust_remote_code)
    found = backbone.fingerprint()
    if found != base.fingerprint:
        said = (
            f"{folder}: received a base ({source}) whose weights have fingerprint {found[:12]}…; expected the base it "
            f"was trained on, {base.fingerprint[:12]}…"
        )
        if not allow_drift:
            raise BundleError(f"{said}; give that base, or allow_base_drift=True to go on with this one")
        warnings.warn(f"{said}; going on, as allow_base_drift=True asks", NlptlWarning, stacklevel=4)
    return backbone


def _base(backbone: Backbone) -> Base:
    return Base(
        id=backbone.public_id,
        revision=backbone.revision,
        commit=backbone.commit,
        fingerprint=backbone.fingerprint(),
        model_type=backbone.family.name,
    )


def _named(thing: Task | Mode) -> dict[str, Any]:
    """A task or mode as its name and those of its options that are not the defaults."""
    plain = type(thing)()
    options = {
        f.name: getattr(thing, f.name)
        for f in fields(thing)
        if getattr(thing, f.name) != getattr(plain, f.name) and not hasattr(getattr(thing, f.name), "fit")
    }
    return {"name": thing.name, "options": _jsonable(options)}


def _revive(kept: dict[str, Any], resolve: Callable[[Any], Any], known: Sequence[str]) -> Any:
    if kept.get("name") not in known:
        raise BundleError(
            f"received a bundle of {kept.get('name')!r}; expected one of {', '.join(known)}; "
            "install the nlptl that wrote it"
        )
    thing = resolve(kept["name"])
    options = {name: _from_json(value) for name, value in kept.get("options", {}).items()}
    unknown = sorted(set(options) - {f.name for f in fields(thing)})
    if unknown:
        raise BundleError(
            f"received the options {unknown} of {kept['name']!r}; expected known ones; install a newer nlptl"
        )
    return replace(thing, **options)


def _compare(before: Sequence[Array], after: Sequence[Array], folder: Path) -> None:
    for old, new in zip(before, after, strict=True):
        if not np.array_equal(old, new):
            gap = float(np.abs(old - new).max()) if old.shape == new.shape else float("inf")
            raise BundleError(
                f"{folder}: received scores from the saved files that differ by {gap:.3g} from the learner's own; "
                "expected the same bits; nothing was saved, and this is a fault of nlptl worth reporting"
            )


def check_place(folder: Path) -> None:
    """Refuse a place that cannot be written, or that holds something that is no bundle."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}."):
            pass
    except OSError as error:
        raise BundleError(
            f"{folder}: received a place that cannot be written to ({error.strerror}); expected a folder that can; "
            "choose another"
        ) from None
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / NAME).is_file()):
        raise BundleError(
            f"{folder}: received a place that holds something else; expected a new name, an empty folder, or a bundle "
            "to replace; choose another name"
        )


def _put(aside: Path, folder: Path) -> None:
    """Into its place by renaming; a former bundle goes only when the new one stands."""
    former = folder.parent / f".{folder.name}.{os.getpid()}.old"
    if folder.exists():
        os.replace(folder, former)
    os.replace(aside, folder)
    flush(folder.parent)
    shutil.rmtree(former, ignore_errors=True)


def _all_types(folder: Path) -> tuple[str, ...]:
    """What the head holds that was fitted a moment ago in this process: nobody else's."""
    head = folder / "head.skops"
    if not head.is_file():
        return ()
    import skops.io

    return tuple(skops.io.get_untrusted_types(file=head))


def _jsonable(options: dict[str, Any]) -> dict[str, Any]:
    """JSON has neither tuples nor keys that are not text: a mapping becomes pairs."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {"pairs": [[plain(k), plain(v)] for k, v in value.items()]}
        return list(value) if isinstance(value, tuple) else plain(value)

    return {name: kept(value) for name, value in options.items()}


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"pairs"}:
        return {key: v for key, v in value["pairs"]}
    return tuple(value) if isinstance(value, list) else value
