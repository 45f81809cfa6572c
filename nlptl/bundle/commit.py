"""One commit that makes a branch hold these files: planned against its head, refused by the Hub where that has moved.

Whether a commit whose answer got lost has landed is seen from the branch itself, so nothing is committed twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from nlptl.bundle.files import CARD, file_digest
from nlptl.bundle.hub import MAIN, STALE, OvertakenError, Target, Wire, status_of
from nlptl.bundle.manifest import MAX_BYTES, NAME
from nlptl.errors import Fault, HubError

log = logging.getLogger("nlptl")

#: How often somebody else may push in between before we leave them the field.
REBASES = 3

#: What makes a repository that nlptl did not push a model of somebody's.
MODELS = (
    "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.onnx", "*.h5", "*.skops", "*.pkl", "*.joblib",
    "config.json", "adapter_config.json",
)  # fmt: skip


@dataclass(frozen=True)
class Local:
    """A file to be pushed."""

    path: Path
    size: int
    sha256: str

    def same_as(self, remote: Any) -> bool:
        """Whether the Hub's file has these bytes."""
        from huggingface_hub.utils.sha import git_hash

        if remote.size != self.size:
            return False
        if remote.lfs is not None:
            return bool(remote.lfs.sha256 == self.sha256)
        return bool(remote.blob_id == git_hash(self.path.read_bytes()))


@dataclass(frozen=True)
class Change:
    """What a push wants: these files, under this title, on the branch or as a pull request."""

    files: Mapping[str, Local]
    title: str
    create_pr: bool = False
    tag: str | None = None


@dataclass(frozen=True)
class Seen:
    """A branch as it stands: its head, its files, and the hashes of those that a former push wrote."""

    head: str
    files: Mapping[str, Any]
    former: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """The commit that holds the files, and what it changed."""

    commit: str
    written: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    size: int = 0
    already: bool = False
    pull_request: str | None = None


