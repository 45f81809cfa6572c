"""Every error that nlptl raises on purpose.

NlptlError
├── DataError          (ValueError)    rows, labels or files that cannot be learnt from or predicted on
├── OptionError        (ValueError)    an option, a name or a combination of options that cannot be
├── BackboneError      (ValueError)    a checkpoint that cannot be found, opened or used as asked
├── BundleError        (ValueError)    a saved folder that cannot be trusted or opened
├── NotFittedError     (ValueError, AttributeError)   asked of a learner before ``fit``, as in sklearn
├── TrainingError      (RuntimeError)  a run that cannot go on
└── MissingExtraError  (ImportError)   a package that an extra would have installed

NlptlWarning (UserWarning) is the one category of every warning that nlptl gives.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: What a token looks like in what others say: the Hub's own make, and whatever stands where a secret stands.
_SECRETS = re.compile(
    r"\bhf_\w{4,}|(?<=bearer )[^\s'\",]+|(?<=authorization: )(?!bearer)[^\s'\",]+|(?<=://)[^/\s@]+(?=@)"
    r"|(?<=[?&])(?:sig|signature|token|x-amz-[\w-]+)=[^&\s'\"]+",
    re.I,
)

#: A thousand bad rows have few causes; the first ones show them, the rest are counted.
MAX_LISTED = 20


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: what came, what was expected, what to do, and where."""

    received: str
    expected: str
    remedy: str
    where: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}received {self.received}; expected {self.expected}; {self.remedy}"


class NlptlError(Exception):
    """The root of what nlptl raises; made from faults, or from one plain sentence."""

    def __init__(self, *faults: Fault | str) -> None:
        self.faults: tuple[Fault | str, ...] = faults
        super().__init__(_message(faults))


class DataError(NlptlError, ValueError):
    """The rows, labels or files cannot be learnt from or predicted on."""


class OptionError(NlptlError, ValueError):
    """An option, a name, or a combination of options cannot be."""


class BackboneError(NlptlError, ValueError):
    """A checkpoint cannot be found, opened, or used as asked."""


class BundleError(NlptlError, ValueError):
    """A saved folder cannot be trusted or opened."""


class HubError(NlptlError, RuntimeError):
    """The Hub cannot be reached, or does not do what it is asked."""


class NotFittedError(NlptlError, ValueError, AttributeError):
    """Something learnt was asked of a learner that has not learnt yet."""


class TrainingError(NlptlError, RuntimeError):
    """A run cannot go on."""


class MissingExtraError(NlptlError, ImportError):
    """A package is missing that one of nlptl's extras installs."""


class NlptlWarning(UserWarning):
    """Something was done that the user may not have meant; the count stands in the record too."""


class Faults:
    """Collects faults, so that the user hears of all of them at once."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, received: str, expected: str, remedy: str, where: str = "") -> None:
        self._faults.append(Fault(received, expected, remedy, where))

    def extend(self, faults: Iterable[Fault]) -> None:
        self._faults.extend(faults)

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def raise_if_any(self, error: type[NlptlError]) -> None:
        if self._faults:
            raise error(*self._faults)


def redacted(text: str) -> str:
    """Somebody else's words without a token in them, to be passed on in a message or a log."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        secret = os.environ.get(name, "")
        if len(secret) >= 4:  # fewer letters would blot out words
            text = text.replace(secret, "…")
    return _SECRETS.sub("…", text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest known name, or nothing where none is near."""
    folded = {str(k).casefold(): str(k) for k in known}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean '{folded[near[0]]}'?" if near else ""


def listing(names: Iterable[object], limit: int = 12) -> str:
    """Names as a sentence can carry them: quoted, comma-separated, the overflow counted."""
    items = [repr(n) for n in names]
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more if items else "none"


def _message(faults: tuple[Fault | str, ...]) -> str:
    if len(faults) == 1:
        return str(faults[0])
    lines = [f"{len(faults)} faults:"] + [f"  {n}. {f}" for n, f in enumerate(faults[:MAX_LISTED], 1)]
    if len(faults) > MAX_LISTED:
        lines.append(f"  … and {len(faults) - MAX_LISTED} more")
    return "\n".join(lines)
