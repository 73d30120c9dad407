"""WFDB reading against the wfdb package on real and on written records, and against every way in which a record can be broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import wfdb as ours
from einthoven.leads import TWELVE, canonical

FS = 500


def write(
    folder: Path,
    name: str = "r1",
    *,
    counts: np.ndarray | None = None,
    fmt: str = "16",
    leads=TWELVE,
    gain="1000(0)/mV",
    fs=FS,
    comments=(),
) -> Path:
    """A record as a corpus would have it, written without the package: format 16, one file."""
    rng = np.random.default_rng(0)
    counts = rng.integers(-900, 900, (len(leads), 1000)) if counts is None else counts
    suffix, offset = (".mat", 24) if "+24" in fmt else (".dat", 0)
    (folder / f"{name}{suffix}").write_bytes(b"\0" * offset + counts.T.astype("<i2").tobytes())
    lines = [f"{name} {len(leads)} {fs} {counts.shape[1]}"]
    for lead, row in zip(leads, counts):
        lines.append(f"{name}{suffix} {fmt} {gain} 16 0 {row[0]} {int(row.sum()) % 65536} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join([*lines, *comments]) + "\n")
    return folder / f"{name}.hea"


def in_millivolt(record) -> np.ndarray:
    """The wfdb package's physical signal in mV, (lead, time), from whatever units it has."""
    factor = {"uv": 1e-3, "v": 1e3}
    return record.p_signal.T * np.array([factor.get(unit.lower(), 1.0) for unit in record.units])[:, None]


def is_simple(header) -> bool:
    """Whether the package gives one array for a record: one rate, no skew, no segments."""
    return not header.segments and all(s.samples_per_frame == 1 and s.skew == 0 for s in header.signals)


# ---------------------------------------------------------------- the package as a witness


@pytest.mark.data
@pytest.mark.slow
def test_every_real_record_agrees_with_the_wfdb_package(data_root):
    wfdb = pytest.importorskip("wfdb")
    headers = [path for path in sorted(data_root.rglob("*.hea"))]
    assert headers
    compared = 0
    for path in headers:
        header = ours.read_header(path)
        if ours.borrowed_signal(header, path) or not is_simple(header) or header.record != path.stem:
            continue
        mine, theirs = io.read(path), wfdb.rdrecord(str(path.with_suffix("")))
        assert mine.fs == theirs.fs and mine.signal.shape == theirs.p_signal.T.shape
        known = set(TWELVE)
        assert [name for name in mine.leads if name in known] == [name for name in map(canonical, theirs.sig_name) if name in known]
        np.testing.assert_allclose(mine.signal, in_millivolt(theirs), rtol=1e-6, atol=2e-6, err_msg=str(path))
        compared += 1
    assert compared >= 0.9 * len(headers)


