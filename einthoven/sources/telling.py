"""What a reader is told of a file that does not say it: its rate, unit and leads, by a person; and which of many recordings is meant.

What is told goes last. A file that says its own rate is read with that rate, whatever was told, and a JSON file beside it goes before as well:
one folder may hold files that say everything, files that say half, and files that say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.io import sidecar
from einthoven.io.rates import MAX_FS, is_rate
from einthoven.io.units import in_millivolt
from einthoven.record import Record

_SAID_BY = {"fs": "fs", "unit": "unit", "names": "leads"}
"""Keyword of a reader -> what ``sidecar.Told`` calls it."""

_KNOWN_BY_LOOK = ("MATLAB", "HDF5")
"""Their readers know the files of some corpora by how they look, but only as long as they are told nothing else."""


def keywords(rate: float | None = None, unit: str | None = None, leads: Sequence[str] | str | None = None) -> dict[str, Any]:
    """The keywords of a reader for what was told. Raises EinthovenError for what is no rate, no unit of voltage and no name of a lead."""
    if rate is not None and not is_rate(rate):
        raise EinthovenError(f"expected rate in Hz, above 0 and up to {MAX_FS:g}; got {rate:g}.")
    if unit is not None and in_millivolt(unit) is None:
        raise EinthovenError(f"expected unit as mV, uV or V; got {unit!r}.")
    names = None if leads is None else tuple(name.strip() for name in (leads.split(",") if isinstance(leads, str) else leads))
    if names is not None and not (names and all(names)):
        raise EinthovenError(f"expected leads as names such as I,II,V1; got {','.join(names)!r}.")
    said = {"fs": rate, "unit": unit, "names": names}
    return {name: value for name, value in said.items() if value is not None}


def read_told(path: Path, told: Mapping[str, Any]) -> Record:
    """A file, told what neither it nor a JSON file beside it says.

    told : ``fs``, ``unit``, ``names`` for want of a better source; ``record``, which of many, always

    Raises FormatError where it cannot be read with any part of that.
    """
    which = {name: value for name, value in told.items() if name not in _SAID_BY}
    words = {name: value for name, value in told.items() if name in _SAID_BY}
    if words:
        beside = sidecar.told(path)
        words = {name: value for name, value in words.items() if getattr(beside, _SAID_BY[name]) is None}
    if not words:
        return io.read(path, **which)
    refusals: dict[int, FormatError] = {}
    for some in _attempts(path, words):
        try:
            return io.read(path, **which, **some)
        except FormatError as error:
            refusals.setdefault(len(some), error)
        if len(refusals) == 2 and str(refusals[0]) == str(refusals[len(words)]):
            break  # damaged, whatever it is told
    raise refusals[len(words)]


def _attempts(path: Path, words: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to tell, one after the other: a reader refuses what contradicts its file, so that the file's own word is found by leaving words away."""
    everything, *some, nothing = (dict(part) for n in range(len(words), -1, -1) for part in combinations(words.items(), n))
    try:
        by_look = io.recognise(path) in _KNOWN_BY_LOOK
    except (FormatError, OSError):  # reading it tells why
        by_look = False
    return [nothing, everything, *some] if by_look else [everything, nothing, *some]
