"""Which rows of a nested column are equal, for millions of rows: their labels, the moments of their leads."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 17  # rows at once: what is worked with stays small however many there are


def distinct(offsets: np.ndarray, *values: np.ndarray, apart: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's content, (row,) int64, in the order in which contents come first; and the first row of each, (content,) int64.

    offsets : (row + 1,) where each row begins in ``values`` and where the last one ends
    values  : (n,) each, of 4-byte numbers; rows are equal when they are as long and hold the same bits (a NaN is equal to itself)
    apart   : (row,) int64 that must be equal, too

    Exact: rows are found by a 64-bit sum with random weights and then compared; should two different ones meet, other weights are drawn.
    """
    offsets = np.asarray(offsets, dtype=np.int64)
    bits = [np.ascontiguousarray(one).view(np.uint32) for one in values]
    apart = np.zeros(len(offsets) - 1, dtype=np.int64) if apart is None else np.asarray(apart, dtype=np.int64)
    for seed in range(64):
        signature = _signatures(offsets, bits, apart, np.random.default_rng(seed))
        which, first = in_order_of_coming(signature)
        if _agree(offsets, bits, apart, first[which]):
            return which, first
    raise AssertionError("sums with 64 sets of random weights met by chance")


def in_order_of_coming(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different values numbered in the order in which they first come: the number of each, (row,) int64, and where each first is, (value,) int64."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[which], first[order]


def _signatures(offsets: np.ndarray, bits: list[np.ndarray], apart: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n_rows = len(offsets) - 1
    longest = int(np.diff(offsets).max(initial=0))
    weights = rng.integers(0, 2**63, size=(len(bits), longest + 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    of_length, of_apart = rng.integers(1, 2**63, size=2, dtype=np.uint64) | np.uint64(1)
    signature = apart.astype(np.uint64) * of_apart + np.diff(offsets).astype(np.uint64) * of_length
    for begin in range(0, n_rows, _BLOCK):
        end = min(begin + _BLOCK, n_rows)
        edges = offsets[begin : end + 1] - offsets[begin]
        within = np.arange(edges[-1]) - np.repeat(edges[:-1], np.diff(edges))
        total = np.zeros(edges[-1] + 1, dtype=np.uint64)
        for one, weight in zip(bits, weights):
            total[1:] += (one[offsets[begin] : offsets[end]].astype(np.uint64) + np.uint64(1)) * weight[within]
        total = np.cumsum(total, dtype=np.uint64)  # modulo 2^64, so that differences are exact
        signature[begin:end] += total[edges[1:]] - total[edges[:-1]]
    return signature


def _agree(offsets: np.ndarray, bits: list[np.ndarray], apart: np.ndarray, model: np.ndarray) -> bool:
    """Whether every row holds what the row ``model`` of it holds."""
    lengths = np.diff(offsets)
    if not ((lengths == lengths[model]).all() and (apart == apart[model]).all()):
        return False
    for begin in range(0, len(lengths), _BLOCK):
        end = min(begin + _BLOCK, len(lengths))
        edges = offsets[begin : end + 1] - offsets[begin]
        there = np.arange(edges[-1]) + np.repeat(offsets[:-1][model[begin:end]] - edges[:-1], np.diff(edges))
        if not all((one[offsets[begin] : offsets[end]] == one[there]).all() for one in bits):
            return False
    return True
