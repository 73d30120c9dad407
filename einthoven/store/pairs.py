"""Windows two by two: of one recording, or of two recordings of one person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.read import Store
from einthoven.store.segments import Segments
from einthoven.store.view_options import place_of, refuse_unknown

ACROSS = ("record", "visits")


class Pairs:
    """Neighbouring windows of one recording, two by two: the positives of CMSC (Kiyasseh et al., ICML 2021).

    Item i gives two rows, 2i and 2i + 1: windows (0, 1), (2, 3), … of a recording; an odd one out is left over and a recording of
    one window gives none, as in fairseq-signals. ``patient`` is the person (there it was the recording, so that two
    recordings of one person repelled each other).

    across : ``record``: as above. ``visits``: recordings of one person follow each other by time, and window k of the first goes with
             window k of the second, of the third with the fourth, …; persons with one recording, and recordings of unknown person or
             time, pair within the recording
    The rest is of Segments, with windows that do not overlap.
    """

    def __init__(self, store: Store, rows: Any = None, seconds: float = 5.0, *, across: str = "record", **options: Any):
        refuse_unknown("across", across, ACROSS)
        if "stride" in options:
            raise StoreError("pairs are of windows that follow each other: they have no stride")
        self.segments = Segments(store, rows, seconds, **options)
        self.across = across
        partner = np.arange(len(self.segments.rows))
        if across == "visits":
            partner = _next_visits(store, self.segments.rows)
        n_windows = self.segments.n_windows
        within = partner == np.arange(len(partner))
        n_pairs = np.where(within, n_windows // 2, np.minimum(n_windows, n_windows[partner]))
        n_pairs[partner < 0] = 0  # the second of two visits comes with the first
        self._within, self._partner = within, partner
        self._first = np.concatenate([[0], np.cumsum(n_pairs)])

    @property
    def store(self) -> Store:
        return self.segments.store

    @property
    def fs(self) -> float:
        return self.segments.fs

    @property
    def leads(self) -> tuple[str, ...]:
        return self.segments.leads

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        return f"Pairs({len(self)} of {self.segments!r})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """A batch of this one pair: two rows."""
        return self.__getitems__([place_of(index, len(self), "pair")])

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of these pairs, two rows each."""
        indices = np.asarray(indices, dtype=np.int64)
        at = np.searchsorted(self._first, indices, side="right") - 1
        number, within = indices - self._first[at], self._within[at]
        both = np.stack([at, self._partner[at]], axis=1).reshape(-1)
        segment = np.stack([np.where(within, 2 * number, number), np.where(within, 2 * number + 1, number)], axis=1).reshape(-1)
        return self.segments.cut(both, segment)


def adjacent_pairs(segments: Iterable[int]) -> list[tuple[int, int]]:
    """The rule of CMSC pairs over the segment numbers of one recording: sorted, two by two; an odd one out is dropped."""
    numbers = sorted(segments)
    return list(zip(numbers[0::2], numbers[1::2]))


def _next_visits(store: Store, rows: np.ndarray) -> np.ndarray:
    """For each recording the position of the one it is paired with: its own, or of the person's next one; -1 for that next one."""
    patient, time = store.patient_number[rows], store.column("time")[rows]
    known = np.array([name is not None for name in store.column("patient")[rows]], dtype=bool) & ~np.isnat(time)
    partner = np.arange(len(rows))
    order = np.lexsort((rows, time, patient))
    order = order[known[order]]
    position = 0
    while position + 1 < len(order):
        first, second = order[position], order[position + 1]
        if patient[first] == patient[second]:
            partner[first], partner[second] = second, -1
            position += 2
        else:
            position += 1
    return partner
