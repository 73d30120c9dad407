"""What ecg-selfsupervised's preparation wrote for a tiny corpus, and what our readers make of the same raw files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from parity_cases import SslCase

from einthoven.leads import select
from einthoven.record import Record
from einthoven.signal.resample import resample
from einthoven.signal.scale import moments
from einthoven.store.stratify import stratify

ORDER = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF", "VX", "VY", "VZ")
"""Its order of leads."""


def prepared(record: Record, case: SslCase) -> np.ndarray:
    """(time, lead) as it stored a recording: its rate, its order, leads that are not there 0."""
    leads = ORDER[: case.config["channels"]]
    at_rate = resample(record.signal, record.fs, case.config["target_fs"], "image")
    return np.nan_to_num(select(at_rate, record.leads, leads, derive=False)).T


def stored(case: SslCase) -> list[np.ndarray]:
    """Its signals in the order of its table, (time, lead) each: raw float32 files without a header, whatever their names say."""
    meta = case.config["memmap_meta"]
    assert meta["dtype"] == "float32"
    files = [
        np.fromfile(case.folder / "processed" / name, dtype="<f4").reshape(shape) for name, shape in zip(meta["filenames"], meta["shape"])
    ]
    places = zip(meta["file_idx"], meta["start"], meta["length"])
    return [files[file][start : start + length] for file, start, length in places]


def compare(case: SslCase, row: dict[str, Any], record: Record) -> None:
    """The signal and the statistics of a row of its table."""
    close = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    ours = prepared(record, case)
    assert len(ours) == row["data_length"]
    np.testing.assert_allclose(ours, stored(case)[row["data"]], **close)
    for moment, key in zip(moments(ours.T), ("data_mean", "data_std")):
        np.testing.assert_allclose(moment, row[key], **close)


def compare_corpus(case: SslCase) -> None:
    """Its mean and SD of the corpus: averages over recordings, each counting once whatever its length."""
    close = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    by_record = [moments(signal.T) for signal in stored(case)]
    for at, key in enumerate(("mean", "std")):
        np.testing.assert_allclose(np.mean([one[at] for one in by_record], axis=0), case.config[key], **close)


def folds(labels: Sequence[Sequence[str]], n_folds: int) -> list[int]:
    """Its folds of records in the order of its table, -1 for one without any label."""
    classes = sorted({name for one in labels for name in one})
    return stratify(labels, classes, [1 / n_folds] * n_folds).tolist()


def same_number(ours: float | None, theirs: float) -> bool:
    """A thing that is not known is no entry here and NaN there."""
    return theirs != theirs if ours is None else ours == theirs
