"""The value that every reader returns and everything else begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Record:
    """One ECG recording, in physical units, as it was recorded.

    signal  : (lead, time) float32 in mV; NaN where a lead or a sample was not recorded
    fs      : sampling frequency in Hz
    leads   : the name of each row of ``signal``
    record  : id of the recording within its corpus, "" where the file names none
    patient : id of the person within the corpus, None where not known (never guessed)
    labels  : code -> 1.0 (present), 0.0 (stated absent) or NaN (uncertain); None where nobody labelled the recording
    label_system : the vocabulary of the codes: "SNOMED CT", "SCP-ECG", …
    meta    : what else the file says, by the field's name: ``age`` (years), ``sex`` ("female", "male"), ``time``
              (datetime of the recording), ``report``, ``comments``; a thing that is not known has no entry

    Raises ValueError when the parts contradict one another.
    """

    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    record: str = ""
    patient: str | None = None
    labels: Mapping[str, float] | None = None
    label_system: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "signal", np.asarray(self.signal, dtype=np.float32))
        object.__setattr__(self, "leads", tuple(self.leads))
        object.__setattr__(self, "fs", float(self.fs))
        n_leads = len(self.leads)
        if self.signal.ndim != 2 or self.signal.shape[0] != n_leads:
            hint = " It looks transposed: pass signal.T." if self.signal.ndim == 2 and self.signal.shape[1] == n_leads else ""
            raise ValueError(
                f"expected a signal of shape (lead={n_leads}, time) for {' '.join(self.leads)}; got {self.signal.shape}.{hint}"
            )
        if len(set(self.leads)) != n_leads:
            raise ValueError(f"every lead needs its own name; got {' '.join(self.leads)}")
        if not (np.isfinite(self.fs) and self.fs > 0):
            raise ValueError(f"expected a sampling frequency above 0 Hz; got {self.fs}")

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.signal.shape[1] / self.fs

    def __repr__(self) -> str:
        who = f", patient {self.patient}" if self.patient is not None else ""
        return f"Record({self.record or 'unnamed'}{who}: {len(self.leads)} leads, {self.seconds:g} s at {self.fs:g} Hz)"
