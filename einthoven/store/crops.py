"""One window of every recording, at another place each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.read import Store
from einthoven.store.segments import Segments
from einthoven.store.view_options import place_of


class Crops:
    """One window of every recording, at a place drawn anew each epoch: the training view of most contrastive methods.

    The place is a function of (seed, epoch, recording). ``by_epoch`` tells the reader of the view to ask for item + epoch * len(view).
    The rest is of Segments; recordings shorter than the window are padded to it, or dropped (``short``).
    """

    by_epoch = True

    def __init__(self, store: Store, rows: Any = None, seconds: float = 2.5, *, seed: int = 0, **options: Any):
        if "stride" in options:
            raise StoreError("random windows have no stride")
        self.segments = Segments(store, rows, seconds, **options)
        self.seed = seed

    @property
    def store(self) -> Store:
        return self.segments.store

    @property
    def rows(self) -> np.ndarray:
        return self.segments.rows

    @property
    def leads(self) -> tuple[str, ...]:
        return self.segments.leads

    @property
    def fs(self) -> float:
        return self.segments.fs

    @property
    def label(self) -> np.ndarray | None:
        return self.segments.label

    def __len__(self) -> int:
        return len(self.segments.rows)

    def __repr__(self) -> str:
        return f"Crops({len(self)} random windows of {self.segments!r})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """A batch of this one recording's window, as in the first epoch."""
        return self.__getitems__([place_of(index, len(self), "recording")])

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of these items, each recording + epoch * len(view)."""
        epoch, at = np.divmod(np.asarray(indices, dtype=np.int64), len(self))
        room = np.maximum(0, self.segments.n_samples[at] - self.segments.n_window)
        keys = zip(epoch.tolist(), self.segments.rows[at].tolist(), room.tolist())
        start = [int(np.random.Generator(np.random.PCG64([self.seed, e, row])).integers(0, most + 1)) for e, row, most in keys]
        return self.segments.cut_at(at, np.array(start, dtype=np.int64), np.zeros(len(at), dtype=np.int64))
