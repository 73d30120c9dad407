"""Tables written: ``time (s),I (mV),II (mV),…``, a row for each instant; ``.tsv`` with tabs, any other name with commas.

The numbers are the shortest that give the same float32 again. What a table has no place for (patient, age, sex, time, report, device, measurements,
labels, a name of its own) stands in a JSON file beside it, ``<stem>.json``, where there is such a thing to say; the reader puts it back.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.sidecar_write import about, check_free, put
from einthoven.record import Record
from einthoven.whole import appearing

_AT_ONCE = 10_000


def write(record: Record, path: Path) -> None:
    """Write a recording as a table, and its sidecar where it needs one, that read back as it was; NaN is an empty cell.

    The sidecar comes first, so that no table stands without it. Raises FormatError for fewer than two samples, which tell no rate, and where a JSON
    file of that name speaks for another file.
    """
    n_leads, n_samples = record.signal.shape
    if not n_leads or n_samples < 2:
        raise FormatError(f"{path}: expected at least a lead and two samples, whose times give the rate; it has {n_leads} and {n_samples}.")
    said = about(record, path)
    check_free(path, said)
    units = record.meta.get("units", {})
    names = [f"{' '.join(name.split())} ({units.get(name, 'mV') or 'NU'})" for name in record.leads]
    with appearing(path) as part:
        with open(part, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", lineterminator="\n")
            table.writerow(["time (s)", *names])
            for first in range(0, n_samples, _AT_ONCE):
                signal = record.signal[:, first : first + _AT_ONCE]
                cells = np.where(np.isnan(signal), "", signal.astype(np.str_))
                times = [f"{k / record.fs:.9f}".rstrip("0").rstrip(".") for k in range(first, first + signal.shape[1])]
                table.writerows(zip(times, *cells))
        put(path, said)
