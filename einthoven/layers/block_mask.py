"""Which patches a predictive objective hides: few long blocks, so that a hidden beat cannot be read off its neighbours.

Every function draws for one row or for a batch from a NumPy generator and gives booleans or indices; counts are exact.

Sources: Assran et al., I-JEPA, CVPR 2023 (several blocks); Weimann & Conrad, ECG-JEPA (intervals to an exact count).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def interval_luck(n_hidden: int, least: int) -> int:
    """How many random numbers ``interval_mask`` may use: three for a block, or for an interval that is hidden whole."""
    # A block hides ``least`` or more and leaves one interval more than before, so there are no more whole ones than blocks and the first.
    return 3 * (2 * (n_hidden // least) + 3)


def interval_mask(n_places: int, n_hidden: int, least: int, luck: Sequence[float]) -> np.ndarray:
    """Exactly ``n_hidden`` of ``n_places`` hidden, in runs of ``least`` or more: (place,) bool.

    luck : ``interval_luck(n_hidden, least)`` random numbers in [0, 1)

    Free intervals are chosen in proportion to their length. A block has a uniform length between ``least`` and what is still
    to be hidden, and a uniform place in the interval; an interval that is no longer than its block is hidden whole. What
    remains, when it is less than ``least``, is joined to a run that is there already. As published, the ends of the signal are
    hidden less often than its middle: of 160 of 200 hidden places the first is one in a fifth of the draws.
    Raises ValueError for counts that do not fit.
    """
    if not 0 <= n_hidden <= n_places or least < 1:
        raise ValueError(f"expected 0 to {n_places} hidden places and blocks of 1 or more; got {n_hidden} and {least}")
    # Plain numbers: a few per row, of which NumPy would make ten times the work.
    hidden, free, remaining, draws = bytearray(n_places), [(0, n_places)], n_hidden, iter(luck)
    while remaining:
        at = int(next(draws) * sum(end - begin for begin, end in free))
        number = 0
        while at >= free[number][1] - free[number][0]:
            at -= free[number][1] - free[number][0]
            number += 1
        begin, end = free.pop(number)
        rest, chance, where = remaining < least, next(draws), next(draws)
        size = remaining if rest else least + int(chance * (remaining - least + 1))
        if end - begin <= size:
            first, size = begin, end - begin
        elif rest and (borders := [place for place, is_one in ((begin, begin > 0), (end - size, end < n_places)) if is_one]):
            first = borders[int(where * len(borders))]
        else:
            first = begin + int(where * (end - begin - size + 1))
        hidden[first : first + size] = b"\x01" * size
        remaining -= size
        free += [(low, high) for low, high in ((begin, first), (first + size, end)) if high > low]
    return np.frombuffer(hidden, dtype=bool)


def blocks(rows: int, n_places: int, n_blocks: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks of one size at uniform, independent starts, which may overlap: (row, block, size) indices."""
    if not 1 <= size <= n_places:
        raise ValueError(f"expected a block of 1 to {n_places} places; got {size}")
    starts = rng.integers(0, n_places - size + 1, size=(rows, n_blocks, 1))
    return starts + np.arange(size)


def block_size(n_places: int, n_blocks: int, ratio: tuple[float, float], least: int, rng: np.random.Generator) -> int:
    """A share of the places from U(ratio), ``least`` at least, and never so much that ``n_blocks`` could hide everything."""
    drawn = int(n_places * rng.uniform(*ratio))
    return max(1, min(max(drawn, least), (n_places - 1) // n_blocks))


def mark(index: np.ndarray, n_places: int) -> np.ndarray:
    """Indices of each row as booleans: (row, ...) -> (row, place)."""
    marked = np.zeros((len(index), n_places), dtype=bool)
    np.put_along_axis(marked, index.reshape(len(index), -1), True, axis=1)
    return marked


def context_mask(predicted: np.ndarray, size: int, least: int, rng: np.random.Generator) -> np.ndarray:
    """What may be seen: one block of ``size`` places, without what is to be predicted: (row, place) bool, both.

    A row of which fewer than ``least`` places are left sees ``least`` random ones instead, of those that are not predicted
    (all of these where they are not as many).
    """
    rows, n_places = predicted.shape
    seen = mark(blocks(rows, n_places, 1, size, rng), n_places) & ~predicted
    short = seen.sum(axis=1) < least
    # Random places are those with the smallest random numbers; predicted ones come after all others.
    luck = rng.random((rows, n_places)) + predicted
    rank = luck.argsort(axis=1).argsort(axis=1)
    seen[short] = (rank < least)[short] & ~predicted[short]
    return seen


def random_mask(luck: np.ndarray, n_hidden: int) -> np.ndarray:
    """The ``n_hidden`` places with the smallest numbers: (..., place) -> (..., place) bool, exactly as many in each row."""
    hidden = np.zeros(luck.shape, dtype=bool)
    np.put_along_axis(hidden, luck.argsort(axis=-1, kind="stable")[..., :n_hidden], True, axis=-1)
    return hidden
