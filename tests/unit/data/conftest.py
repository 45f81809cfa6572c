"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from nlptl.errors import DataError


@pytest.fixture
def told() -> Callable[..., Any]:
    """Expects a DataError, and among its faults one with these words in its parts."""

    @contextmanager
    def expect(received: str, expected: str, remedy: str, where: str, faults: int | None = None) -> Iterator[None]:
        with pytest.raises(DataError) as caught:
            yield
        parts = [(f.received, f.expected, f.remedy, f.where) for f in caught.value.faults]
        wanted = (received, expected, remedy)
        assert any(all(w in p for w, p in zip(wanted, part, strict=False)) and part[3] == where for part in parts), (
            f"{(*wanted, where)} is not among {parts}"
        )
        assert faults is None or len(parts) == faults, parts

    return expect
