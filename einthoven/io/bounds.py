"""How much memory a file may ask for: a few bytes of a compressed format can promise gigabytes."""

from __future__ import annotations

from pathlib import Path

MOST_READ = 2**35
"""Bytes of numbers that are made at once where the file holds them one by one; a longer recording is read in parts."""

MOST_UNPACKED = 2**30
"""Bytes of numbers for which nothing in the file stands: of a compressed signal, a gap, an interpolated lead."""

ALWAYS, TIMES = 2**26, 100


def most_bytes(path: Path) -> int:
    """Bytes of unpacked numbers that are believed of a file: a hundred times its size, 64 MiB at least and 1 GiB at most.

    An ECG packs to a fifth of its size, and to a twentieth at the best.
    """
    return min(max(ALWAYS, TIMES * path.stat().st_size), MOST_UNPACKED)
