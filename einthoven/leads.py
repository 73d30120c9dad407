"""Lead names and their order, the laws of the limb leads, and the way between twelve leads and the vectorcardiogram.

Axes of a vectorcardiogram (VCG) are Frank's: x to the patient's left, y to the feet, z to the back.
All functions take and return NumPy arrays; a signal has its leads on the last axis but one, time last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
TWELVE = LIMB + CHEST
INDEPENDENT = ("I", "II", *CHEST)
"""The eight leads from which the other four follow exactly."""

_KNOWN = (*TWELVE, "X", "Y", "Z", "V7", "V8", "V9", "V1R", "V2R", "V3R", "V4R", "V5R", "V6R", "V7R", "V8R", "V9R")
_CANONICAL = {name.upper(): name for name in _KNOWN} | {"VR": "aVR", "VL": "aVL", "VF": "aVF", "VX": "X", "VY": "Y", "VZ": "Z"}

# What vendors write before or behind the name. A minus is no separator here: "-aVR" is Cabrera's inverted lead, and "V1-V2" a difference.
_MDC = re.compile(r"(?:MDC_)?(?:ECG_)?LEAD_(?=[A-Z0-9])")  # HL7 aECG, DICOM: ISO/IEEE 11073-10102
_BEFORE = re.compile(
    r"(?:(?:ECG|EKG|EEG ECG)[ _.:-])?(?:(?:LEAD|ABLEITUNG|ABL\.?|DERIVATION|DERIVACION|DER\.?)[ _.:-]?)?"
    r"(?:(?:EINTHOVEN|GOLDBERGER|WILSON|FRANK)[ _])?"
)
_BEHIND = re.compile(r"[ _]?\((?:EINTHOVEN|GOLDBERGER|WILSON|FRANK)\)|, AUGMENTED VOLTAGE, (?:RIGHT|LEFT|FOOT)|[ _]LEAD")
_NUMBERS = {"1": "I", "2": "II", "3": "III"}


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """The field's spelling of a lead name: ``AVR``, ``MDC_ECG_LEAD_aVR``, ``ECG Lead aVR`` -> ``aVR``; ``D1``, ``DI``, ``Lead I (Einthoven)`` -> ``I``.

    A name that we do not know (``MLII``; ``ECG 1`` and ``lead 1``, which are rows that nobody named), or know to be another lead (``-aVR``, ``V1 (uV)``), stays as it is.
    """
    key = " ".join(name.upper().replace("É", "E").replace("Ó", "O").split())
    if key in _CANONICAL:
        return _CANONICAL[key]
    if (match := _MDC.match(key)) is not None and key[match.end() :] in _CANONICAL:
        return _CANONICAL[key[match.end() :]]
    before = _BEFORE.match(key)
    rest = key[before.end() :] if before is not None else key
    if (behind := _BEHIND.search(rest)) is not None and behind.end() == len(rest):
        rest = rest[: behind.start()]
    if re.fullmatch(r"D[ _]?(?:[123]|I{1,3}|A?V[RLF]|V[1-9])", rest):  # "D1", "DII": Spanish, Portuguese and French machines
        rest = rest[1:].strip(" _")
        rest = _NUMBERS.get(rest, rest)
    if re.fullmatch(r"A[ _.-]?V[ _.-]?[RLF]|V[ _.-]?[1-9]R?", rest):  # "a VR", "aV-R", "V 1"
        rest = re.sub(r"[ _.-]", "", rest)
    return _CANONICAL.get(rest, name.strip())


def derive_limb_leads(i: np.ndarray, ii: np.ndarray) -> np.ndarray:
    """III, aVR, aVL and aVF from leads I and II: (..., time) twice -> (..., lead=4, time).

    Einthoven: I + III = II. Goldberger: aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.
    """
    return np.stack([ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2], axis=-2)


def select(signal: np.ndarray, leads: Sequence[str], wanted: Sequence[str], *, derive: bool = True) -> np.ndarray:
    """Rows of a signal in the order that is wanted; NaN where a lead was not recorded.

    signal : (..., lead, time) with rows ``leads``
    derive : compute missing III, aVR, aVL, aVF where I and II are there; a lead that was recorded is never replaced
    returns: (..., len(wanted), time), a new array
    """
    if signal.shape[-2] != len(leads):
        raise ValueError(f"expected a signal of shape (..., lead={len(leads)}, time) for {' '.join(leads)}; got {signal.shape}")
    rows = {canonical(name): row for row, name in enumerate(leads)}
    out = np.full((*signal.shape[:-2], len(wanted), signal.shape[-1]), np.nan, dtype=signal.dtype)
    derived = None
    for row, name in enumerate(canonical(name) for name in wanted):
        if name in rows:
            out[..., row, :] = signal[..., rows[name], :]
        elif derive and name in LIMB[2:] and "I" in rows and "II" in rows:
            if derived is None:
                derived = derive_limb_leads(signal[..., rows["I"], :], signal[..., rows["II"], :])
            out[..., row, :] = derived[..., LIMB.index(name) - 2, :]
    return out


def limb_law_residual(signal: np.ndarray, leads: Sequence[str]) -> dict[str, float]:
    """Root mean square (in the signal's unit) by which III, aVR, aVL and aVF each break their law; leads that are not there are left out.

    Rounding to 1 µV leaves about 0.5 µV. A swapped pair of leads leaves hundreds.
    """
    rows = {canonical(name): row for row, name in enumerate(leads)}
    if "I" not in rows or "II" not in rows:
        return {}
    expected = derive_limb_leads(signal[..., rows["I"], :].astype(np.float64), signal[..., rows["II"], :].astype(np.float64))
    residual = {}
    for position, name in enumerate(LIMB[2:]):
        if name in rows:
            difference = signal[..., rows[name], :] - expected[..., position, :]
            if np.isfinite(difference).any():
                residual[name] = float(np.sqrt(np.nanmean(difference**2)))
    return residual


# (x, y, z) -> I II V1 … V6. Dower et al., J Electrocardiol 1980.
DOWER = np.array([
    [0.632, -0.235, 0.059],
    [0.235, 1.066, -0.132],
    [-0.515, 0.157, -0.917],
    [0.044, 0.164, -1.387],
    [0.882, 0.098, -1.277],
    [1.213, 0.127, -0.601],
    [1.125, 0.127, -0.086],
    [0.831, 0.076, 0.230],
])  # fmt: skip

# I II V1 … V6 -> (x, y, z). Edenbrandt and Pahlm, J Electrocardiol 1988: the pseudo-inverse of Dower's matrix.
INVERSE_DOWER = np.array([
    [0.156, -0.010, -0.172, -0.074, 0.122, 0.231, 0.239, 0.194],
    [-0.227, 0.887, 0.057, -0.019, -0.106, -0.022, 0.041, 0.048],
    [0.022, 0.102, -0.229, -0.310, -0.246, -0.063, 0.055, 0.108],
])  # fmt: skip

# I II V1 … V6 -> (x, y, z), by regression on measured Frank leads. Kors et al., Eur Heart J 1990.
KORS = np.array([
    [0.38, -0.07, -0.13, 0.05, -0.01, 0.14, 0.06, 0.54],
    [-0.07, 0.93, 0.06, -0.02, -0.05, 0.06, -0.17, 0.13],
    [0.11, -0.23, -0.43, -0.06, -0.14, -0.20, -0.11, 0.31],
])  # fmt: skip


def to_vcg(signal: np.ndarray, leads: Sequence[str], matrix: np.ndarray = KORS) -> np.ndarray:
    """The vectorcardiogram of an ECG that has the eight independent leads: (..., lead, time) -> (..., 3, time), same unit.

    ``matrix`` is KORS (the default: closest to measured Frank leads) or INVERSE_DOWER. Raises ValueError when one of the
    eight leads is missing.
    """
    eight = select(signal, leads, INDEPENDENT)
    missing = [name for name, row in zip(INDEPENDENT, np.moveaxis(eight, -2, 0)) if np.isnan(row).all()]
    if missing:
        raise ValueError(f"a vectorcardiogram needs the leads {' '.join(INDEPENDENT)}; missing: {' '.join(missing)}")
    return (matrix @ eight).astype(signal.dtype, copy=False)


def from_vcg(vcg: np.ndarray, matrix: np.ndarray = DOWER) -> np.ndarray:
    """The twelve leads that a dipole gives: (..., 3, time) -> (..., lead=12, time) in the order of TWELVE, same unit.

    The limb-lead laws hold to float rounding, since III, aVR, aVL and aVF are derived from I and II.
    """
    eight = (matrix @ vcg).astype(vcg.dtype, copy=False)
    i, ii = eight[..., 0, :], eight[..., 1, :]
    return np.concatenate([eight[..., :2, :], derive_limb_leads(i, ii), eight[..., 2:, :]], axis=-2)
