"""Where pieces of a recording begin: the rules of ecg-selfsupervised and of the PTB-XL benchmark, as numbers of samples.

The views of a store cut by the same rules: ``Segments`` has the chunks whose ``shortest`` is their length (but pads or drops a recording
that is shorter than one window), ``Crops`` the random starts with the last one among them.
"""

from __future__ import annotations

import numpy as np


def chunks(n_samples: int, length: int = 0, *, stride: int | None = None, shortest: int = 1, start: int = 0, repeat: int = 1) -> np.ndarray:
    """First sample and end of each piece of a recording: (piece, 2) int64.

    length   : of a piece; 0: the whole recording from ``start`` on is one
    stride   : from one piece's start to the next's; None: the length, so that they do not overlap
    shortest : at the first piece that is shorter, it and all behind it are dropped
    start    : where the first piece begins
    repeat   : how often the whole list comes (ecg-selfsupervised's ``copies`` + 1)
    """
    stride = length if stride is None else stride
    if length < 0 or start < 0 or repeat < 1 or (length and stride < 1):
        raise ValueError(f"expected length and start from 0, stride and repeat from 1; got {length}, {start}, {stride}, {repeat}")
    starts = np.arange(start, n_samples, stride) if length else np.array([start])
    ends = np.minimum(starts + length, n_samples) if length else np.array([n_samples])
    short = np.flatnonzero(ends - starts < max(shortest, 1))
    n_kept = int(short[0]) if len(short) else len(starts)
    return np.tile(np.stack([starts, ends], axis=1)[:n_kept].astype(np.int64), (repeat, 1))


def random_start(n_samples: int, length: int, generator: np.random.Generator, *, with_last: bool = True) -> int:
    """Where a random crop begins, each place equally likely. Raises ValueError where the recording is shorter than the crop.

    with_last : False leaves out the last possible place, as ecg-selfsupervised and the benchmark did (they drew below their maximum)
    """
    room = _room(n_samples, length)
    return int(generator.integers(0, max(1, room + (1 if with_last else 0))))


def centred_start(n_samples: int, length: int) -> int:
    """Where the crop in the middle begins; of two middles the earlier. Raises ValueError where the recording is shorter than the crop."""
    return _room(n_samples, length) // 2


def _room(n_samples: int, length: int) -> int:
    if not 0 < length <= n_samples:
        raise ValueError(f"expected a crop of 1 to {n_samples} samples, the recording's length; got {length}")
    return n_samples - length
