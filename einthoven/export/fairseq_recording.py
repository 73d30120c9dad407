"""A recording of a store as fairseq-signals' files and tables speak of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.export.folder import whole_number
from einthoven.store.read import Store


class Entry:
    """A row of the store as the old tables speak of it.

    stem   : the name of its files, without ending and number
    place  : the folder of its source
    root   : of the corpus that it came from, where that is known
    labels : of the recording
    """

    def __init__(self, store: Store, row: int, stem: str, place: Path, root: str | None, labels: Mapping[str, float] | None):
        self.store, self.row, self.stem, self.place, self.root, self.labels = store, row, stem, place, root, labels
        self.patient, self.split = store.column("patient")[row], store.column("split")[row]
        self.person = int(store.patient_number[row]) if self.patient is not None else None

    def signal(self, leads: Sequence[str]) -> np.ndarray:
        """(lead, time) mV in float64: a count is a whole number of microvolts, so that nothing is rounded anew. NaN where not recorded."""
        counts = self.store.counts(self.row)
        stored = self.store.column("leads")[self.row].split()
        out = np.full((len(leads), counts.shape[1]), np.nan)
        step = float(self.store.column("microvolt_per_count")[self.row])
        for at, name in enumerate(leads):
            if name in stored:
                out[at] = counts[stored.index(name)] * step / 1000
        return out

    def keys(self, n_samples: int, fs: float) -> dict[str, Any]:
        """What stands in each of its files beside the signal."""
        keys = {
            "org_sample_rate": rate(self.store.fs),
            "curr_sample_rate": rate(fs),
            "org_sample_size": np.int64(self.store.column("n_samples")[self.row]),
            "curr_sample_size": np.int64(n_samples),
            "idx": np.int64(self.row),
        }
        return keys | ({} if self.person is None else {"patient_id": np.int64(self.person)})

    @property
    def path(self) -> str:
        """Of the file that it was read from, without the ending of a WFDB header."""
        return self.store.column("path")[self.row].removesuffix(".hea")

    @property
    def dataset(self) -> str:
        text = self.store.column("meta")[self.row]
        return str((json.loads(text) if text else {}).get("dataset", self.store.column("source")[self.row]))

    def record(self) -> dict[str, Any]:
        return {"path": self.path, "dataset": self.dataset}

    def meta(self, org: np.ndarray, leads: Sequence[str]) -> dict[str, Any]:
        missing = np.isnan(org)
        with np.errstate(invalid="ignore"):
            flat = [name for name, row in zip(leads, org) if (row == row[0]).all()]
        mean, sd = org.mean(axis=1), org.std(axis=1)  # NaN for a lead with one missing sample, as there
        nothing = [name for name, row in zip(leads, missing) if row.all()]
        store, row = self.store, self.row
        sex, time = store.column("sex")[row], store.column("time")[row]
        return {
            "idx": row,
            "path": self.path if self.root is None else (Path(self.root) / self.path).as_posix(),
            "dataset": self.dataset,
            "save_file": f"{self.stem}.mat",
            "source": self.place.name,
            "save_path": (self.place / "org" / f"{self.stem}.mat").as_posix(),
            "lead_order": list(leads),
            "sample_rate": whole_number(store.fs),
            "sample_size": org.shape[1],
            "units": "mv",
            "avail_leads": [name for name in leads if name not in nothing],
            "nan_any": bool(missing.any()),
            "nan_leads_any": bool(nothing),
            "nan_leads": nothing,
            "constant_leads_any": bool(flat),
            "constant_leads": flat,
            **{f"mean_{at}": float(value) for at, value in enumerate(mean)},
            **{f"std_{at}": float(value) for at, value in enumerate(sd)},
            "age": whole_number(float(store.column("age")[row])),
            "diagnosis": self._diagnosis(),
            "sex": {"female": 1, "male": 0}.get(sex),
            "patient_id": self.patient,
            "time": None if np.isnat(time) else str(time.astype("datetime64[s]")).replace("T", " "),
        }

    def _diagnosis(self) -> str | None:
        if self.store.column("label_system")[self.row] != "SNOMED CT":
            return None
        return ",".join(code for code, value in (self.labels or {}).items() if value == 1.0)


def segment_length(seconds: float, fs: float) -> int:
    """Samples of a segment. Raises StoreError where they are no whole number, or none."""
    if not (fs > 0 and seconds > 0 and abs(seconds * fs - round(seconds * fs)) < 1e-6):
        raise StoreError(f"expected segments of a whole number of samples; got {seconds:g} s at {fs:g} Hz")
    return round(seconds * fs)


def file_name(text: str) -> str:
    """A record's name, or its path, as the name of a file: no slashes, no blanks."""
    return "_".join(text.replace("/", " ").replace("\\", " ").split())


def refuse_one_name_twice(store: Store, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise StoreError(f"{store.path}: two recordings would be written under one name; rename one of the records in the corpus")


def rate(fs: float) -> Any:
    """A rate as its files hold it: a whole number where it is one."""
    return np.int64(fs) if float(fs).is_integer() else np.float64(fs)


def mat(content: Mapping[str, Any]) -> bytes:
    """A MATLAB 5 file; numbers become 1 × 1."""
    from scipy.io import savemat

    file = BytesIO()
    savemat(file, dict(content))
    return file.getvalue()
