"""WFDB beyond one file of one rate: every signal format, several rates, skew, segments, and parts of all of these.

Files are written here, byte by byte; the wfdb package says whether they are what was meant.
"""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import wfdb_formats

FORMATS = ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524"]
FS = 250


def encode(flat: np.ndarray, fmt: str) -> bytes:
    """Counts as a format has them, one after the other."""
    flat = np.asarray(flat, dtype=np.int64)
    if fmt in ("16", "61", "32"):
        return flat.astype({"16": "<i2", "61": ">i2", "32": "<i4"}[fmt]).tobytes()
    if fmt == "24":
        return b"".join(int(v).to_bytes(3, "little", signed=True) for v in flat)
    if fmt == "80":
        return (flat + 128).astype(np.uint8).tobytes()
    if fmt == "160":
        return (flat + 32768).astype("<u2").tobytes()
    if fmt == "212":
        a, b = np.pad(flat, (0, len(flat) % 2)).reshape(-1, 2).T & 0xFFF
        data = np.stack([a & 0xFF, a >> 8 | b >> 8 << 4, b & 0xFF], axis=1).astype(np.uint8).tobytes()
        return data[: len(data) - (len(flat) % 2)]
    a, b, c = np.pad(flat, (0, -len(flat) % 3)).reshape(-1, 3).T & 0x3FF
    if fmt == "310":
        return np.stack([a << 1 | (c & 0x1F) << 11, b << 1 | c >> 5 << 11], axis=1).astype("<u2").tobytes()
    assert fmt == "311"
    return (a | b << 10 | c << 20).astype("<u4").tobytes()


