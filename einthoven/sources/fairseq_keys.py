"""What a ``.mat`` file of fairseq-signals' older pipeline says beside its signal: person, age, sex, labels.

Ages and sexes were overwritten there by 0 and 1: an age of 0, and a sex of 1, say nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.matlab_variables import read_variables
from einthoven.sources.fairseq_tables import labels_of
from einthoven.sources.vocabulary import CLASSES, SNOMED


def keys_of(path: Path) -> dict[str, Any]:
    """What stands in a file beside its signal. Raises FormatError where it is damaged."""
    try:
        content = read_variables(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: a damaged MATLAB file: {error}.") from None
    return {name: value for name, value in content.items() if name != "feats"}


def is_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size == 1 and np.issubdtype(value.dtype, np.number) and bool(np.isfinite(value).all())


@cache
def _challenge() -> tuple[tuple[str, ...], ...]:
    return tuple(one.codes[SNOMED] for one in CLASSES["cinc2021"])


def said_by(path: Path, said: dict[str, Any], patient_id: str) -> tuple[str | None, dict[str, float] | None, str | None, dict[str, Any]]:
    """(patient, labels, vocabulary, meta) that a file of the older pipeline says."""
    meta: dict[str, Any] = {}
    patient = f"{int(said['patient_id'].item())}" if is_number(said.get("patient_id")) else None
    if "age" in said and is_number(said["age"]) and said["age"].item() > 0:
        meta["age"] = float(said["age"].item())
    if "sex" in said and is_number(said["sex"]) and said["sex"].item() == 0:
        meta["sex"] = "male"
    if patient_id == "auto" and not path.name.startswith(f"{patient}_"):
        patient = None
    label = said.get("label")
    if not (isinstance(label, np.ndarray) and label.size and np.issubdtype(label.dtype, np.number)):
        return patient, None, None, meta
    values = label.reshape(-1).astype(np.float64)
    if values.size == len(_challenge()):
        return patient, labels_of(values, _challenge()), SNOMED, meta
    return patient, labels_of(values, tuple((f"label {at}",) for at in range(values.size))), "own", meta
