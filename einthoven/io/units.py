"""Units of voltage, in the spellings of machines and people."""

from __future__ import annotations

from einthoven.io.wfdb_samples import MILLIVOLT

_SPELLINGS = {"millivolts": 1.0, "mvolt": 1.0, "microvolts": 1e-3, "uvolt": 1e-3, "volts": 1e3, "nanovolt": 1e-6, "nanovolts": 1e-6}
_SPELLINGS |= {"âµv": 1e-3, "î¼v": 1e-3}  # a micro sign in UTF-8, taken for Latin-1


def in_millivolt(unit: str) -> float | None:
    """How many mV one of this unit is; None where it is no unit of voltage that we know."""
    key = unit.strip().lower()
    return MILLIVOLT.get(key, _SPELLINGS.get(key))
