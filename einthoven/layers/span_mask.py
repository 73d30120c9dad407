"""Which frames a masked objective hides: spans of neighbouring frames, as wav2vec 2.0 and fairseq-signals draw them.

With ``rng = numpy.random.RandomState(seed)`` the draws have the order of fairseq-signals, row after row, and the masks
are the same, bit for bit. With a ``numpy.random.Generator`` spans that may overlap are drawn for all rows at once, with
the same distribution and in a quarter of the time, which counts where each process draws for the rows of all. Two defects of
fairseq-signals are mended: spans that may not overlap run on current NumPy, and a row for which no span is drawn stays
unmasked instead of failing.

Source: Baevski et al., "wav2vec 2.0", NeurIPS 2020; fairseq-signals ``compute_mask_indices``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Rng = np.random.Generator | np.random.RandomState


@dataclass(frozen=True)
class Spans:
    """How spans are drawn.

    prob      : about the share of frames that are covered, before overlaps and evening out (see ``span_mask``)
    length    : mean length of a span, frames
    kind      : "static" (all ``length``), "uniform" (``other`` … 2 ``length``), "normal" (standard deviation ``other``), "poisson"
    other     : the second parameter of the kind
    overlap   : whether spans of one row may overlap
    min_space : frames kept free between spans that may not overlap
    """

    prob: float = 0.65
    length: int = 10
    kind: Literal["static", "uniform", "normal", "poisson"] = "static"
    other: float = 0.0
    overlap: bool = True
    min_space: int = 1

    def __post_init__(self):
        if not 0 <= self.prob <= 1 or self.length < 1:
            raise ValueError(f"expected spans of prob in [0, 1] and length of 1 or more; got prob={self.prob}, length={self.length}")
        if self.kind not in ("static", "uniform", "normal", "poisson"):
            raise ValueError(f"expected the kind of span length to be static, uniform, normal or poisson; got {self.kind!r}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def span_mask(
    rows: int, frames: int, spans: Spans, rng: Rng, *, valid_frames: Sequence[int] | None = None, min_spans: int = 0
) -> np.ndarray:
    """Draw a mask: (rows, frames) bool, with equally many True in every row.

    valid_frames : real frames of each row, before its padding, which is never masked; None: all are real
    min_spans    : spans that a row gets at least

    Rows are evened out by forgetting random masked frames of each until it has as many as the row with the fewest, so with
    more rows less is masked: with prob 0.65, length 10 and 156 frames, 42 % for 8 rows and 36 % for 128.
    """
    if spans.overlap and isinstance(rng, np.random.Generator):
        sizes = np.full(rows, frames) if valid_frames is None else np.asarray(valid_frames, dtype=np.int64)
        return _even_at_once(_overlapping_at_once(sizes, frames, spans, rng, min_spans, shared=valid_frames is None), rng)
    n_everywhere = max(min_spans, int(spans.prob * frames / float(spans.length) + _uniform(rng)))
    chosen = []
    for row in range(rows):
        size, n_spans = frames, n_everywhere
        if valid_frames is not None:
            size = int(valid_frames[row])
            n_spans = max(min_spans, int(spans.prob * size / float(spans.length) + _uniform(rng)))
        lengths = _span_lengths(n_spans, spans, rng)
        if n_spans and sum(lengths) == 0:
            lengths[0] = min(spans.length, size - 1)
        indices = _overlapping(size, lengths, rng) if spans.overlap else _apart(size, lengths, spans.min_space, rng)
        chosen.append(np.unique(indices[indices < size]))

    fewest = min((len(indices) for indices in chosen), default=0)
    mask = np.zeros((rows, frames), dtype=bool)
    for row, indices in enumerate(chosen):
        mask[row, rng.choice(indices, fewest, replace=False) if len(indices) > fewest else indices] = True
    return mask


def _uniform(rng: Rng) -> float:
    return float(rng.random_sample() if isinstance(rng, np.random.RandomState) else rng.random())


def _integers(rng: Rng, low: float, high: float, size: int | None = None) -> Any:
    """Whole numbers in [low, high)."""
    return (
        rng.randint(int(low), int(high), size=size)
        if isinstance(rng, np.random.RandomState)
        else rng.integers(int(low), int(high), size=size)
    )


def _span_lengths(n_spans: int, spans: Spans, rng: Rng) -> list[int]:
    if spans.kind == "static":
        return [spans.length] * n_spans
    if spans.kind == "uniform":
        return [int(length) for length in _integers(rng, spans.other, spans.length * 2 + 1, n_spans)]
    if spans.kind == "normal":
        return [max(1, round(float(length))) for length in rng.normal(spans.length, spans.other, size=n_spans)]
    return [int(length) for length in rng.poisson(spans.length, size=n_spans)]


def _overlapping(size: int, lengths: list[int], rng: Rng) -> np.ndarray:
    """Spans at distinct starts; where the row is too short for the shortest span to fit, they run over its end."""
    if not lengths:
        return np.zeros(0, dtype=np.int64)
    shortest = min(lengths)
    if size - shortest <= len(lengths):
        shortest = size - len(lengths) - 1
    starts = rng.choice(size - shortest, len(lengths), replace=False)
    return np.concatenate([start + np.arange(length) for start, length in zip(starts, lengths)])


def _apart(size: int, lengths: list[int], min_space: int, rng: Rng) -> np.ndarray:
    """Spans that do not touch: the longest first, each into a free stretch chosen in proportion to its length; none where nothing fits."""
    taken: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    free = [(0, size)]
    shortest = min(lengths, default=0)
    for length in sorted(lengths, reverse=True):
        room = np.array([end - begin if end - begin >= length + min_space else 0 for begin, end in free], dtype=np.int64)
        if room.sum() == 0:
            break
        begin, end = free.pop(int(rng.choice(len(free), p=room / room.sum())))
        start = int(_integers(rng, begin, end - length))
        taken.append(np.arange(start, start + length))
        if start - begin - min_space >= shortest:
            free.append((begin, start - min_space + 1))
        if end - start - shortest - min_space > shortest:
            free.append((start + length + min_space, end))
    return np.concatenate(taken)


def _overlapping_at_once(
    sizes: np.ndarray, frames: int, spans: Spans, rng: np.random.Generator, min_spans: int, *, shared: bool
) -> np.ndarray:
    """Overlapping spans in rows of these sizes: (rows,) -> (rows, frames) bool. ``shared``: all rows have one random number of spans."""
    rows = len(sizes)
    rounding = np.full(rows, rng.random()) if shared else rng.random(rows)
    n_spans = np.maximum(min_spans, (spans.prob * sizes / spans.length + rounding).astype(np.int64))
    most = int(n_spans.max(initial=0))
    if most == 0:
        return np.zeros((rows, frames), dtype=bool)
    drawn = np.arange(most) < n_spans[:, None]
    lengths = np.where(drawn, np.array(_span_lengths(rows * most, spans, rng)).reshape(rows, most), 0)
    empty = (n_spans > 0) & (lengths.sum(axis=1) == 0)
    lengths[empty, 0] = np.minimum(spans.length, sizes[empty] - 1)
    shortest = np.where(drawn, lengths, spans.length * 1000).min(axis=1)
    n_starts = np.where(sizes - shortest <= n_spans, n_spans + 1, sizes - shortest)

    # Distinct starts: the places with the smallest random numbers.
    width = int(max(n_starts.max(), most + 1))
    luck = np.where(np.arange(width) < n_starts[:, None], rng.random((rows, width)), 2.0)
    starts = np.argpartition(luck, most - 1, axis=1)[:, :most]
    starts = np.take_along_axis(starts, np.take_along_axis(luck, starts, axis=1).argsort(axis=1), axis=1)
    # +1 where a span begins, -1 where it ends: frames where the running sum is positive are covered.
    steps = np.zeros((rows, width + max(frames, int(lengths.max())) + 1), dtype=np.int64)
    row = np.arange(rows)[:, None]
    np.add.at(steps, (row, starts), drawn.astype(np.int64))
    np.add.at(steps, (row, starts + lengths), -drawn.astype(np.int64))
    return (steps.cumsum(axis=1)[:, :frames] > 0) & (np.arange(frames) < sizes[:, None])


def _even_at_once(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many True in each row as in the row with the fewest, chosen at random."""
    fewest = int(mask.sum(axis=1).min()) if len(mask) else 0
    if fewest == 0:
        return np.zeros_like(mask)
    luck = np.where(mask, rng.random(mask.shape), 2.0)
    even = np.zeros_like(mask)
    np.put_along_axis(even, np.argpartition(luck, fewest - 1, axis=1)[:, :fewest], True, axis=1)
    return even
