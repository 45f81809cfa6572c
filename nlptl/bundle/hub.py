"""Talking to the Hub: what fails in passing is tried again, what fails for good is told in one line, without a token.

The client retries uploads and look-ups by itself, but neither the creation of a repository nor the commit, and no
download that is reset. Every such second try is bounded and told.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nlptl._version import __version__
from nlptl.backbones.sources import hub_in_reach, quiet
from nlptl.errors import Fault, HubError, NlptlError, OptionError, redacted

log = logging.getLogger("nlptl")
T = TypeVar("T")

#: Seconds before each further try; one more try than waits.
WAITS = (1.0, 2.0, 4.0)
#: However long a server asks to be left alone.
LONGEST_WAIT = 30.0

#: Answers that another try may change.
PASSING = (408, 429, 500, 502, 503, 504)
STALE = 412

MAIN = "main"


class OvertakenError(Exception):
    """The branch has moved since it was looked at; whoever committed looks again."""


class AwayError(HubError):
    """The Hub failed, again and again, in ways that pass."""


@dataclass(frozen=True)
class Target:
    """A repository and what of it is meant, as messages name it."""

    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return repr(self.repo_id) + (f" at revision {self.revision!r}" if self.revision else "")


@dataclass(frozen=True)
class Wire:
    """The Hub's client with a patience of its own.

    Parameters
    ----------
    api : huggingface_hub's client
    sleep : waits for so many seconds
    """

    api: Any
    sleep: Callable[[float], None] = time.sleep

    def patiently(
        self, doing: str, target: Target, action: Callable[[], T], landed: Callable[[], T | None] | None = None
    ) -> T:
        """The result of an action, tried again where its failure may pass.

        Parameters
        ----------
        doing : what it does, for the message
        target : what it does it to
        action : the call
        landed : looks whether the action was done although it failed, and gives its result if it was
        """
        for wait in (*WAITS, None):
            try:
                with quiet():
                    return action()
            except (NlptlError, OvertakenError, MemoryError):
                raise
            except Exception as error:
                # The client, httpx and the file system each raise kinds of their own; explained() sorts them.
                error = _inner(error)
                if not passing(error):
                    raise explained(error, doing, target) from None
                reason, asked = reason_of(error), _asked_wait(error)
            found = landed() if landed is not None else None
            if found is not None:
                log.warning("%s %s: %s, but it was done all the same", doing, target, reason)
                return found
            if wait is not None:
                pause = min(max(wait, asked), LONGEST_WAIT)
                log.warning("%s %s: %s; trying again in %g s", doing, target, reason, pause)
                self.sleep(pause)
        raise AwayError(
            Fault(
                f"a Hub that failed {len(WAITS) + 1} times while {doing} ({reason})",
                "an answer",
                "try again later: nothing is half done",
                str(target),
            )
        )


def open_wire(target: Target, sleep: Callable[[float], None] = time.sleep) -> Wire:
    """The Hub's client, if somebody answers there at all."""
    from huggingface_hub import HfApi, constants

    if constants.is_offline_mode():
        raise HubError(
            Fault("an offline machine (HF_HUB_OFFLINE is set)", "a network", "unset HF_HUB_OFFLINE", str(target))
        )
    if not hub_in_reach():
        raise HubError(Fault("no answer from the Hub", "a network", "go online and try again", str(target)))
    return Wire(HfApi(library_name="nlptl", library_version=__version__), sleep)


def check_repo_id(repo_id: Any) -> str:
    """A repository's id with its namespace, as the Hub allows it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        if not isinstance(repo_id, str) or repo_id.count("/") != 1:
            raise HFValidationError
        validate_repo_id(repo_id)
    except HFValidationError:
        raise OptionError(
            f"received {redacted(repr(repo_id))} as a repository of the Hub; expected user/name, of letters, digits, "
            "- _ and dots; name it so"
        ) from None
    return repo_id


def passing(error: BaseException) -> bool:
    """Whether another try may end otherwise: the server was busy, or the connection broke."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.HfHubHTTPError):
        return error.response is not None and error.response.status_code in PASSING
    if isinstance(error, hub.OfflineModeIsEnabled | hub.LocalTokenNotFoundError):
        return False
    # A page instead of JSON is what a proxy in between says while the Hub behind it is away.
    broken = (hub.HTTPError, ConnectionError, TimeoutError, json.JSONDecodeError)
    return isinstance(error, broken) or "Consistency check failed" in str(error)


def _inner(error: Exception) -> Exception:
    """What lies beneath the client's "error while uploading"."""
    cause = error.__cause__
    return cause if type(error) is RuntimeError and isinstance(cause, Exception) else error


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error came with."""
    return getattr(getattr(error, "response", None), "status_code", None)


def reason_of(error: BaseException) -> str:
    """What went wrong in a few words, without secrets."""
    status, said = status_of(error), getattr(error, "server_message", None)
    text = said or (str(error).strip().splitlines() or [""])[0]
    text = redacted(text.strip())[:200] or type(error).__name__
    return f"status {status}, {text}" if status and str(status) not in text else text


def explained(error: BaseException, doing: str, target: Target) -> HubError:
    """An error of the client as one line with a remedy."""
    from huggingface_hub import errors as hub

    status, where = status_of(error), str(target)
    login = "run: hf auth login"
    if isinstance(error, hub.GatedRepoError):
        fault = Fault("a gated repository", "access to it", f"accept its terms on the Hub, then {login}", where)
    elif isinstance(error, hub.RevisionNotFoundError):
        fault = Fault("a revision that is not there", "a branch, tag or commit of it", "look it up on the Hub", where)
    elif isinstance(error, hub.EntryNotFoundError):
        fault = Fault("a repository without a file that it should have", "all of its files", "push it again", where)
    elif isinstance(error, hub.RepositoryNotFoundError):
        fault = Fault(
            "a repository that is not there, or that you may not see", "one that you can read",
            f"check the spelling; for a private one {login}", where,
        )  # fmt: skip
    elif status == 401 or isinstance(error, hub.LocalTokenNotFoundError):
        fault = Fault("no token that the Hub knows", "a valid one", login, where)
    elif status == 403:
        fault = Fault(
            f"a Hub that forbids {doing} ({reason_of(error)})", "a token that may write there",
            f"check the namespace; with a token of that account {login}; or offer it with create_pr=True", where,
        )  # fmt: skip
    else:
        fault = Fault(f"a failure of {doing} ({reason_of(error)})", "success", "mend what it says, try again", where)
    return HubError(fault)


def _asked_wait(error: BaseException) -> float:
    """Seconds that the server asks to wait."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdecimal() else 0.0