def local_files(folder: Path) -> dict[str, Local]:
    """Every file of a folder, by its name inside."""
    return {
        path.relative_to(folder).as_posix(): Local(path, path.stat().st_size, file_digest(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def info_of(wire: Wire, target: Target) -> Any:
    """What the Hub knows of a repository; None where there is none."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def look() -> Any:
        try:
            return wire.api.model_info(target.repo_id, revision=target.revision)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    return wire.patiently("looking it up", target, look)


def tree_of(wire: Wire, target: Target, commit: str) -> dict[str, Any]:
    """The files of a commit, with their sizes and hashes."""

    def listed() -> dict[str, Any]:
        entries = wire.api.list_repo_tree(target.repo_id, recursive=True, revision=commit)
        return {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}

    return wire.patiently("reading its files", target, listed)


def commit(wire: Wire, target: Target, change: Change) -> Done:
    """Bring the files onto the branch, begun again where somebody else's commit came first."""
    for _ in range(REBASES + 1):
        seen = _look(wire, target)
        written = tuple(n for n, f in change.files.items() if n not in seen.files or not f.same_as(seen.files[n]))
        deleted = tuple(sorted((set(seen.former) & set(seen.files)) - set(change.files)))
        if written == (CARD,) and CARD in seen.files and not deleted:
            log.warning("%s: its card was edited on the Hub and is left as it is", target)
            written = ()
        _check_tag(wire, target, change.tag, None if written or deleted else seen.head)
        if not written and not deleted:
            return Done(seen.head, already=True)
        _mind_the_card(wire, target, seen, written)
        try:
            landed, request = _send(wire, target, change, seen, written, deleted)
        except OvertakenError:
            log.warning("%s: somebody else has pushed in between; going on from there", target)
            continue
        size = sum(change.files[name].size for name in written)
        return Done(landed, written, deleted, size, pull_request=request)
    raise HubError(Fault(f"{REBASES + 1} pushes by others in between", "a quiet moment", "try again", str(target)))


def _look(wire: Wire, target: Target) -> Seen:
    info = info_of(wire, Target(target.repo_id, target.revision or MAIN))
    if info is None:
        raise HubError(Fault("a repository that has gone", "the one that was there", "push again", str(target)))
    files = tree_of(wire, target, info.sha)
    return Seen(info.sha, files, _former(wire, target, info.sha, files))


def _former(wire: Wire, target: Target, commit: str, files: Mapping[str, Any]) -> dict[str, str]:
    """The files that a former push wrote, as its manifest names them; refused where somebody else's model stands."""
    if NAME not in files:
        models = [name for name in files if any(fnmatch(name, pattern) for pattern in MODELS)]
        if models:
            raise HubError(
                Fault(
                    f"a repository that holds another model ({models[0]})",
                    "a new name, or a bundle to replace",
                    "choose another name",
                    str(target),
                )
            )
        return {}
    try:
        named = json.loads(_content(wire, target, commit, files[NAME]))["manifest"]["files"]
        return {NAME: "", **{str(name): str(digest) for name, digest in named.items()}}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HubError(
            Fault(f"a repository whose {NAME} is damaged", "a bundle to replace", "choose another name", str(target))
        ) from None


def _content(wire: Wire, target: Target, commit: str, entry: Any) -> bytes:
    """A small file of a commit; an empty one for what is too big to be one."""
    if entry.size > MAX_BYTES:
        return b""

    def fetched() -> str:
        return str(wire.api.hf_hub_download(target.repo_id, entry.path, revision=commit))

    return Path(wire.patiently(f"reading its {entry.path}", target, fetched)).read_bytes()


def _mind_the_card(wire: Wire, target: Target, seen: Seen, written: tuple[str, ...]) -> None:
    """Tell of a card that a person wrote, and that this push replaces."""
    if CARD not in written or CARD not in seen.files:
        return
    there = hashlib.sha256(_content(wire, target, seen.head, seen.files[CARD])).hexdigest()
    if there != seen.former.get(CARD):
        log.warning("%s: replacing a card that was written by hand; it stays in commit %s", target, seen.head)


def _check_tag(wire: Wire, target: Target, tag: str | None, head: str | None) -> None:
    """A tag stays where it is: told before anything is committed that could not get it."""
    if tag is None:
        return
    refs = wire.patiently("reading its tags", target, lambda: wire.api.list_repo_refs(target.repo_id))
    at = {ref.name: ref.target_commit for ref in refs.tags}.get(tag)
    if at is not None and at != head:
        raise HubError(
            Fault(f"the tag {tag!r}, which another commit has ({at})", "a new tag", "choose another", str(target))
        )


def _send(
    wire: Wire, target: Target, change: Change, seen: Seen, written: tuple[str, ...], deleted: tuple[str, ...]
) -> tuple[str, str | None]:
    """Upload, then commit; the commit's id, and the page of the pull request if there is one."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [CommitOperationAdd(path_in_repo=n, path_or_fileobj=str(change.files[n].path)) for n in written]
    # The client would leave out, in silence, what a .gitignore there names: a bundle goes up whole.
    wire.patiently(
        "uploading", target,
        lambda: wire.api.preupload_lfs_files(
            target.repo_id, additions, revision=target.revision or MAIN, create_pr=change.create_pr,
            gitignore_content="", free_memory=False,
        ),
    )  # fmt: skip
    before = _requests(wire, target) if change.create_pr else set()

    def send() -> tuple[str, str | None]:
        try:
            made = wire.api.create_commit(
                target.repo_id,
                [*additions, *(CommitOperationDelete(path_in_repo=name) for name in deleted)],
                commit_message=change.title,
                revision=target.revision or MAIN,
                create_pr=change.create_pr,
                parent_commit=seen.head,
            )
        except Exception as error:
            if status_of(error) != STALE:
                raise
            raise OvertakenError from None
        return str(made.oid), made.pr_url

    def landed() -> tuple[str, str | None] | None:
        heads = _requests(wire, target) - before if change.create_pr else _head(wire, target, seen)
        for revision in sorted(heads):
            commit = info_of(wire, Target(target.repo_id, revision))
            if commit is not None and _holds(tree_of(wire, target, commit.sha), change, written, deleted):
                page = f"{wire.api.endpoint}/{target.repo_id}/discussions/{revision.rpartition('/')[2]}"
                return str(commit.sha), page if change.create_pr else None
        return None

    return wire.patiently("committing", target, send, landed)


def _head(wire: Wire, target: Target, seen: Seen) -> set[str]:
    """The branch, if it has moved since it was looked at."""
    info = info_of(wire, Target(target.repo_id, target.revision or MAIN))
    return {target.revision or MAIN} if info is not None and info.sha != seen.head else set()


def _requests(wire: Wire, target: Target) -> set[str]:
    """The refs of the pull requests that there are."""

    def listed() -> set[str]:
        refs = wire.api.list_repo_refs(target.repo_id, include_pull_requests=True)
        return {ref.ref for ref in refs.pull_requests or ()}

    return wire.patiently("reading its pull requests", target, listed)


def _holds(files: Mapping[str, Any], change: Change, written: tuple[str, ...], deleted: tuple[str, ...]) -> bool:
    """Whether a commit is the one that was sent."""
    return not set(deleted) & set(files) and all(
        name in files and change.files[name].same_as(files[name]) for name in written
    )
