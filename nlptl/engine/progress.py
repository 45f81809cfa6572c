"""A bar on long work: on a terminal, or when asked for; silent everywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import TracebackType

from nlptl.engine.runtime import Runtime


class Progress:
    """A tqdm bar counting rows, with rows/s and, where their number is known, the time left.

    It says nothing when it is not wanted, or while another one is drawn.
    """

    _running = False
    _gathering: Progress | None = None

    def __init__(self, runtime: Runtime, total: int | None, what: str) -> None:
        from tqdm import tqdm

        wanted = runtime.compute.progress
        shown = sys.stderr.isatty() if wanted == "auto" else bool(wanted)
        shown = shown and not Progress._running  # one bar at a time: evaluation inside training adds none
        self._outermost = not Progress._running
        Progress._running = True
        self._bar = tqdm(
            total=total,
            desc=what,
            unit=" rows",
            dynamic_ncols=True,
            disable=not (shown and runtime.is_main),
            leave=False,
        )

    def step(self, rows: int, **shown: float) -> None:
        if shown and not self._bar.disable:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
        self._bar.update(rows)
        if Progress._gathering is not None:
            Progress._gathering._bar.update(rows)

    @contextlib.contextmanager
    def inner(self) -> Iterator[None]:
        """While this lasts, the steps of the bars inside, which are not drawn, are steps of this one."""
        Progress._gathering = self if self._outermost else None
        try:
            yield
        finally:
            Progress._gathering = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._outermost:
            Progress._running = False
