"""Lobachevsky University database (LUDB): 10 s, 12 leads, with every wave's boundaries drawn by cardiologists in each lead.

Labels are the diagnoses as the headers write them ("Rhythm: Sinus rhythm"), without the full stop; there is no code system. The wave boundaries
lie beside the signals as WFDB annotations, one file a lead (``1.i`` … ``1.v6``); they are not labels of a recording and do not go into a store.

A copy in circulation has headers whose gain scales every lead to a range of 1 mV, so that the limb leads contradict one another, while the stored
integers obey their laws as µV. What a recording's own laws decide is taken, and ``meta["gain"]`` says so where it is not the header's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from einthoven import io
from einthoven.io.wfdb import read_header
from einthoven.leads import limb_law_residual
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import described, existing_root, headers_in, listed, refuse_problem

__all__ = ["FACTS", "read", "records"]

SYSTEM = "LUDB"
FACTS = Facts(
    name="LUDB",
    version="1.0.1",
    licence="ODC-By 1.0",
    citation=(
        "Kalyakulina et al., LUDB: A new open-access validation tool for electrocardiogram delineation algorithms, IEEE Access 8:186181-186190, 2020"
    ),
    url="https://physionet.org/content/ludb/1.0.1/",
    records=200,
    patients=200,
    fs=500.0,
    label_system=SYSTEM,
)

LAYOUT = "LUDB's folder with data/1.hea, data/1.dat, …"
_BROKEN, _HELD = 0.005, 0.002  # mV (RMS) by which a law must fail for the gain to be doubted, and by which rounding may make it fail


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every recording by its number; each is a person of its own, as the database says. Raises EinthovenError where there is none."""
    root = existing_root(root, LAYOUT)
    base = root / "data" if (root / "data").is_dir() else root
    for path in sorted(headers_in(base, LAYOUT), key=lambda path: (len(path.stem), path.stem)):
        ref, comments = listed(path, path.stem, patient=path.stem)
        codes = _diagnoses(comments)
        yield replace(ref, labels=dict.fromkeys(codes, 1.0), label_system=SYSTEM) if codes else ref


def read(ref: RecordRef) -> Record:
    """A recording in mV, by the header's gain, or at 1 µV per count where only that obeys the laws of the limb leads."""
    refuse_problem(ref)
    record = described(io.read(ref.path), ref)
    broken = limb_law_residual(record.signal, record.leads)
    if not broken or max(broken.values()) < _BROKEN:
        return record
    signals = read_header(ref.path).signals
    gain = np.array([[signal.gain] for signal in signals])
    baseline = np.array([[signal.baseline] for signal in signals])
    counts = np.rint(record.signal.astype(np.float64) * gain + baseline)
    if max(limb_law_residual(counts / 1000, record.leads).values()) > _HELD:
        return record
    said = f"1 uV per count: by the header's gains the limb leads contradict one another by {max(broken.values()):.2f} mV"
    return replace(record, signal=counts / 1000, meta={**record.meta, "gain": said})


def _diagnoses(comments: tuple[str, ...]) -> list[str]:
    """The comments after ``<diagnoses>:``, each a diagnosis."""
    lines = [line.strip() for line in comments]
    first = next((at for at, line in enumerate(lines, start=1) if line.lower().startswith("<diagnoses>")), len(lines))
    return [line.rstrip(". ") for line in lines[first:] if line.strip(". ")]
