"""How far an ingest is: counted, and told not too often."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from einthoven.sources.facts import RecordRef

_SECONDS = 0.2  # between two words about it


@dataclass(frozen=True)
class Progress:
    """How far an ingest is; n_total is None while the corpus is still being listed."""

    n_done: int
    n_total: int | None
    seconds: float


class Meter:
    """Counts recordings that are done, and those that are listed.

    n_total : how many there are, where that is known already
    began   : of time.monotonic
    """

    def __init__(self, progress: Callable[[Progress], None] | None, n_total: int | None, began: float):
        self.progress, self.n_total, self.began = progress, n_total, began
        self.n_done = self.n_listed = 0
        self.spoke = 0.0

    def tick(self, n: int) -> None:
        """``n`` more are done."""
        self.n_done += n
        if self.progress is not None and time.monotonic() - self.spoke > _SECONDS:
            self.say()

    def say(self) -> None:
        if self.progress is not None:
            self.spoke = time.monotonic()
            self.progress(Progress(self.n_done, self.n_total, self.spoke - self.began))

    def counting(self, refs: Iterable[RecordRef]) -> Iterator[RecordRef]:
        """Passes recordings on and notes how many the corpus lists; behind the last one the total is known."""
        for ref in refs:
            self.n_listed += 1
            yield ref
        self.n_total = self.n_listed