@pytest.mark.data
def test_several_segments_and_rates_and_a_skew_agree_with_the_wfdb_package(data_root):
    wfdb = pytest.importorskip("wfdb")
    paths = [path for path in sorted(data_root.rglob("*.hea")) if not is_simple(ours.read_header(path))]
    if not paths:
        pytest.skip("no record of several segments, rates, or with a skew here")
    for path in paths:
        mine, theirs = io.read(path), wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
        fastest = max(theirs.samps_per_frame)
        assert mine.fs == theirs.fs * fastest
        for row, expected, n in zip(mine.signal, theirs.e_p_signal, theirs.samps_per_frame):
            step = fastest // n  # where the slower channel has a sample, the interpolated one has the same
            np.testing.assert_allclose(row[::step][: len(expected)], expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("fmt", ["16", "80", "212", "32", "61", "24", "310", "311", "508", "516", "524"])
@pytest.mark.parametrize("n_samples", [999, 1000])
def test_written_formats_are_read_as_the_wfdb_package_reads_them(tmp_path, fmt, n_samples):
    wfdb = pytest.importorskip("wfdb")
    limit = {"80": 100, "508": 100, "212": 2000, "310": 400, "311": 400}.get(fmt, 3000)
    rng = np.random.default_rng(1)
    digital = rng.integers(-limit, limit, (n_samples, 3))
    if fmt in ("61", "310", "311"):  # formats that the package reads but does not write
        _write_raw(tmp_path / "x", digital, fmt)
    else:
        wfdb.wrsamp(
            "x", fs=250, units=["mV", "uV", "mV"], sig_name=["I", "II", "RESP"], d_signal=digital, fmt=[fmt] * 3,
            adc_gain=[200.0, 0.5, 1000.0], baseline=[0, 17, -5], write_dir=str(tmp_path),
        )  # fmt: skip
    theirs = wfdb.rdrecord(str(tmp_path / "x"))
    np.testing.assert_array_equal(np.round(theirs.p_signal * theirs.adc_gain + theirs.baseline), digital)  # the file holds what was meant
    mine = io.read(tmp_path / "x")
    assert mine.leads == ("I", "II", "RESP") and mine.fs == 250
    np.testing.assert_allclose(mine.signal, in_millivolt(theirs), rtol=1e-6, atol=1e-6)


def _write_raw(path: Path, digital: np.ndarray, fmt: str) -> None:
    if fmt == "61":
        data = digital.astype(">i2").tobytes()
    elif fmt == "310":  # two words of which each holds a 10-bit sample in bits 1 to 10 and half of a third one in bits 11 to 15
        flat = np.append(digital.reshape(-1), [0] * (-digital.size % 3)).astype(np.int64) & 0x3FF
        words = np.stack([flat[0::3] << 1 | (flat[2::3] & 0x1F) << 11, flat[1::3] << 1 | (flat[2::3] >> 5) << 11], axis=1)
        data = words.astype("<u2").tobytes()
    else:  # 311: three 10-bit samples in the low 30 bits of a little-endian word
        flat = np.append(digital.reshape(-1), [0] * (-digital.size % 3)).astype(np.int64) & 0x3FF
        data = (flat[0::3] | flat[1::3] << 10 | flat[2::3] << 20).astype("<u4").tobytes()
    path.with_suffix(".dat").write_bytes(data)
    units = ["200/mV", "0.5(17)/uV", "1000(-5)/mV"]
    lines = [
        f"x.dat {fmt} {unit} 16 0 {row[0]} {int(row.sum()) % 65536} 0 {name}"
        for unit, row, name in zip(units, digital.T, ["I", "II", "RESP"])
    ]
    path.with_suffix(".hea").write_text("\n".join([f"x 3 250 {len(digital)}", *lines]) + "\n")


# ---------------------------------------------------------------- what a record says


@pytest.mark.parametrize("fmt", ["16", "16+24", "16x1+24"])
def test_a_record_is_found_by_every_name(tmp_path, fmt):
    path = write(tmp_path, "a.b-1", fmt=fmt)
    signal = path.with_suffix(".mat" if "+24" in fmt else ".dat")
    records = [io.read(name) for name in (path, str(path), path.with_suffix(""), signal)]
    assert len({(record.record, record.leads, record.signal.tobytes()) for record in records}) == 1
    assert records[0].record == "a.b-1"


@pytest.mark.parametrize(
    ("gain", "per_count"),
    [
        ("1000/mV", 1e-3),
        ("1000.0(0)/mv", 1e-3),
        ("4880/mV", 1 / 4880),
        ("1(0)/uV", 1e-3),
        ("1e6/V", 1e-3),
        ("200", 1 / 200),
        ("0", 1 / 200),
        ("0/mV", 1 / 200),
        ("-100/mV", -0.01),
    ],
)
def test_gains_and_units_give_millivolt(tmp_path, gain, per_count):
    counts = np.arange(1200).reshape(12, 100)
    record = io.read(write(tmp_path, counts=counts, gain=gain))
    np.testing.assert_allclose(record.signal, counts * per_count, rtol=1e-6)


def test_a_baseline_is_taken_off_before_the_gain(tmp_path):
    record = io.read(write(tmp_path, counts=np.full((12, 600), 51), gain="10(1)/mV"))
    np.testing.assert_allclose(record.signal, 5.0)


def test_the_adc_zero_is_the_baseline_where_none_is_stated(tmp_path):
    path = write(tmp_path, counts=np.full((1, 100), 1024), leads=("I",), gain="200")
    path.write_text(path.read_text().replace(" 200 16 0 ", " 200 11 1024 "))
    assert (io.read(path).signal == 0).all()


def test_the_lowest_count_means_not_recorded(tmp_path):
    counts = np.ones((12, 50), dtype=int)
    counts[3] = -32768
    counts[0, 7] = -32768
    signal = io.read(write(tmp_path, counts=counts)).signal
    assert np.isnan(signal[3]).all() and np.isnan(signal[0, 7]) and np.isnan(signal).sum() == 51


def test_a_part_of_a_record_is_the_part_of_the_whole(tmp_path):
    path = write(tmp_path)
    whole = io.read(path)
    part = io.read(path, leads=["V1", "II"], start=0.5, stop=1.25)
    np.testing.assert_array_equal(part.signal, whole.signal[[6, 1], 250:625])
    assert part.leads == ("V1", "II")
    assert io.read(path, start=1.9, stop=99).signal.shape == (12, 50)
    with pytest.raises(FormatError, match="asked for V9; the file has I, II"):
        io.read(path, leads=["I", "V9"])


def test_a_part_of_an_odd_format_212_record_is_the_part_of_the_whole(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    digital = np.random.default_rng(3).integers(-2000, 2000, (101, 3))
    wfdb.wrsamp(
        "o",
        fs=100,
        units=["mV"] * 3,
        sig_name=["I", "II", "III"],
        d_signal=digital,
        fmt=["212"] * 3,
        adc_gain=[200.0] * 3,
        baseline=[0] * 3,
        write_dir=str(tmp_path),
    )
    np.testing.assert_array_equal(io.read(tmp_path / "o", start=0.13, stop=0.87).signal, io.read(tmp_path / "o").signal[:, 13:87])


@pytest.mark.parametrize("first", ["r1.mat", "r1"])
def test_a_record_line_may_begin_with_a_file_name(tmp_path, first):
    path = write(tmp_path, fmt="16+24")
    path.write_text(path.read_text().replace("r1 12", f"{first} 12", 1))
    assert io.read(path).record == "r1"


def test_equal_and_empty_lead_names_are_told_apart(tmp_path):
    path = write(tmp_path, leads=("ECG", "ECG", "lead II", ""))
    record = io.read(path)
    assert record.leads == ("ECG", "ECG (2)", "II", "lead 4")
    assert io.ecg_leads(record) == ("ECG", "II")


def test_channels_that_are_no_ecg_keep_their_name_and_are_not_picked(tmp_path):
    path = write(tmp_path, leads=("II", "ABP", "PLETH"))
    path.write_text(path.read_text().replace("1000(0)/mV 16 0 ", "20(0)/mmHg 16 0 ", 2).replace("20(0)/mmHg", "1000(0)/mV", 1))
    record = io.read(path)
    assert record.meta["units"] == {"ABP": "mmHg"} and record.leads == ("II", "ABP", "PLETH")
    assert io.ecg_leads(record) == ("II",)


@pytest.mark.parametrize("unit", ["adu", "bpm", "uVolts"])
def test_a_lead_that_is_not_in_a_unit_of_voltage_is_not_taken_for_mv(tmp_path, unit):
    path = write(tmp_path, leads=("II", "ABP", "PLETH"))
    path.write_text(path.read_text().replace("1000(0)/mV", f"1000(0)/{unit}", 1))
    with pytest.raises(FormatError, match=f"lead II is in '{unit}', expected mV"):
        io.read(path)


def test_two_signal_files_of_one_record_are_put_together(tmp_path):
    first = write(tmp_path, "r1", leads=("I", "II"))
    second = write(tmp_path, "r2", leads=("vx", "vy"), counts=np.full((2, 1000), 7))
    lines = [*first.read_text().splitlines()[1:], *second.read_text().splitlines()[1:]]
    first.write_text("\n".join(["r1 4 500 1000", *lines]))
    record = io.read(first)
    assert record.leads == ("I", "II", "X", "Y")
    assert (record.signal[2:] == np.float32(0.007)).all()


# ---------------------------------------------------------------- broken records


def refused(path, *words: str) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_a_truncated_signal_file_is_refused_with_its_numbers(tmp_path):
    path = write(tmp_path)
    signal = path.with_suffix(".dat")
    signal.write_bytes(signal.read_bytes()[:-1])
    refused(path, "r1.dat", "truncated", "24000 bytes", "has 23999", "enough for 999 samples")


def test_a_missing_signal_file_is_named(tmp_path):
    path = write(tmp_path)
    path.with_suffix(".dat").unlink()
    refused(path, "r1.hea", "r1.dat", "not there")


def test_a_signal_file_without_header_is_refused(tmp_path):
    path = write(tmp_path)
    path.unlink()
    refused(path.with_suffix(".dat"), "r1.dat", "r1.hea is not there")
    refused(path.with_suffix(""), "no such file")


def test_one_wrong_checksum_is_told_and_all_wrong_are_refused(tmp_path):
    path = write(tmp_path)
    signal = path.with_suffix(".dat")
    data = bytearray(signal.read_bytes())
    data[2 * (12 * 5 + 3)] ^= 1  # one bit of the fourth lead
    signal.write_bytes(data)
    assert io.read(path).meta["checksum_mismatch"] == ["aVR"]
    signal.write_bytes(b"\0" + bytes(data[:-1]))  # every sample shifted by a byte
    refused(path, "checksum of every lead", "r1.dat")


def test_a_header_with_a_lead_too_few_is_noticed_by_its_checksums(tmp_path):
    path = write(tmp_path)
    lines = path.read_text().replace("r1 12 ", "r1 11 ").splitlines()
    path.write_text("\n".join(lines[:5] + lines[6:]))
    refused(path, "checksum of every lead")


def test_a_checksum_of_zero_was_never_computed(tmp_path):
    path = write(tmp_path, leads=("ECG",))
    fields = path.read_text().split()
    fields[-3] = "0"
    path.write_text("r1 1 500 1000\n" + " ".join(fields[4:]))
    assert "checksum_mismatch" not in io.read(path).meta


def test_a_copied_header_that_reads_another_records_signal_is_refused(tmp_path):
    path = write(tmp_path, "9190", fs=400)
    copy = tmp_path / "9190_low.hea"
    copy.write_text(path.read_text().replace(" 400 ", " 300 "))
    (tmp_path / "9190_low.dat").write_bytes(path.with_suffix(".dat").read_bytes())
    refused(copy, "9190_low.hea", "reads 9190.dat")
    refused(tmp_path / "9190_low.dat", "does not name it")
    assert io.read(path).fs == 400


@pytest.mark.parametrize("name", ["../secret.dat", "/etc/passwd", "~/x.dat", "a/../../x.dat", "..\\x.dat", "C:\\x.dat", "-"])
def test_a_signal_outside_the_folder_is_refused(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.dat").write_bytes(bytes(24000))
    path = write(folder)
    path.write_text(path.read_text().replace("r1.dat", name))
    refused(path, "not a file in the header's own folder")


def test_a_signal_in_a_folder_below_is_read(tmp_path):
    path = write(tmp_path)
    (tmp_path / "below").mkdir()
    path.with_suffix(".dat").rename(tmp_path / "below" / "r1.dat")
    path.write_text(path.read_text().replace("r1.dat", "below/r1.dat"))
    assert io.read(path).signal.shape == (12, 1000)


@pytest.mark.parametrize(
    "line",
    ["r1 12 500 1000000000000", "r1 1000000 500 1000", "r1 12 500 -5", "r1 -1 500 1000", "r1 11 500 1000", "r1 12 0 1000", "r1 12 nan 1000", "r1 12 1e9 1000", "r1 12 500 9999999999999999999999", "r1", "r1 12.5 500 1000", "\x00\x01\x02"],
)  # fmt: skip
def test_an_absurd_record_line_is_refused(tmp_path, line):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("r1 12 500 1000", line, 1))
    refused(path, "r1.")


@pytest.mark.parametrize(
    ("old", "new"),
    [(" 16 1000", " 17 1000"), (" 16 1000", " 16x0 1000"), (" 16 1000", " x 1000"), ("1000(0)/mV", "1000(0/mV"), ("1000(0)/mV", "1e-300/mV"), ("1000(0)/mV", "inf/mV"), (" 16 0 ", " 16 zero "), (" 16 1000", " 16+99999 1000")],
)  # fmt: skip
def test_an_absurd_signal_line_is_refused(tmp_path, old, new):
    path = write(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    refused(path, "r1.")


def test_a_compressed_file_that_promises_the_absurd_is_refused(tmp_path):
    (tmp_path / "c.dat").write_bytes(b"fLaC" + bytes(100))
    (tmp_path / "c.hea").write_text("c 1 500 900000000000\nc.dat 516 1000/mV 16 0 0 0 0 II\n")
    refused(tmp_path / "c.hea", "bytes of memory")
    (tmp_path / "c.hea").write_text("c 1 500 1000\nc.dat 516 1000/mV 16 0 0 0 0 II\n")
    refused(tmp_path / "c.hea", "c.dat: expected FLAC (format 516)")


def test_segments_that_lie_about_themselves_are_refused(tmp_path):
    write(tmp_path, "s1", leads=("I",))
    write(tmp_path, "s2", leads=("I",))
    master = tmp_path / "m.hea"
    master.write_text("m/2 1 500 2000\ns1 1000\ns2 1000\n")
    assert io.read(master).signal.shape == (1, 2000)
    for text, word in [
        ("m/2 1 500 2000\ns1 1000\n", "2 segments"),
        ("m/2 1 500 9000000000\ns1 1000\ns2 1000\n", "promises 9000000000"),
        ("m/2 1 500 1000000001000\ns1 1000000000000\ns2 1000\n", "s1"),
        ("m/2 1 500 2000\ns1 1000\ns3 1000\n", "s3"),
        ("m/2 1 500 2000\ns1 1000\n../s2 1000\n", "own folder"),
        ("m/2 1 500 2000\ns1 1000\nm 1000\n", "segments of its own"),
    ]:
        master.write_text(text)
        refused(master, word)


# ---------------------------------------------------------------- cost


def test_reading_a_file_imports_nothing_heavy(tmp_path):
    path = write(tmp_path, fmt="16+24")
    code = f"import sys, einthoven\neinthoven.read({str(path)!r})\nbad = {{'torch', 'scipy', 'pandas', 'wfdb', 'matplotlib', 'pyarrow'}} & set(sys.modules)\nassert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)
