"""How much memory a file may ask for: a few bytes of a compressed format can promise gigabytes."""

from __future__ import annotations

from pathlib import Path

ALWAYS, AT_MOST, TIMES = 2**26, 2**30, 100


def most_bytes(path: Path) -> int:
    """Bytes of decoded numbers that are believed of a file: a hundred times its size, 64 MiB at least and 1 GiB at most.

    An ECG packs to a fifth of its size, and to a twentieth at the best.
    """
    return min(max(ALWAYS, TIMES * path.stat().st_size), AT_MOST)
