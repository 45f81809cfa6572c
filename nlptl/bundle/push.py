"""A bundle onto the Hub: checked, made ready aside, and put there by one commit that holds all of it, or none."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptl.bundle import manifest as manifests
from nlptl.bundle.commit import Change, commit, info_of, local_files
from nlptl.bundle.hub import MAIN, Target, Wire, check_repo_id, open_wire, status_of
from nlptl.bundle.stage import named_base, stage
from nlptl.errors import Fault, HubError, OptionError


@dataclass(frozen=True)
class PushOptions:
    """How a bundle goes up.

    Parameters
    ----------
    private : of a new repository; None is what the account's own setting says
    revision : the branch; made if it is not there
    tag : put on the commit
    create_pr : offer it as a pull request and leave the branch alone
    base_model : the Hub id of a base that was opened from a folder
    """

    private: bool | None = None
    revision: str | None = None
    tag: str | None = None
    create_pr: bool = False
    base_model: str | None = None

    def __post_init__(self) -> None:
        if self.create_pr and self.revision not in (None, MAIN):
            raise OptionError(
                f"push(create_pr=True, revision={self.revision!r}): received a branch for a pull request; expected "
                "none, for it is made for main; leave one of the two out"
            )
        if self.create_pr and self.tag is not None:
            raise OptionError(
                f"push(create_pr=True, tag={self.tag!r}): received a tag for a commit that is not in yet; expected "
                "none; tag it when the pull request is merged"
            )


@dataclass(frozen=True)
class Pushed:
    """What a push came to.

    Attributes
    ----------
    repo_id, commit, url : where the bundle is now
    written, deleted : the files that the commit changed
    size : bytes of the files written
    already : everything was there before, and nothing was changed
    pull_request : its page, where it was offered as one
    """

    repo_id: str
    commit: str
    url: str
    written: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    size: int = 0
    already: bool = False
    pull_request: str | None = None

    def __str__(self) -> str:
        if self.already:
            return f"already there: {self.url} at commit {self.commit}"
        gone = f", {len(self.deleted)} former ones deleted" if self.deleted else ""
        place = self.pull_request or self.url
        return f"{len(self.written)} files ({_size(self.size)}){gone}: {place} at commit {self.commit}"


def saved(save: Callable[[Path], Path], repo_id: str, options: PushOptions, *, is_main: bool) -> Pushed:
    """Push what `save` writes into a folder; of many processes the main one alone talks to the Hub."""
    check_repo_id(repo_id)
    with tempfile.TemporaryDirectory(prefix="nlptl-save-") as made:
        folder = save(Path(made) / "bundle")
        return push(folder, repo_id, options) if is_main else Pushed(repo_id, "", "")


def push(folder: Path, repo_id: str, options: PushOptions, *, sleep: Callable[[float], None] = time.sleep) -> Pushed:
    """Push a bundle: checked, made ready aside, compared with what is there, and committed at once."""
    check_repo_id(repo_id)
    manifest = manifests.read(folder)
    target = Target(repo_id, options.revision)
    wire = open_wire(target, sleep)
    _check_token(wire, target)
    with tempfile.TemporaryDirectory(prefix="nlptl-push-") as made:
        aside = Path(made)
        stage(folder, aside, manifest, repo_id, named_base(wire, manifest.base, options.base_model))
        _make_room(wire, target, options)
        title = f"nlptl: {manifest.task['name']}, {manifest.mode['name']}"
        done = commit(wire, target, Change(local_files(aside), title, options.create_pr, options.tag))
    if options.tag is not None:
        _tag(wire, target, options.tag, done.commit)
    url = f"{wire.api.endpoint}/{repo_id}"
    return Pushed(repo_id, done.commit, url, done.written, done.deleted, done.size, done.already, done.pull_request)


def _check_token(wire: Wire, target: Target) -> None:
    """Told before anything is uploaded: no token, a wrong one, one that may only read."""
    from huggingface_hub.errors import LocalTokenNotFoundError

    login = "run: hf auth login, with a token of the role 'write'"

    def ask() -> dict[str, Any]:
        try:
            return dict(wire.api.whoami())
        except LocalTokenNotFoundError:
            raise HubError(Fault("no token", "one that may write", login, str(target))) from None
        except Exception as error:
            if status_of(error) != 401:
                raise
            raise HubError(
                Fault("a token that the Hub does not know", "one that may write", login, str(target))
            ) from None

    who = wire.patiently("asking who you are", target, ask)
    role = ((who.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise HubError(Fault("a token that may only read", "one that may write", login, str(target)))


def _make_room(wire: Wire, target: Target, options: PushOptions) -> None:
    """The repository and the branch, made where they are not there."""
    api, repo_id, where = wire.api, target.repo_id, Target(target.repo_id)
    info = info_of(wire, where)
    if info is None and options.create_pr:
        raise HubError(
            Fault(
                "a pull request for a repository that is not there", "one that is", "leave create_pr out", repr(repo_id)
            )
        )
    if info is None:
        wire.patiently(
            "creating the repository",
            where,
            lambda: api.create_repo(repo_id, private=options.private, exist_ok=True),
        )
    elif options.private is not None and bool(info.private) != options.private:
        kinds = ("public", "private")
        raise HubError(
            Fault(
                f"private={options.private} for a repository that is {kinds[bool(info.private)]} already",
                f"one that is {kinds[options.private]}",
                "change it in its settings on the Hub, or leave private out",
                repr(repo_id),
            )
        )
    if (options.revision or MAIN) == MAIN:
        return
    refs = wire.patiently("reading its branches", where, lambda: api.list_repo_refs(repo_id))
    if options.revision in {ref.name for ref in refs.branches}:
        return
    if options.revision in {ref.name for ref in refs.tags}:
        raise HubError(Fault(f"the tag {options.revision!r} to push to", "a branch", "name a branch", repr(repo_id)))
    wire.patiently(
        "creating the branch",
        target,
        lambda: api.create_branch(repo_id, branch=str(options.revision), exist_ok=True),
    )


def _tag(wire: Wire, target: Target, tag: str, commit: str) -> None:
    """The tag on the commit; one that is there already is that very commit, or was made a moment ago."""

    def make() -> bool:
        try:
            wire.api.create_tag(target.repo_id, tag=tag, revision=commit)
        except Exception as error:
            if status_of(error) != 409:
                raise
            if not there():
                raise HubError(
                    Fault(
                        f"the tag {tag!r}, which somebody has put elsewhere just now",
                        "a new tag",
                        f"the bundle is pushed, as commit {commit}: tag it by another name",
                        str(target),
                    )
                ) from None
        return True

    def there() -> bool | None:
        refs = wire.patiently("reading its tags", target, lambda: wire.api.list_repo_refs(target.repo_id))
        return {ref.name: ref.target_commit for ref in refs.tags}.get(tag) == commit or None

    if not there():
        wire.patiently("tagging", target, make, there)


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"
