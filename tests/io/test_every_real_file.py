"""Every real recording that is here reads as its table says; what should be refused is refused, with the right reason."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from real_folders import DATA_ROOT

import einthoven
from einthoven.errors import FormatError
from einthoven.io import ecg_leads
from einthoven.leads import INDEPENDENT, TWELVE, canonical, limb_law_residual, select

REFUSED = {
    "code15-wfdb/9190_low_sample_rate": "another record's signal",
    "dicom/test_ecg.dcm": "[Hh]emodynamic",
    "text/testing_ecg.txt": "fs=|unit",
}
"""Files that the table lists and that must not be read as they are: another kind of waveform, and a table that says neither rate nor unit."""
NOT_LISTED = {
    "scp-healforce/62.SCP": "SCP",
    "scipy-electrocardiogram/ecg.dat": "fs|rate",
    "ishne/ECG_P28.01.ann": r"lies beside the recording ECG_P28\.01\.ecg",
    "ludb/ludb.csv": "cannot be read as an ECG",
    "records.csv": "cannot be read as an ECG",
    "README.md": "cannot be read as an ECG",
}
BROKEN_ON_PURPOSE = "9190_all_data_is_zero"


def rows() -> list:
    if DATA_ROOT is None or not (DATA_ROOT / "records.csv").is_file():
        return [pytest.param({}, id="none", marks=[pytest.mark.data, pytest.mark.skip(reason="no real recordings: set EINTHOVEN_DATA")])]
    with open(DATA_ROOT / "records.csv", newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["path"] not in REFUSED]
    sources = dict.fromkeys(row["source"] for row in listed)
    return [pytest.param([row for row in listed if row["source"] == name], id=name, marks=pytest.mark.data) for name in sources]


def names_in(text: str) -> tuple[str, ...]:
    """``Lead I (Einthoven) Lead II`` -> ("I", "II"); ``i ii`` -> ("I", "II")"""
    parts = re.split(r"\s*Lead ", text)[1:] if text.startswith("Lead ") else text.split()
    return tuple(canonical(part) for part in parts)


@pytest.mark.parametrize("listed", rows())
def test_a_source_reads_as_its_table_says(listed, data_root):
    typical = []
    for row in listed:
        record = einthoven.read(data_root / row["path"])
        said = names_in(row["leads"])
        # The table counts a mixed-rate record by its frames; its ECG leads are four times as fast.
        per_frame = 4 if row["path"].endswith("/041s") else 1
        n_samples = int(row["n_samples"]) * per_frame
        assert record.signal.shape[1] == n_samples and record.signal.dtype == np.float32, row["path"]
        assert record.fs == pytest.approx(float(row["fs"]) * per_frame, rel=1e-3), row["path"]
        assert record.seconds == pytest.approx(float(row["duration_s"]), abs=0.02), row["path"]
        if len(set(said)) == len(said):
            assert set(said) <= set(record.leads), row["path"]
            recorded = tuple(name for name in record.leads if name in said)
            if not set(record.meta.get("derived", ())):
                assert recorded == said, row["path"]
        else:
            assert len(record.leads) == len(said), row["path"]
        if set(INDEPENDENT) <= set(said):
            assert set(TWELVE) <= set(record.leads), row["path"]
        own = record.signal[[record.leads.index(name) for name in record.leads if name not in record.meta.get("derived", ())]]
        if (end := record.meta.get("calibration")) is not None:  # what Philips appends to the ECG: a pulse, and zeros
            own = own[:, : round(end * record.fs)]
            assert np.isnan(record.signal[:, own.shape[1] :]).all() and own.shape[1] > 0.9 * n_samples, row["path"]
        n_missing = int(np.isnan(own).sum()) - sum(record.meta.get("not_recorded", {}).values())  # counts that mean "nothing" in EDF
        assert abs(n_missing - int(row["nan"])) <= (per_frame > 1), row["path"]
        assert int((own == 0).all(axis=1).sum()) == int(row["all_zero_leads"]), row["path"]
        ecg = select(record.signal, record.leads, ecg_leads(record))
        heights = np.nanpercentile(ecg, 99.5, axis=1) - np.nanpercentile(ecg, 0.5, axis=1)
        live = heights[heights > 0]
        if BROKEN_ON_PURPOSE not in row["path"]:
            typical.append(float(np.median(live)))
        for key, value in (("age", row["age"]), ("sex", row["sex"])):
            if key in record.meta and value and value != "NaN":
                same = str(record.meta[key])[0].lower() == value[0].lower() if key == "sex" else record.meta[key] == float(value)
                assert same, (row["path"], key, record.meta[key], value)
    # One record may be all artefact (1111554 of CODE-15 has 36 mV); a wrong unit would make every record of a source implausible.
    assert 0.1 < np.median(typical) < 8 and np.mean([height < 15 for height in typical]) > 0.98, typical


@pytest.mark.data
@pytest.mark.parametrize(("path", "reason"), [*REFUSED.items(), *NOT_LISTED.items()])
def test_what_is_no_ecg_or_does_not_say_enough_is_refused_with_its_reason(data_root, path, reason):
    with pytest.raises(FormatError, match=reason) as caught:
        einthoven.read(data_root / path)
    assert "\n" not in str(caught.value) and str(data_root / path) in str(caught.value)


@pytest.mark.data
def test_a_table_without_rate_and_unit_is_read_when_somebody_says_them(data_root, tmp_path):
    path = Path(shutil.copy(data_root / "text" / "testing_ecg.txt", tmp_path))
    told = einthoven.read(path, fs=500, unit="uV", names=TWELVE)
    # Which columns are which lead nobody says: the laws of the limb leads do.
    assert told.leads == TWELVE and max(limb_law_residual(told.signal, told.leads).values()) < 0.005
    assert 0.3 < np.ptp(told.signal[1]) < 5
    path.with_suffix(".json").write_text(json.dumps({"fs": 500, "unit": "uV", "leads": TWELVE}))
    beside = einthoven.read(path)
    np.testing.assert_array_equal(beside.signal, told.signal)


def difference(one, other) -> float:
    """Largest difference in mV over the leads that both have."""
    both = [name for name in one.leads if name in other.leads]
    assert set(TWELVE) <= set(both) or len(both) == len(one.leads)
    n = min(one.signal.shape[1], other.signal.shape[1])
    return float(np.nanmax(np.abs(select(one.signal, one.leads, both)[:, :n] - select(other.signal, other.leads, both)[:, :n])))


@pytest.mark.data
@pytest.mark.parametrize(
    ("one", "other", "step"),
    [
        ("ecgtoolkit-3formats/Example.dcm", "ecgtoolkit-3formats/Example.xml", 0.0026),
        ("ecgtoolkit-3formats/Example.scp", "ecgtoolkit-3formats/Example.xml", 0.0026),
        ("philips-xml/ad4d3d80-d165_1-04_orig.xml", "philips-xml/ad4d3d80-d165_1-04_converted.xml", 0.0205),
        ("edf/sample.edf", "cinc2017/A00001.hea", 0.001),
        ("cinc2021/ptb/S0001.hea", "ptbdb/s0010_re.hea", 0.00051),
        ("cinc2021/ptb-xl/HR00002.hea", "ptb-xl/records500/00000/00002_hr.hea", 1e-6),
    ],
)
def test_one_recording_in_several_formats_is_one_signal(data_root, one, other, step):
    assert difference(einthoven.read(data_root / one), einthoven.read(data_root / other)) <= step


@pytest.mark.data
def test_the_wfdb_copy_of_a_muse_file_is_five_times_too_high(data_root):
    xml, copy = (einthoven.read(data_root / "muse-xml" / name) for name in ("muse-sinus.xml", "muse-sinus.hea"))
    for name in INDEPENDENT:
        ours, theirs = xml.signal[xml.leads.index(name)], copy.signal[copy.leads.index(name)]
        np.testing.assert_allclose(theirs, 5 * ours, atol=0.03)
