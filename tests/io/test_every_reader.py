"""What holds for every reader of the table: shapes, units, parts, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from einthoven import io
from einthoven.errors import FormatError
from einthoven.leads import TWELVE

FS, TRUTH = 250, np.cumsum(np.random.default_rng(7).normal(size=(12, 1500)), axis=1) * 0.01


def wfdb(folder: Path) -> Path:
    counts = np.round(TRUTH * 1000).astype("<i2")
    (folder / "r.dat").write_bytes(counts.T.tobytes())
    lines = [f"r.dat 16 1000/mV 16 0 {row[0]} {int(row.astype(int).sum()) % 65536} 0 {name}" for name, row in zip(TWELVE, counts)]
    (folder / "r.hea").write_text("\n".join([f"r 12 {FS} 1500", *lines]))
    return folder / "r"


def matlab(folder: Path) -> Path:
    scipy.io.savemat(folder / "r.mat", {"feats": TRUTH, "curr_sample_rate": FS})
    return folder / "r.mat"


def edf(folder: Path, width: int = 2) -> Path:
    top = 2 ** (8 * width - 1)
    counts = np.round(TRUTH * 1000).astype(int)
    head = (b"0".ljust(8) if width == 2 else b"\xffBIOSEMI") + b"".join(
        str(text).encode().ljust(n)
        for text, n in [("X", 80), ("", 80), ("01.01.85", 8), ("00.00.00", 8), (256 * 13, 8), ("", 44), (6, 8), (1, 8), (12, 4)]
    )
    per_lead = [(name, 16) for name in TWELVE], [("", 80)] * 12, [("uV", 8)] * 12
    numbers = [[(value, n)] * 12 for value, n in ((-top, 8), (top - 1, 8), (-top, 8), (top - 1, 8), ("", 80), (FS, 8), ("", 32))]
    head += b"".join(str(text).encode().ljust(n) for column in (*per_lead, *numbers) for text, n in column)
    body = b"".join(int(v).to_bytes(width, "little", signed=True) for part in np.split(counts, 6, axis=1) for row in part for v in row)
    path = folder / ("r.edf" if width == 2 else "r.bdf")
    path.write_bytes(head + body)
    return path


def hdf5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "r.h5", "w") as file:
        file["ecg"] = TRUTH
        file["ecg"].attrs.update({"fs": FS, "unit": "mV", "leads": list(TWELVE)})
    return folder / "r.h5"


def npy(folder: Path) -> Path:
    np.save(folder / "r.npy", TRUTH * 1000)
    (folder / "r.json").write_text(json.dumps({"fs": FS, "unit": "uV", "leads": TWELVE}))
    return folder / "r.npy"


def npz(folder: Path) -> Path:
    np.savez_compressed(folder / "r.npz", ecg=TRUTH.T, fs=FS, leads=TWELVE, unit="mV")
    return folder / "r.npz"


def parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table(dict(zip(TWELVE, TRUTH))).replace_schema_metadata({"fs": str(FS), "unit": "mV"})
    pyarrow.parquet.write_table(table, folder / "r.parquet")
    return folder / "r.parquet"


def csv(folder: Path) -> Path:
    head = ";".join(["t [ms]", *(f"{name} (\u00b5V)" for name in TWELVE)])
    np.savetxt(folder / "r.csv", np.vstack([np.arange(1500) * 4, TRUTH * 1000]).T, "%.2f", ";", header=head, comments="", encoding="utf-8")
    return folder / "r.csv"


def apple(folder: Path) -> Path:
    """One lead is all that a watch has."""
    head = [
        "Name,",
        "Recorded Date,2021-05-01 09:48:13 +0100",
        "Classification,Sinus Rhythm",
        'Device,"Watch6,2"',
        f"Sample Rate,{FS} hertz",
        "Lead,Lead I",
    ]
    lines = [*head, "Unit,\u00b5V", "", *(f"{value * 1000:.3f}" for value in TRUTH[0])]
    (folder / "r.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "r.csv"


def scp(folder: Path) -> Path:
    from test_scp import CODES, lead_section, person, tables, wave
    from test_scp import file as scp_file

    counts = np.round(TRUTH * 1000).astype(int)
    sections = {
        1: person(),
        2: tables("default"),
        3: lead_section([CODES[name] for name in TWELVE], 1500),
        6: wave(counts, 2, "default", 1000, 4000),
    }
    return scp_file(folder / "r.scp", sections)


def ishne(folder: Path) -> Path:
    from test_ishne import write

    counts = np.round(TRUTH * 1000).astype(int)
    codes = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
    return write(folder / "r.ecg", counts, n_samples=1500, fs=FS, leads=codes, quality=(1,) * 12, nanovolts=(1000,) * 12)


def dicom(folder: Path) -> Path:
    from test_dicom import save, twelve

    return save(folder / "r.dcm", [twelve(np.round(TRUTH * 1000), fs=FS)])


def aecg(folder: Path) -> Path:
    from test_aecg import ABSOLUTE, save, series, twelve

    clock = ABSOLUTE.replace("0.002", "0.004")
    return save(folder / "r.xml", series(twelve(np.round(TRUTH * 1000).astype(int), clock=clock)))


def muse(folder: Path) -> Path:
    from muse_xml import muse_xml, waveform

    path = folder / "r.xml"
    path.write_bytes(muse_xml(waveform(np.round(TRUTH * 1000), TWELVE, base=str(FS), LeadAmplitudeUnitsPerBit="1")))
    return path


def cardiosoft(folder: Path) -> Path:
    from test_cardiosoft import block, written

    return written(folder, block("StripData", np.round(TRUTH * 1000).astype(int), rate=str(FS), resolution="1"))


def philips(folder: Path) -> Path:
    from test_philips import with_differences, written, xli

    about = f"<samplingrate>{FS}</samplingrate><resolution>1</resolution><numberchannelsallocated>12</numberchannelsallocated>"
    return written(folder, xli(with_differences(np.round(TRUTH * 1000).astype(int))), about=about, n_samples=1500 * 500 // FS)


def schiller(folder: Path) -> Path:
    from test_schiller import AVERAGES, block, written

    return written(folder, AVERAGES, block(np.round(TRUTH * 1000).astype(int), rate=str(FS)))


WRITERS: dict[str, Callable[[Path], Path]] = {
    "WFDB": wfdb,
    "MATLAB": matlab,
    "GE MUSE XML": muse,
    "GE CardioSoft XML": cardiosoft,
    "Philips SierraECG XML": philips,
    "Schiller EDI XML": schiller,
    "HL7 aECG XML": aecg,
    "DICOM": dicom,
    "SCP-ECG": scp,
    "ISHNE Holter": ishne,
    "EDF": edf,
    "BDF": lambda folder: edf(folder, 3),
    "HDF5": hdf5,
    "NumPy array": npy,
    "NumPy archive": npz,
    "Parquet table": parquet,
    "Apple Watch CSV": apple,
    "table": csv,
}
"""Format -> what writes ``TRUTH`` in it, into a folder."""

LEADS = {"Apple Watch CSV": ("I",)}
"""Of the formats that hold fewer than twelve."""


def test_every_reader_is_tested():
    assert WRITERS.keys() == io.READERS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_a_reader_gives_millivolt_and_exact_parts(tmp_path, name):
    path, leads = WRITERS[name](tmp_path), LEADS.get(name, TWELVE)
    assert io.recognise(path) == name
    whole = io.READERS[name](path)
    assert whole.fs == FS and whole.leads == leads and whole.record == "r" and whole.signal.dtype == np.float32
    np.testing.assert_allclose(whole.signal, TRUTH[: len(leads)], atol=6e-4)  # half a µV of rounding, at 1 µV per count
    some = [leads[n] for n in (1, 6) if n < len(leads)] or [leads[0]]
    part = io.read(path, leads=[name.lower() for name in some], start=2.0, stop=4.0)
    np.testing.assert_array_equal(part.signal, whole.signal[[leads.index(name) for name in some], 500:1000])
    assert part.leads == tuple(some) and part.fs == FS
    assert io.read(path, start=100.0).signal.shape == (len(leads), 0)
    with pytest.raises(FormatError, match="asked for X"):
        io.read(path, leads=["X"])