def write(
    folder: Path,
    name: str,
    rows: dict[str, np.ndarray],
    fmt: str = "16",
    *,
    per_frame=None,
    skew=None,
    gain: str = "200/mV",
    fs=FS,
    n=None,
    sums=True,
) -> Path:
    """One record, one file. ``rows``: lead -> counts, per_frame[lead] of them in each frame, ``skew[lead]`` frames late."""
    per_frame, skew = per_frame or dict.fromkeys(rows, 1), skew or {}
    n_frames = {len(row) // per_frame[lead] for lead, row in rows.items()}.pop()
    stored = {lead: np.roll(row.reshape(n_frames, -1), skew.get(lead, 0), axis=0) for lead, row in rows.items()}
    path = folder / f"{name}.dat"
    if fmt in wfdb_formats.FLAC:
        import soundfile

        bits = wfdb_formats.FLAC[fmt]
        columns = np.stack([block.reshape(-1) for block in stored.values()], axis=1).astype(np.int32) << (32 - bits)
        soundfile.write(str(path), columns, FS, format="FLAC", subtype={8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits])
    else:
        frames = np.concatenate(list(stored.values()), axis=1)
        if fmt == "8":
            steps = [np.diff(block.reshape(-1), prepend=block[0, 0]).reshape(block.shape) for block in stored.values()]
            path.write_bytes(np.concatenate(steps, axis=1).astype(np.int8).tobytes())
        else:
            path.write_bytes(encode(frames.reshape(-1), fmt))
    lines = [f"{name} {len(rows)} {fs} {n_frames if n is None else n}"]
    for lead, block in stored.items():
        times = f"x{per_frame[lead]}" if per_frame[lead] > 1 else ""
        late = f":{skew[lead]}" if skew.get(lead) else ""
        total = int(block.sum()) % 65536 if sums else 0
        lines.append(f"{name}.dat {fmt}{times}{late} {gain} 16 0 {block[0, 0]} {total} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.hea"


def counts(n_leads: int, n: int, fmt: str = "16") -> np.ndarray:
    rng = np.random.default_rng(n + n_leads)
    if fmt == "8":
        return rng.integers(-60, 60, (n_leads, n)).cumsum(axis=1) + 17
    limit = {"80": 120, "508": 120, "212": 2000, "310": 500, "311": 500, "24": 8_000_000, "524": 8_000_000, "32": 2_000_000_000}.get(
        fmt, 32000
    )
    return rng.integers(-limit, limit, (n_leads, n))


def refused(path: Path, *words: str) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


# ---------------------------------------------------------------- formats


def test_without_the_package_that_reads_flac_the_error_names_it(tmp_path, monkeypatch):
    path = write(tmp_path, "r", {"I": counts(1, 500)[0]}, "516")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    refused(path, "r.dat", "FLAC", "pip install 'einthoven[flac]'")


def test_every_format_is_tested():
    assert set(FORMATS) == set(wfdb_formats.BITS)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(("n_leads", "n"), [(1, 1000), (2, 1001), (3, 500), (1, 1)])
def test_a_format_is_read_as_the_package_reads_it_and_in_parts(tmp_path, fmt, n_leads, n):
    """Numbers of samples that fill, and do not fill, the last block of a format; parts that begin within a block."""
    wfdb = pytest.importorskip("wfdb")
    digital = counts(n_leads, n, fmt)
    path = write(tmp_path, "x", dict(zip(("I", "II", "V1"), digital)), fmt)
    mine = io.read(path)
    np.testing.assert_allclose(mine.signal, digital / 200, rtol=1e-6)
    theirs = wfdb.rdrecord(str(path.with_suffix("")))
    np.testing.assert_allclose(mine.signal, theirs.p_signal.T, rtol=1e-6)
    for first, last in [(0, 1), (1, 2), (2, 700), (334, 336), (n - 1, n), (5, 5), (0, n + 9)]:
        part = io.read(path, start=first / FS, stop=last / FS)
        np.testing.assert_array_equal(part.signal, mine.signal[:, first:last])


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt != "8"])
def test_the_lowest_count_of_each_format_means_not_recorded(tmp_path, fmt):
    digital = np.array([[3, wfdb_formats.INVALID[fmt], 5, 7]])
    signal = io.read(write(tmp_path, "x", {"I": digital[0]}, fmt)).signal
    np.testing.assert_array_equal(signal, np.array([[3, np.nan, 5, 7]], dtype=np.float32) / np.float32(200))


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_format_says_how_many_samples_a_file_holds_where_the_header_does_not(tmp_path, fmt):
    digital = counts(2, 600, fmt)
    path = write(tmp_path, "x", dict(zip(("I", "II"), digital)), fmt, n="")
    np.testing.assert_allclose(io.read(path).signal, digital / 200, rtol=1e-6)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_cut_short_is_refused_in_every_format(tmp_path, fmt):
    path = write(tmp_path, "x", dict(zip(("I", "II"), counts(2, 600, fmt))), fmt)
    data = path.with_suffix(".dat").read_bytes()
    path.with_suffix(".dat").write_bytes(data[: len(data) // 2])
    refused(path, "x.dat")


def test_a_flac_file_must_be_what_the_header_says(tmp_path):
    path = write(tmp_path, "x", dict(zip(("I", "II"), counts(2, 600))), "516")
    text = path.read_text()
    for old, new, words in [
        (" 516 ", " 524 ", ["expected FLAC PCM_24", "it is FLAC PCM_16"]),
        (" 516 ", " 516+8 ", ["from its first byte on", "from byte 8"]),
        ("x 2 250 600", "x 2 250 601", ["truncated", "promises 601 samples", "it has 600"]),
    ]:
        path.write_text(text.replace(old, new))
        refused(path, *words)
    lines = text.splitlines()
    path.write_text("\n".join(["x 1 250 600", lines[1]]))
    refused(path, "FLAC of 1 channels; it has 2")


# ---------------------------------------------------------------- rates and skew


@pytest.mark.parametrize("fmt", ["16", "212", "80", "8", "310"])
def test_slower_leads_are_interpolated_to_the_fastest_and_parts_agree(tmp_path, fmt):
    wfdb = pytest.importorskip("wfdb")
    per_frame = {"I": 4, "II": 4, "RESP": 1, "PLETH": 2}
    rows = {lead: counts(1, 200 * n, fmt)[0] for lead, n in per_frame.items()}
    path = write(tmp_path, "x", rows, fmt, per_frame=per_frame)
    mine, theirs = io.read(path), wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
    assert mine.fs == 4 * FS and mine.signal.shape == (4, 800) and mine.meta["interpolated"] == ["RESP", "PLETH"]
    for row, lead, n, expected in zip(mine.signal, rows, per_frame.values(), theirs.e_p_signal):
        np.testing.assert_allclose(expected, rows[lead] / 200)
        np.testing.assert_allclose(row[:: 4 // n], expected, rtol=1e-6)
    np.testing.assert_allclose(
        mine.signal[2, 1:4], rows["RESP"][0] / 200 + np.diff(rows["RESP"])[0] / 200 * np.array([0.25, 0.5, 0.75]), rtol=1e-5
    )
    for first, last in [(0, 800), (3, 5), (397, 404), (799, 800), (700, 2000)]:
        part = io.read(path, start=first / (4 * FS), stop=last / (4 * FS))
        np.testing.assert_allclose(part.signal, mine.signal[:, first:last], rtol=1e-6, atol=1e-6)


def test_several_samples_in_every_frame_are_one_higher_rate(tmp_path):
    rows = dict(zip(("I", "II"), counts(2, 900)))
    for fmt in ("16", "516"):
        record = io.read(write(tmp_path, "x", rows, fmt, per_frame={"I": 3, "II": 3}))
        assert record.fs == 3 * FS and "interpolated" not in record.meta and "checksum_mismatch" not in record.meta
        np.testing.assert_allclose(record.signal, np.stack(list(rows.values())) / 200, rtol=1e-6)


def test_skew_is_undone_and_what_it_leaves_is_not_recorded(tmp_path):
    rows = dict(zip(("I", "II", "V1"), counts(3, 300)))
    path = write(tmp_path, "x", rows, skew={"II": 7, "V1": 2})
    mine = io.read(path)
    np.testing.assert_allclose(mine.signal[0], rows["I"] / 200, rtol=1e-6)
    np.testing.assert_allclose(mine.signal[1, :293], rows["II"][:293] / 200, rtol=1e-6)
    np.testing.assert_allclose(mine.signal[2, :298], rows["V1"][:298] / 200, rtol=1e-6)
    assert np.isnan(mine.signal[1, 293:]).all() and np.isnan(mine.signal[2, 298:]).all() and "checksum_mismatch" not in mine.meta
    for first, last in [(0, 10), (100, 200), (290, 296), (299, 300)]:
        np.testing.assert_array_equal(io.read(path, start=first / FS, stop=last / FS).signal, mine.signal[:, first:last])


def test_skew_is_undone_as_the_package_undoes_it(tmp_path):
    """Of equal length: the package (4.3.1) breaks where two leads have different ones."""
    wfdb = pytest.importorskip("wfdb")
    path = write(tmp_path, "x", dict(zip(("I", "II", "V1"), counts(3, 300))), skew={"II": 7, "V1": 7})
    theirs = wfdb.rdrecord(str(path.with_suffix("")))
    np.testing.assert_allclose(io.read(path).signal, theirs.p_signal.T, rtol=1e-6, equal_nan=True)


def test_skew_and_several_rates_together(tmp_path):
    per_frame = {"I": 2, "RESP": 1}
    rows = {"I": counts(1, 400)[0], "RESP": counts(1, 200)[0]}
    mine = io.read(write(tmp_path, "x", rows, per_frame=per_frame, skew={"I": 5, "RESP": 3}))
    np.testing.assert_allclose(mine.signal[0, :390], rows["I"][:390] / 200, rtol=1e-6)
    np.testing.assert_allclose(mine.signal[1, :394:2], rows["RESP"][:197] / 200, rtol=1e-6)
    assert np.isnan(mine.signal[0, 390:]).all() and np.isnan(mine.signal[1, 394:]).all() and not np.isnan(mine.signal[1, :394]).any()


# ---------------------------------------------------------------- segments


def segmented(folder: Path) -> tuple[Path, np.ndarray]:
    """A variable layout: I and RESP, then a gap, then V1, I and RESP in another order and of another gain; (master, what it is)."""
    (folder / "lay.hea").write_text("lay 3 250 0\n" + "".join(f"~ 0 200/mV 16 0 0 0 0 {lead}\n" for lead in ("I", "V1", "RESP")))
    first, second = counts(2, 400), counts(3, 300)
    write(folder, "s1", dict(zip(("I", "RESP"), first)))
    write(folder, "s2", dict(zip(("V1", "RESP", "I"), second)), gain="100(10)/uV")
    (folder / "m.hea").write_text("m/4 3 250 750\nlay 0\ns1 400\n~ 50\ns2 300\n")
    expected = np.full((3, 750), np.nan)
    expected[[0, 2], :400] = first / 200
    expected[[1, 2, 0], 450:] = (second - 10) / 100 / 1000
    return folder / "m.hea", expected


def test_a_variable_layout_is_put_together_by_name_and_gaps_are_not_recorded(tmp_path):
    path, expected = segmented(tmp_path)
    record = io.read(path)
    assert record.leads == ("I", "V1", "RESP") and record.fs == FS
    np.testing.assert_allclose(record.signal, expected, rtol=1e-6, atol=1e-7)
    for first, last in [(0, 750), (10, 20), (390, 460), (405, 430), (449, 451), (700, 900)]:
        np.testing.assert_array_equal(io.read(path, start=first / FS, stop=last / FS).signal, record.signal[:, first:last])


def test_a_variable_layout_is_read_as_the_package_reads_it(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    path, _ = segmented(tmp_path)
    (tmp_path / "s2.hea").write_text((tmp_path / "s2.hea").read_text().replace("100(10)/uV", "100(10)/mV"))  # the package wants one unit
    theirs = wfdb.rdrecord(str(path.with_suffix("")), m2s=True)
    mine = io.read(path)
    rows = [theirs.sig_name.index(lead) for lead in mine.leads]
    np.testing.assert_allclose(mine.signal, theirs.p_signal.T[rows], rtol=1e-6, equal_nan=True)


def test_a_part_opens_only_the_segments_that_it_lies_in(tmp_path):
    path, expected = segmented(tmp_path)
    (tmp_path / "s2.dat").unlink()
    np.testing.assert_allclose(io.read(path, stop=1.7).signal, expected[:, :425], rtol=1e-6)
    refused(path, "s2.dat", "not there")


def test_a_fixed_layout_with_several_rates_is_one_signal(tmp_path):
    rows = {"I": counts(1, 800)[0], "RESP": counts(1, 400)[0]}
    for place, name in enumerate(("s1", "s2")):
        half = {"I": rows["I"][400 * place :][:400], "RESP": rows["RESP"][200 * place :][:200]}
        write(tmp_path, name, half, per_frame={"I": 2, "RESP": 1})
    (tmp_path / "m.hea").write_text("m/2 2 250 400\ns1 200\ns2 200\n")
    record = io.read(tmp_path / "m")
    assert record.fs == 2 * FS and record.meta["interpolated"] == ["RESP"]
    np.testing.assert_allclose(record.signal[0], rows["I"] / 200, rtol=1e-6)
    np.testing.assert_allclose(record.signal[1, ::2], rows["RESP"] / 200, rtol=1e-6)
    np.testing.assert_array_equal(io.read(tmp_path / "m", start=0.7, stop=0.9).signal, record.signal[:, 350:450])


def test_a_damaged_lead_of_a_segment_is_told_by_both_names(tmp_path):
    path, _ = segmented(tmp_path)
    data = bytearray((tmp_path / "s1.dat").read_bytes())
    data[4] ^= 1
    (tmp_path / "s1.dat").write_bytes(data)
    assert io.read(path).meta["checksum_mismatch"] == ["I of s1"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("m", "s2 300", "s1 300", ["segment s1 twice"]),
        ("m", "m/4 3 250 750", "m/4 3 250 751", ["750 samples together", "promises 751"]),
        ("m", "m/4 3 250 750", "m/4 3 125 750", ["segment lay has 250 Hz", "states 125"]),
        ("m", "m/4 3 250 750\nlay 0\ns1 400\n~ 50\ns2 300", "m/2 3 250 450\n~ 400\n~ 50", ["no signal"]),
        ("s2", "s2 3 250 300", "s2 3 250 299", ["segment s2 has 299 samples", "promises 300"]),
        ("s2", " 0 V1", " 0 V7", ["segment s2 has the lead V7; the record has I, V1, RESP"]),
        ("s2", "/uV", "/mmHg", ["segment s2", "in mmHg; the record has it in mV"]),
        ("s2", "s2.dat 16 ", "s2.dat 16x3 ", ["s2"]),
    ],
)
def test_segments_that_do_not_fit_are_refused(tmp_path, file, old, new, words):
    path, _ = segmented(tmp_path)
    where = tmp_path / f"{file}.hea"
    assert old in where.read_text()
    where.write_text(where.read_text().replace(old, new))
    refused(path, *words)


def test_a_circle_of_segments_is_refused(tmp_path):
    (tmp_path / "a.hea").write_text("a/1 1 250 100\nb 100\n")
    (tmp_path / "b.hea").write_text("b/1 1 250 100\na 100\n")
    refused(tmp_path / "a.hea", "b.hea: a segment cannot have segments")


def test_a_gap_longer_than_memory_is_refused_and_read_in_parts(tmp_path):
    path, expected = segmented(tmp_path)
    path.write_text(f"m/4 3 250 {10**9 + 700}\nlay 0\ns1 400\n~ {10**9}\ns2 300\n")
    refused(path, "more than is read at once; ask for a part")
    np.testing.assert_allclose(io.read(path, stop=1.6).signal, expected[:, :400], rtol=1e-6)
    late = io.read(path, start=(10**9 + 400) / FS)
    np.testing.assert_allclose(late.signal, expected[:, 450:], rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- length


@pytest.mark.parametrize("fmt", ["16", "212", "24", "310"])
def test_a_part_of_a_day_takes_the_memory_of_the_part(tmp_path, fmt):
    """A day of two leads, sparse on the disk: 20 s of it in less than 1 MB."""
    n = 24 * 3600 * FS
    path = write(tmp_path, "x", dict(zip(("I", "II"), counts(2, 30, fmt))), fmt, n=n)
    with open(path.with_suffix(".dat"), "r+b") as file:
        file.truncate(int(n * 2 * wfdb_formats.BITS[fmt] / 8) + 4)
    io.read(path, start=0, stop=1)
    tracemalloc.start()
    part = io.read(path, start=12 * 3600, stop=12 * 3600 + 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert part.signal.shape == (2, 20 * FS) and peak < 1_000_000


def test_many_slow_leads_beside_a_fast_one_may_not_take_all_memory(tmp_path):
    """Of 2000 leads one has 1000 samples per frame: what would be 16 times as much as 1 GB is a file of 24 MB."""
    per_frame = {"I": 1000} | {f"x{n}": 1 for n in range(1999)}
    path = write(tmp_path, "x", {lead: np.zeros(2000 * n, dtype=np.int16) for lead, n in per_frame.items()}, per_frame=per_frame, fs=1)
    refused(path, "more than is read at once", "16000000000 bytes")
    assert io.read(path, leads=["I"], start=3, stop=3.5).signal.shape == (1, 500)


def test_frames_may_not_make_an_absurd_rate(tmp_path):
    path = write(tmp_path, "x", {"I": counts(1, 5000)[0]}, per_frame={"I": 5000})
    refused(path, "5000 samples per frame at 250 Hz are 1.25e+06 Hz")
