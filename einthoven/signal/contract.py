"""What a model or a store expects of a signal, and the named steps that bring a record there.

Scaling is one affine step per lead (``value = mV * gain + offset``) with numbers of the whole record, so that it can as well be made at load
time, on the device, from stored counts: ``affine`` gives those two numbers from a lead's mean and standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from einthoven.errors import ContractError
from einthoven.leads import LIMB, TWELVE, canonical, select
from einthoven.record import Record
from einthoven.signal.resample import METHODS, resample
from einthoven.signal.scale import moments

UNITS = {"mV": 1.0, "uV": 1000.0, "V": 0.001}
SCALINGS = ("none", "record_zscore", "corpus")
MISSING = ("zero", "refuse")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A record that meets a contract.

    signal       : (lead, time) float32, finite: 0 where nothing was recorded
    lead_present : (lead,) bool, false where the whole lead is missing
    steps        : what was done to get there, for the person who reads the answer
    """

    signal: np.ndarray
    lead_present: np.ndarray
    steps: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """Pieces of equal length: ``signal`` (window, lead, time) float32, ``valid`` (window, time) bool, false on padding."""

    signal: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class SignalContract:
    """Rate, leads and their order, unit, scaling, window.

    seconds    : length of a window
    scaling    : ``none`` (the unit stands), ``record_zscore`` (each lead by mean and population SD of the whole record at the contract's
                 rate; a flat lead becomes 0), or ``corpus`` (by ``mean`` and ``std``, one per lead, in the contract's unit)
    missing    : a lead that was not recorded and cannot be derived is ``zero`` or makes us ``refuse`` the record
    resampling : see ``signal.resample``
    stride     : seconds between the starts of two windows; None: a window's length, so that they do not overlap
    shown      : of the leads, those that are used; the others are taken as not recorded. None: all

    Raises ContractError when the values contradict one another.
    """

    fs: float = 500.0
    leads: tuple[str, ...] = TWELVE
    unit: str = "mV"
    scaling: str = "none"
    seconds: float = 5.0
    missing: str = "zero"
    resampling: str = "polyphase"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    stride: float | None = None
    shown: tuple[str, ...] | None = None

    def __post_init__(self):
        if isinstance(self.leads, str) or not self.leads:
            raise ContractError(f"a signal contract needs a list of lead names; got {self.leads!r}.")
        object.__setattr__(self, "leads", tuple(canonical(str(name)) for name in self.leads))
        for name in ("fs", "seconds"):
            _need(_is_number(getattr(self, name)) and getattr(self, name) > 0, f"{name} as a number above 0", getattr(self, name))
            object.__setattr__(self, name, float(getattr(self, name)))
        for name, known in (("unit", tuple(UNITS)), ("scaling", SCALINGS), ("missing", MISSING), ("resampling", METHODS)):
            _need(getattr(self, name) in known, f"{name} as one of {', '.join(known)}", getattr(self, name))
        if self.stride is not None:
            _need(_is_number(self.stride) and self.stride > 0, "stride as a number above 0", self.stride)
        if self.shown is not None:
            object.__setattr__(self, "shown", tuple(canonical(str(name)) for name in self.shown))
            _need(len(self.shown) > 0 and set(self.shown) <= set(self.leads), "shown leads that are among its leads", " ".join(self.shown))
        _need(len(set(self.leads)) == len(self.leads), "each lead once", " ".join(self.leads))
        if (self.mean is None) != (self.std is None) or (self.scaling == "corpus") != (self.mean is not None):
            raise ContractError("a signal contract has mean and std, both, exactly when its scaling is corpus.")
        for name in ("mean", "std"):
            if (values := getattr(self, name)) is not None:
                _need(len(values) == len(self.leads), f"one {name} per lead ({len(self.leads)})", len(values))
                _need(all(_is_number(value) for value in values), f"{name} as numbers", values)
                object.__setattr__(self, name, tuple(float(value) for value in values))
        _need(self.std is None or min(self.std) > 0, "std above 0", self.std)

    @property
    def n_samples(self) -> int:
        """Samples per window."""
        return round(self.seconds * self.fs)

    def of_view(self) -> dict[str, Any]:
        """The arguments that make a view of a store (``store.views``) give such signals, but for its windows."""
        return {"leads": self.leads, "shown": self.shown, "scaling": self.scaling, "mean": self.mean, "std": self.std}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, text and lists, for JSON; ``from_dict`` is its inverse."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SignalContract:
        """A contract as ``to_dict`` wrote it. Raises ContractError for a name it does not know."""
        known = cls.__dataclass_fields__
        if unknown := [name for name in values if name not in known]:
            raise ContractError(f"a signal contract has no {', '.join(unknown)}; it has {', '.join(known)}.")
        arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**arguments)

    def apply(self, record: Record) -> Prepared:
        """Bring a record to this contract, by named steps: leads, rate, scaling, gaps. Raises ContractError where that is not possible."""
        steps: list[str] = []
        signal, present = self._arrange(record, steps)
        if record.fs != self.fs:
            flat = moments(signal)[1] == 0
            level = np.nanmax(signal[flat], axis=1, keepdims=True)
            signal = resample(signal, record.fs, self.fs, self.resampling)
            # A filter leaves a ripple of a ten-thousandth on a constant, which record_zscore would blow up to an SD of 1.
            signal[flat] = np.where(np.isnan(signal[flat]), np.nan, level)
            steps.append(f"resampled from {record.fs:g} to {self.fs:g} Hz ({self.resampling})")
        if signal.shape[1] == 0:
            raise ContractError(f"{record.record or 'the record'} has no sample.")
        gain, offset = self.affine(*moments(signal))
        if (gain != 1).any() or (offset != 0).any():
            signal = signal * gain[:, None] + offset[:, None]
            steps.append(
                {"none": f"converted from mV to {self.unit}", "corpus": "standardised with the corpus' mean and SD"}.get(
                    self.scaling, _ZSCORED
                )
            )
        gaps = np.isnan(signal) & present[:, None]
        if gaps.any():
            steps.append(f"filled {int(gaps.sum())} missing samples of {' '.join(self._names(gaps.any(axis=1)))} with 0")
        return Prepared(np.nan_to_num(signal, nan=0.0).astype(np.float32), present, tuple(steps))

    def affine(self, mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(gain, offset) of each lead in ``value = mV * gain + offset``, float64, from its mean and SD in mV over the whole record: (lead,) each.

        A lead that was not recorded (NaN) has 0 and 0; so has a flat lead under ``record_zscore``.
        """
        mean, sd = np.asarray(mean, dtype=np.float64), np.asarray(sd, dtype=np.float64)
        absent, unit = np.isnan(mean), UNITS[self.unit]
        if self.scaling == "none":
            gain, offset = np.full(mean.shape, unit), np.zeros(mean.shape)
        elif self.scaling == "corpus":
            gain = unit / np.array(self.std)
            offset = -np.array(self.mean) / np.array(self.std)
        else:
            absent = absent | (sd == 0)
            gain = 1 / np.where(absent, 1.0, sd)
            offset = -np.where(absent, 0.0, mean) * gain
        return np.where(absent, 0.0, gain), np.where(absent, 0.0, offset)

    def windows(self, prepared: Prepared) -> Windows:
        """Windows from the start, one every ``stride``; what is left at the end is dropped, a record shorter than one window is padded with 0."""
        n_leads, n_samples = prepared.signal.shape
        n, step = self.n_samples, self.n_samples if self.stride is None else max(1, round(self.stride * self.fs))
        starts = np.arange(0, max(1, n_samples - n + 1), step)
        signal = np.zeros((n_leads, max(n, n_samples)), dtype=np.float32)
        signal[:, :n_samples] = prepared.signal
        cut = np.lib.stride_tricks.sliding_window_view(signal, n, axis=1)[:, starts]
        valid = starts[:, None] + np.arange(n) < n_samples
        return Windows(np.ascontiguousarray(cut.transpose(1, 0, 2)), valid)

    def _arrange(self, record: Record, steps: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(lead, time) in the contract's order, NaN where not recorded, and which leads are there."""
        signal = select(record.signal, record.leads, self.leads)
        if self.shown is not None:
            signal = np.where(np.isin(self.leads, self.shown)[:, None], signal, np.nan)
            steps.append(f"shown to the model: {' '.join(self.shown)} alone")
        present = ~np.isnan(signal).all(axis=1)
        name = record.record or "the record"
        if not present.any():
            raise ContractError(f"{name} has none of the leads {' '.join(self.leads)}; it has {' '.join(record.leads)}.")
        recorded = {canonical(lead) for lead in record.leads}
        if not present.all():
            absent = " ".join(self._names(~present))
            if self.missing == "refuse":
                raise ContractError(
                    f"{name} lacks {absent}, and this contract refuses a record with missing leads; it has {' '.join(record.leads)}."
                )
            steps.append(f"missing leads set to 0: {absent}")
        derived = [lead for lead, there in zip(self.leads, present) if there and lead not in recorded and lead in LIMB]
        if derived:
            steps.append(f"derived {' '.join(derived)} from I and II")
        kept = [lead for lead in map(canonical, record.leads) if lead in self.leads]
        if kept != [lead for lead in self.leads if lead in recorded]:
            steps.append(f"leads put into the order {' '.join(self.leads)}")
        if left := [lead for lead in record.leads if canonical(lead) not in self.leads]:
            steps.append(f"left out {' '.join(left)}")
        return signal, present

    def _names(self, which: Sequence[bool] | np.ndarray) -> list[str]:
        return [name for name, yes in zip(self.leads, which) if yes]


_ZSCORED = "standardised each lead over the whole record"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _need(holds: bool, expected: str, got: Any) -> None:
    if not holds:
        raise ContractError(f"a signal contract needs {expected}; got {got!r}.")


LEGACY_MV = SignalContract(fs=500.0, scaling="none", seconds=5.0, missing="refuse", resampling="linear-fractional")
"""fairseq-signals' older pipeline (its ``preprocess_physionet2021``): mV, never standardised; a record with a missing sample was passed over.
It ignored the baseline of the header, which is 0 in all corpora that it was written for."""

LEGACY_ZSCORE = SignalContract(fs=500.0, scaling="record_zscore", seconds=5.0, missing="zero", resampling="linear")
"""fairseq-signals' newer pipeline, behind the published ECG-FM weights: each lead by mean and population SD of the whole record; flat leads 0."""
