"""Writing and reading a bundle: aside, flushed, checked by loading it again, and only then put in its place."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nlptl.backbones import Backbone, open_backbone
from nlptl.bundle import bases, card, foreign, placing, probe
from nlptl.bundle.adapters import read_config
from nlptl.bundle.contents import Contents, Scorer, base_of, open_tokenizer, opening
from nlptl.bundle.described import check_kept, check_record, described, named
from nlptl.bundle.manifest import NAME, Base, Manifest, hashes, other_versions, read, versions
from nlptl.bundle.migrations import figures
from nlptl.bundle.placing import check_place, standing
from nlptl.bundle.sharing import share_base
from nlptl.errors import BundleError, NlptlWarning
from nlptl.modes.frozen import Probe
from nlptl.modes.gradient import Tuned

__all__ = ["Contents", "Scorer", "base_source", "check_place", "load", "save", "standing"]

PROBES = probe.PROBES


def save(contents: Contents, folder: Path, scorer: Scorer, *, trust_remote_code: bool = False) -> None:
    """Write a bundle, load it again, compare its scores, and put it where it belongs."""
    check_place(folder)
    with placing.aside(folder) as aside:
        kept = contents.fitted.write(aside)
        scores = scorer(contents, PROBES)
        probe.write(contents, scores, aside)
        manifest = Manifest(
            task=named(contents.task),
            mode=named(contents.mode),
            labels=contents.space.to_dict(),
            kept=kept,
            base=contents.base or base_of(contents.backbone),
            seed=contents.seed,
            record=contents.record,
            history=contents.history,
            fresh=list(kept.get("fresh", ())),
            metrics=figures(contents.history[-1]) if contents.history else {},
            versions=versions(),
        )
        card.write(aside, manifest)
        manifest = replace(manifest, files=hashes(aside))
        manifest.write(aside)
        again = load(aside, base=contents.backbone, trusted=_all_types(aside), trust_remote_code=trust_remote_code)
        probe.same(scores, scorer(again, PROBES), folder)
        placing.put(aside, folder)
    if contents.backbone.local is not None:
        bases.remember(manifest.base.fingerprint, contents.backbone.local)


def load(
    folder: Path,
    *,
    base: Backbone | str | Path | None = None,
    trusted: Sequence[str] = (),
    allow_base_drift: bool = False,
    trust_remote_code: bool = False,
    scorer: Scorer | None = None,
) -> Contents:
    """Read a bundle: hashes first, then the base it stands on, then what was learnt, tried on the stored probe.

    A folder without a manifest that holds an adapter of peft's or a checkpoint fine-tuned elsewhere is opened, too,
    and what it lacks is told.
    """
    folder = standing(folder)
    if not (folder / NAME).is_file() and not (folder / probe.NAME).is_file() and foreign.known(folder):
        return foreign.load(folder, base, trust_remote_code=trust_remote_code)
    with opening(folder):
        manifest = read(folder)
        task, mode, space = described(folder, manifest)
        check_kept(folder, mode, manifest.kept)
        check_record(folder, manifest.record)
        drifted = False
        if mode.name == "full":
            backbone = open_backbone(str(folder), trust_remote_code=trust_remote_code)
            _check_labels(folder, backbone, list(space.names))
        else:
            backbone, drifted = _open_base(manifest.base, base, folder, allow_base_drift, trust_remote_code)
            backbone = replace(backbone, tokenizer=open_tokenizer(folder, trust_remote_code=trust_remote_code))
            if mode.name == "lora":
                read_config(folder)
        fitted = mode.read(folder, {**manifest.kept, "trusted": list(trusted)}, backbone, task, space)
        if mode.name != "full" and isinstance(fitted, Probe | Tuned):
            share_base(fitted.encoder if isinstance(fitted, Probe) else fitted.model, backbone.fingerprint())
        contents = Contents(
            task, mode.as_fitted(fitted), space, fitted, backbone, manifest.seed, manifest.record, manifest.history,
            base=manifest.base,
        )  # fmt: skip
        if scorer is not None and not drifted:
            probe.check(contents, folder, scorer, other_versions(manifest.versions))
    return contents


def base_source(base: Base | None) -> tuple[str | None, str | None]:
    """Where a base can be opened from again: this machine's folder of it, or its Hub id and commit, or neither."""
    if base is None:
        return None, None
    place = bases.locate(base.fingerprint)
    return (base.id, base.commit or base.revision) if place is None else (str(place), None)


def _open_base(
    base: Base, given: Backbone | str | Path | None, folder: Path, allow_drift: bool, trust_remote_code: bool
) -> tuple[Backbone, bool]:
    """The base, and whether its weights are others than those of the training."""
    if isinstance(given, Backbone):
        return given, False  # the one it was trained on, in this very process
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
    if found == base.fingerprint:
        return backbone, False
    said = (
        f"{folder}: received a base ({source}) whose weights have fingerprint {found[:12]}…; expected the base it "
        f"was trained on, {base.fingerprint[:12]}…"
    )
    if not allow_drift:
        raise BundleError(f"{said}; give that base, or allow_base_drift=True to go on with this one")
    warnings.warn(f"{said}; going on, as allow_base_drift=True asks", NlptlWarning, stacklevel=4)
    return backbone, True


def _check_labels(folder: Path, backbone: Backbone, names: list[str]) -> None:
    """The model's own config must name the manifest's labels, for other tools read them there."""
    said = [str(name) for _, name in sorted(backbone.config.id2label.items())]
    if said != names:
        raise BundleError(
            f"{folder}: received the labels {said} in config.json; expected those of the manifest, {names}; "
            "save the learner again"
        )


def _all_types(folder: Path) -> tuple[str, ...]:
    """What the head holds that was fitted a moment ago in this process: nobody else's."""
    head = folder / "head.skops"
    if not head.is_file():
        return ()
    import skops.io

    return tuple(skops.io.get_untrusted_types(file=head))
