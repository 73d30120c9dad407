"""SCP-ECG against decoded references, against the same recording in other formats, and against an encoder written here."""

from __future__ import annotations

import re
import struct
from binascii import crc_hqx
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from einthoven.errors import FormatError
from einthoven.io import recognise, scp
from einthoven.io import scp_huffman as huffman
from einthoven.io import wfdb as wfdb_reader
from einthoven.io.scp_sections import read_sections
from einthoven.io.scp_signal import lead_name
from einthoven.leads import INDEPENDENT, TWELVE, limb_law_residual

FS, N = 500, 1000
CODES = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64}
OWN = [  # (bits, value, extra bits, table): two tables; the first can switch to the second, and the second back
    [("0", 0, 0, 0), ("10", 1, 0, 0), ("110", -1, 0, 0), ("1110", 100, 8, 0), ("11110", 0, 16, 0), ("111110", 2, None, 0)],
    [("1", 0, 12, 0), ("01", 1, None, 0), ("001", -3, 0, 0), ("0001", 0, 16, 0)],
]  # fmt: skip


def counts(n_leads: int = 8, n: int = N) -> np.ndarray:
    """(lead, time): slow and fast, small and large steps, so that every kind of code occurs."""
    rng = np.random.default_rng(5)
    smooth = np.round(300 * np.sin(np.arange(n) / 40 + np.arange(n_leads)[:, None])).astype(int)
    spikes = rng.integers(-9000, 9000, (n_leads, n)) * (rng.random((n_leads, n)) < 0.02)
    return smooth + rng.integers(-9, 10, (n_leads, n)) + spikes


def differences(row: np.ndarray, order: int) -> np.ndarray:
    """The standard's: the first ``order`` samples as they are, then differences; 16 bits, which wrap."""
    out = [int(v) for v in row]
    if order >= 1:
        out[1:] = [int(b - a) for a, b in pairwise(row)]
    if order == 2:
        out[1] = int(row[1])
        out[2:] = [int(c - 2 * b + a) for a, b, c in zip(row, row[1:], row[2:])]
    return np.array([(v + 2**15) % 2**16 - 2**15 for v in out])


def default_bits(value: int) -> str:
    if abs(value) <= 8:
        return "1" * abs(value) + "0" + ("" if value == 0 else "1" if value < 0 else "0")
    n = 8 if -128 <= value <= 127 else 16
    return "1" * 9 + ("0" if n == 8 else "1") + format(value & (1 << n) - 1, f"0{n}b")


def own_bits(values: np.ndarray) -> str:
    """With the two tables of OWN, changing between them every 7 values."""
    out, table = [], 0
    for place, value in enumerate(values.tolist()):
        if place % 7 == 6:
            out.append("111110" if table == 0 else "01")
            table = 1 - table
        fits = [
            (b, base, n)
            for b, base, n, _ in OWN[table]
            if n is not None and (value == base if n == 0 else -(1 << n - 1) <= value - base < 1 << n - 1)
        ]
        bits, base, n = fits[0]
        out.append(bits + (format(value - base & (1 << n) - 1, f"0{n}b") if n else ""))
    return "".join(out)


def packed(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 16)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def coded(values: np.ndarray, coding: str) -> bytes:
    if coding == "none":
        return values.astype("<i2").tobytes()
    return packed(own_bits(values) if coding == "own" else "".join(map(default_bits, values.tolist())))


def tables(coding: str) -> bytes | None:
    if coding == "none":
        return None
    if coding == "default":
        return struct.pack("<H", 19999)
    data = struct.pack("<H", len(OWN))
    for table in OWN:
        data += struct.pack("<H", len(table))
        for bits, value, n, _ in table:
            data += struct.pack("<BBBhI", len(bits), len(bits) + (n or 0), n is not None, value, int(bits[::-1], 2))
    return data


def wave(rows, order: int, coding: str, nanovolt: int = 2500, interval: int = 1_000_000 // FS, bimodal: int = 0) -> bytes:
    data = [coded(differences(np.asarray(row), order), coding) for row in rows]
    return struct.pack(f"<HHBB{len(data)}H", nanovolt, interval, order, bimodal, *map(len, data)) + b"".join(data)


def lead_section(codes, n: int = N, flags: int = 0, spans=None) -> bytes:
    spans = spans or [(1, n)] * len(codes)
    return struct.pack("<BB", len(codes), flags) + b"".join(struct.pack("<IIB", a, b, code) for (a, b), code in zip(spans, codes))


PERSON = [
    (0, b"Doe\0"), (2, b"P-17\0"), (4, struct.pack("<HB", 66, 2)), (5, struct.pack("<HBB", 1950, 3, 4)), (8, b"\2"),
    (14, bytes(7) + b"\x11AT-101\x14\0\1\0\0" + bytes(15) + b"\1\0\0\0\0\0"), (25, struct.pack("<HBB", 2011, 9, 30)), (26, bytes([23, 59, 58])),
]  # fmt: skip


def person(fields=PERSON) -> bytes:
    return b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in fields) + b"\xff\0\0"


def file(path: Path, sections: dict[int, bytes], revision: int = 20, sums: bool = True) -> Path:
    """An SCP-ECG file of these sections; ``sums``: with checksums, else with zeros."""

    def section(number: int, data: bytes) -> bytes:
        data += b"\0" * (len(data) % 2)
        rest = struct.pack("<HIBB6s", number, 16 + len(data), 20, revision, b"SCPECG" if number == 0 else b"") + data
        return struct.pack("<H", crc_hqx(rest, 0xFFFF) if sums else 0) + rest

    bodies = {number: section(number, data) for number, data in sections.items()}
    n_pointers = max(12, *(number + 1 for number in bodies))
    begin, pointers = 7 + 16 + 10 * n_pointers, b""
    pointers += struct.pack("<HII", 0, 16 + 10 * n_pointers, 7)
    for number in range(1, n_pointers):
        size = len(bodies.get(number, b""))
        pointers += struct.pack("<HII", number, size, begin if size else 0)
        begin += size
    whole = section(0, pointers) + b"".join(bodies[number] for number in sorted(bodies))
    whole = struct.pack("<I", 6 + len(whole)) + whole
    path.write_bytes(struct.pack("<H", crc_hqx(whole, 0xFFFF) if sums else 0) + whole)
    return path


def write(path: Path, values: np.ndarray | None = None, coding: str = "default", order: int = 2, leads=INDEPENDENT, **more: bytes) -> Path:
    values = counts() if values is None else values
    sections = {
        1: person(),
        2: tables(coding),
        3: lead_section([CODES[name] for name in leads], values.shape[1]),
        6: wave(values, order, coding),
    }
    sections |= {int(name[1:]): data for name, data in more.items()}
    return file(path, {number: data for number, data in sections.items() if data is not None})


# ---------------------------------------------------------------- real files


@pytest.mark.data
def test_a_real_file_is_its_decoded_reference(data_root):
    """The reference is WFDB's, in counts of 5 µV; where no beat was taken off it was smoothed: the mean of three, rounded away from 0.

    Undone here the other way round: our samples are smoothed so, and must then be equal, all but none. The reference does not smooth the first
    two samples after a beat.
    """
    path = data_root / "scp" / "test.scp"
    mine, reference = scp.read(path), wfdb_reader.read(path.with_suffix(".hea"))
    assert (
        mine.fs == reference.fs == 500 and set(mine.leads) == set(reference.leads) and mine.meta["derived"] == ["III", "aVR", "aVL", "aVF"]
    )
    located = read_sections(path)[0][4].data
    beats = [(first - 1, last) for kind, first, _, last in struct.iter_unpack("<HIII", located[6 : 6 + 14 * 11]) if kind == 0]
    inside = np.zeros(5000, dtype=bool)
    for first, last in beats:
        inside[first:last] = True
    near = [place for first, last in beats for place in (last, last + 1)]
    for name in INDEPENDENT:
        ours, theirs = (np.round(record.signal[record.leads.index(name)] * 200).astype(int) for record in (mine, reference))
        np.testing.assert_array_equal(ours[inside], theirs[inside])
        np.testing.assert_array_equal(ours[near], theirs[near])
        total = ours[:-2] + ours[1:-1] + ours[2:]
        smooth = np.sign(total) * -(-abs(total) // 3)
        # Beside a beat the neighbour is the residual, which the reference does not hold.
        quiet = ~(inside[:-2] | inside[1:-1] | inside[2:])
        quiet[[place - 1 for place in near]] = False
        assert quiet.sum() > 3000
        np.testing.assert_array_equal(smooth[quiet], theirs[1:-1][quiet])
    assert max(limb_law_residual(mine.signal, mine.leads).values()) < 1e-6


@pytest.mark.data
def test_what_a_real_file_says_is_what_its_description_says(data_root):
    described = (data_root / "scp" / "test.des").read_text(encoding="latin-1")
    record = scp.read(data_root / "scp" / "test.scp")
    reports = [line.strip() for line in re.findall(r"^Report \d+: (.*)$", described, re.M) if line.strip()]
    assert len(reports) == 6 and record.meta["report"].split("\n") == reports
    for name, ours in [("RR interval", "RR"), ("P onset", "P onset"), ("P end", "P offset"), ("QRS onset", "QRS onset"), ("QRS end", "QRS offset"), ("T end", "T offset"), ("P axis", "P axis"), ("QRS axis", "QRS axis"), ("T axis", "T axis")]:  # fmt: skip
        assert record.meta["measurements"][ours] == float(re.search(rf"^{name}: (.*)$", described, re.M)[1])
    assert record.meta["age"] == 49 and record.meta["sex"] == "male" and record.meta["time"] == datetime(2004, 1, 1, 2, 13, 18)
    assert record.patient is None and record.record == "test" and record.meta["device"].startswith("Burdick")


@pytest.mark.data
def test_a_recording_is_the_same_as_scp_and_as_aecg(data_root):
    folder = data_root / "ecgtoolkit-3formats"
    record = scp.read(folder / "Example.scp")
    hl7 = "{urn:hl7-org:v3}"
    rows: dict[str, np.ndarray] = {}
    for sequence in ElementTree.parse(folder / "Example.xml").iter(f"{hl7}sequence"):
        code, digits = sequence.find(f"{hl7}code"), sequence.find(f".//{hl7}digits")
        if digits is not None and len(row := np.array(digits.text.split(), dtype=float)) == 5000:  # not the representative beats
            rows[code.get("code").removeprefix("MDC_ECG_LEAD_")] = row * float(sequence.find(f".//{hl7}scale").get("value")) / 1000
    assert {name.upper() for name in rows} == {name.upper() for name in record.leads}
    for name, expected in rows.items():
        row = record.signal[[lead.upper() for lead in record.leads].index(name.upper())]
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert record.patient == "SBJ-123" and 49.5 < record.meta["age"] < 49.6 and record.meta["time"] == datetime(2002, 11, 22, 9, 10)
    assert record.meta["measurements"]["QTc"] == 443


@pytest.mark.data
def test_healforces_own_kind_is_refused_by_its_name(data_root):
    path = data_root / "scp-healforce" / "62.SCP"
    assert recognise(path) == "SCP-ECG"
    refused(path, "Healforce's own kind", "7472 of 40240 bytes are missing")


# ---------------------------------------------------------------- written files


@pytest.mark.parametrize("coding", ["none", "default", "own"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_coding_is_read_back_exactly(tmp_path, coding, order):
    record = scp.read(write(tmp_path / "a.scp", coding=coding, order=order))
    assert record.leads == TWELVE and record.fs == FS and record.signal.dtype == np.float32
    rows = [record.leads.index(name) for name in INDEPENDENT]
    np.testing.assert_array_equal(np.round(record.signal[rows] / 0.0025).astype(int), counts())
    np.testing.assert_allclose(record.signal[rows], counts() * 0.0025, rtol=1e-6)


def test_the_widest_differences_wrap_round_and_back(tmp_path):
    values = np.where(np.arange(64) % 2, 32767, -32768)[None] * np.ones((2, 1), dtype=int)
    record = scp.read(write(tmp_path / "a.scp", values, leads=("I", "II")))
    np.testing.assert_array_equal(np.round(record.signal / 0.0025).astype(int), values)


def test_long_leads_are_decoded_over_many_chunks(tmp_path):
    """15,000 samples of 26 bits are twelve times what is looked at together; and of one bit each, a lead of zeros."""
    values = np.random.default_rng(2).integers(-32768, 32768, (1, 15_000))
    record = scp.read(write(tmp_path / "a.scp", values, order=0, leads=("V1",)))
    np.testing.assert_array_equal(np.round(record.signal / 0.0025).astype(int), values)
    assert not scp.read(write(tmp_path / "b.scp", 0 * values, leads=("V1",))).signal.any()
    switching = scp.read(write(tmp_path / "c.scp", values, order=0, leads=("V1",), coding="own"))
    np.testing.assert_array_equal(switching.signal, record.signal)


def test_codes_longer_than_sixteen_bits_are_decoded():
    long = "1" * 20
    table = huffman.make_table([(1, 1, True, 7, 0), (20, 28, True, 0, int(long, 2))])
    data = packed("0" + long + "11111111" + "0" + long + "00000101")
    np.testing.assert_array_equal(huffman.decode(data, 4, [table]), [7, -1, 7, 5])


@pytest.mark.parametrize("rate", [2, 4])
def test_bimodal_data_are_put_back_to_one_rate(tmp_path, rate):
    """Protected zones as they were, and a line of even slope between them as it was, but for what is held at both ends of a gap."""
    n = 400
    line = 8 * np.arange(n)
    rows = np.stack([line, -line])
    zones = [(rate * 20 + 1, rate * 30), (rate * 50 + 1, rate * 60)]
    values = rows + 77 * np.array([any(a <= s <= b for a, b in zones) for s in range(1, n + 1)])
    kept, place = [], 0
    for first, last in [*zones, (n + 1, n)]:
        kept.append(values[:, place : first - 1].reshape(2, -1, rate).mean(axis=2))
        kept.append(values[:, first - 1 : last])
        place = last
    reduced = np.concatenate(kept, axis=1).astype(int)
    assert reduced.shape[1] == 20 * rate + (n - 20 * rate) // rate
    located = (
        struct.pack("<HHH", 100, 10, 2) + struct.pack("<HIII", 1, 0, 50, 0) * 2 + b"".join(struct.pack("<II", *zone) for zone in zones)
    )
    path = write(
        tmp_path / "a.scp", values, leads=("I", "II"), s4=located, s5=wave(np.zeros((2, 50), int), 2, "default"),
        s6=wave(reduced, 2, "default", interval=rate * 1_000_000 // FS, bimodal=1),
    )  # fmt: skip
    record = scp.read(path)
    assert record.fs == FS and record.signal.shape == (2, n)
    exact = np.ones(n, dtype=bool)
    for edge in [0, *(b for _, b in zones)]:
        exact[edge : edge + rate // 2] = False
    for edge in [n, *(a - 1 for a, _ in zones)]:
        exact[edge - rate // 2 : edge] = False
    # A mean of whole numbers was cut to one: half a count, and 2.5 µV a count.
    np.testing.assert_allclose(record.signal[:, exact], values[:, exact] * 0.0025, atol=0.51 * 0.0025)
    inside = np.concatenate([np.arange(a - 1, b) for a, b in zones])
    np.testing.assert_array_equal(np.round(record.signal[:, inside] / 0.0025), values[:, inside])


def test_the_reference_beat_is_put_back_where_it_was_taken_off(tmp_path):
    """Its own resolution, a beat cut off by the beginning of the record, one that is of another type, and leads that begin later."""
    beat = np.round(400 * np.hanning(100)).astype(int) * np.array([[1], [-2]])
    beats = [(0, 1, 21, 70), (0, 201, 251, 300), (1, 401, 451, 500), (0, 901, 981, 980)]
    residual = np.random.default_rng(1).integers(-20, 20, (2, N))
    expected = residual * 20.0
    for kind, first, centre, last in beats:
        for s in range(first, last + 1):
            place = 51 + s - centre  # of the beat, from 1
            if kind == 0 and 1 <= place <= 100:
                expected[:, s - 1] += beat[:, place - 1] * 5.0
    located = struct.pack("<HHH", 200, 51, len(beats)) + b"".join(struct.pack("<HIII", *b) for b in beats)
    more = {"s4": located, "s5": wave(beat, 2, "default", 5000), "s6": wave(residual, 2, "default", 20000)}
    path = write(tmp_path / "a.scp", residual, leads=("I", "II"), s3=lead_section([1, 2], flags=1), **more)
    np.testing.assert_allclose(scp.read(path).signal, expected / 1000, atol=1e-6)
    whole = scp.read(write(tmp_path / "b.scp", residual, leads=("I", "II"), s3=lead_section([1, 2], flags=0), **more))
    np.testing.assert_allclose(whole.signal, residual * 0.02, atol=1e-6)  # nothing was taken off: the beat is only for looking at


def test_leads_recorded_one_after_the_other_keep_their_time(tmp_path):
    values = counts(4, 250)
    path = write(tmp_path / "a.scp", values, s3=lead_section([1, 2, 3, 4], spans=[(1, 250), (1, 250), (251, 500), (251, 500)]))
    record = scp.read(path)
    assert record.leads == ("I", "II", "V1", "V2") and record.signal.shape == (4, 500)
    assert np.isnan(record.signal[:2, 250:]).all() and np.isnan(record.signal[2:, :250]).all()
    np.testing.assert_allclose(record.signal[2:, 250:], values[2:] * 0.0025, rtol=1e-6)


def test_a_part_is_the_part_of_the_whole(tmp_path):
    path = write(tmp_path / "a.scp")
    whole = scp.read(path)
    part = scp.read(path, leads=["V1", "aVR"], start=0.5, stop=1.2)
    np.testing.assert_array_equal(part.signal, whole.signal[[6, 3], 250:600])
    with pytest.raises(FormatError, match="asked for X"):
        scp.read(path, leads=["X"])


def test_the_person_the_moment_and_the_machine_are_told(tmp_path):
    statements = b"".join(struct.pack("<BH", n, len(t)) + t for n, t in enumerate([b"Sinus rhythm\0", b"\0", b"Normal\xe9 ECG\0"], start=1))
    beat = struct.pack("<5H3h", 100, 200, 250, 340, 29999, 10, -20, 29999)
    measured = (
        struct.pack("<BBHH", 1, 1, 800, 29999)
        + beat
        + bytes(10)
        + struct.pack("<H3B", 3, 0, 0, 1)
        + struct.pack("<3HBH", 75, 29999, 420, 0, 0)
    )
    path = write(tmp_path / "a.scp", s8=struct.pack("<BHBB3BB", 1, 2011, 9, 30, 0, 0, 0, 3) + statements, s7=measured)
    record = scp.read(path)
    assert record.patient == "P-17" and record.record == "a"
    assert record.meta == {
        "time": datetime(2011, 9, 30, 23, 59, 58), "age": 5.5, "sex": "female", "device": "Schiller AT-101", "report": "Sinus rhythm\nNormalé ECG",
        "measurements": {"RR": 800, "P onset": 100, "P offset": 200, "QRS onset": 250, "QRS offset": 340, "P axis": 10, "QRS axis": -20,
                         "ventricular rate": 75, "QTc": 420, "P": 100, "PR": 150, "QRS": 90},
        "derived": ["III", "aVR", "aVL", "aVF"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "age"),
    [([(4, struct.pack("<HB", 3, 1))], 3.0), ([(4, struct.pack("<HB", 0, 0))], None), ([(4, struct.pack("<HB", 300, 1))], None), ([(4, struct.pack("<HB", 26, 3))], 26 * 7 / 365.25), ([(4, struct.pack("<HB", 365, 4))], 365 / 365.25), ([(4, struct.pack("<HB", 48, 5))], 2 / 365.25), ([(5, struct.pack("<HBB", 1960, 1, 1)), (25, struct.pack("<HBB", 2000, 1, 1))], 40.0), ([(5, struct.pack("<HBB", 1960, 13, 1)), (25, struct.pack("<HBB", 2000, 1, 1))], None), ([(4, b"\1")], None)],
)  # fmt: skip
def test_an_age_has_its_unit_and_is_else_not_known(tmp_path, fields, age):
    found = scp.read(write(tmp_path / "a.scp", s1=person(fields))).meta.get("age")
    assert found == age or found == pytest.approx(age, abs=0.01)


@pytest.mark.parametrize("name", [b"0000\0", b"", b"\0", b"Unknown\0", b"   \0", b"xxx\0"])
def test_a_placeholder_is_no_patient(tmp_path, name):
    assert scp.read(write(tmp_path / "a.scp", s1=person([(2, name)]))).patient is None


@pytest.mark.parametrize(("language", "revision", "encoding"), [(1, 20, "latin-1"), (0x13, 20, "iso8859-5"), (0x07, 20, "utf-16-le"), (0x27, 13, "gb2312"), (0, 30, "utf-8")])  # fmt: skip
def test_text_is_in_the_encoding_that_the_file_states(tmp_path, language, revision, encoding):
    text = {"latin-1": "Rhythmus: regelmäßig", "gb2312": "窦性心律"}.get(encoding, "Синусовый ритм")
    body = text.encode(encoding) + (b"\0\0" if encoding == "utf-16-le" else b"\0")
    device = (14, bytes(14) + bytes([revision, 0, language]) + bytes(20))
    statements = struct.pack("<BHBB3BB", 1, 2011, 9, 30, 0, 0, 0, 1) + struct.pack("<BH", 1, len(body)) + body
    sections = {1: person([device]), 2: tables("default"), 3: lead_section([1]), 6: wave(counts(1), 2, "default"), 8: statements}
    assert scp.read(file(tmp_path / "a.scp", sections, revision=revision)).meta["report"] == text


def test_statements_of_section_11_are_taken_where_section_8_has_none(tmp_path):
    body = b"\3AFIB - Vorhofflimmern\0"
    path = write(tmp_path / "a.scp", s11=struct.pack("<BHBB3BB", 1, 2011, 9, 30, 0, 0, 0, 1) + struct.pack("<BH", 1, len(body)) + body)
    assert scp.read(path).meta["report"] == "AFIB - Vorhofflimmern"


def test_every_lead_of_the_standard_has_its_name():
    """The codes that are also in ISO 11073-10101 (MDC_ECG_LEAD), at their places."""
    for code, name in {0: "lead code 0", 1: "I", 9: "V7", 14: "V6R", 16: "X", 19: "CC5", 61: "III", 62: "aVR", 66: "V8", 69: "V9R", 86: "Chest", 91: "MCL", 98: "CC", 110: "CM6", 121: "CM7", 134: "S", 147: "RL", 151: "V10", 200: "lead code 200"}.items():  # fmt: skip
        assert lead_name(code) == name
    assert lead_name(31) == "I (derived)" and lead_name(111) == "III (derived)" and lead_name(88) == "VR (unaugmented)"


def test_a_derived_lead_and_wilsons_are_not_taken_for_the_plain_ones(tmp_path):
    record = scp.read(write(tmp_path / "a.scp", counts(3), s3=lead_section([1, 31, 88])))
    assert record.leads == ("I", "I (derived)", "VR (unaugmented)")


# ---------------------------------------------------------------- checksums


def refused(path: Path, *words: str) -> None:
    with pytest.raises(FormatError) as error:
        scp.read(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and all(word in message for word in words), message


def test_a_checksum_of_zero_was_never_computed(tmp_path):
    record = scp.read(file(tmp_path / "a.scp", {3: lead_section([1]), 2: tables("default"), 6: wave(counts(1), 2, "default")}, sums=False))
    assert "checksum_mismatch" not in record.meta


def test_a_changed_name_is_told_and_changed_samples_are_refused(tmp_path):
    path = write(tmp_path / "a.scp")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Doe", b"xxx"))
    record = scp.read(path)
    assert record.meta["checksum_mismatch"] == ["file", "section 1"] and record.patient == "P-17"
    path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    refused(path, "checksum of section 6")


# ---------------------------------------------------------------- broken files


def test_every_truncation_is_refused(tmp_path):
    path = write(tmp_path / "a.scp")
    data = path.read_bytes()
    for n in [1, 5, 20, 31, 100, 200, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:n])
        refused(path, "truncated")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"s3": None}, ["no section 3"]),
        ({"s6": None}, ["no section 6"]),
        ({"s6": None, "s12": bytes(40)}, ["long-term recording"]),
        ({"s3": lead_section([])}, ["promises 0 leads"]),
        ({"s3": struct.pack("<BB", 255, 0)}, ["promises 255 leads"]),
        ({"s3": lead_section([1] * 8, spans=[(1, 2**31)] * 8)}, ["more than the file can hold"]),
        ({"s3": lead_section([1] * 8, spans=[(1, 10_000_000)] * 8)}, ["promises 10000000 samples"]),
        ({"s3": lead_section([1] * 8, spans=[(1, 1000)] * 7 + [(10**6, 10**6 + 999)])}, ["more than the file can hold"]),
        ({"s3": lead_section([1] * 8, spans=[(7, 2)] * 8)}, ["runs from sample 7 to 2"]),
        ({"s3": lead_section([1] * 8, n=2000)}, ["promises 2000 samples", "hold 1"]),
        ({"s6": b"\0\0"}, ["damaged"]),
        ({"s6": wave(counts(), 2, "default", nanovolt=0)}, ["0 nV"]),
        ({"s6": wave(counts(), 2, "default", interval=0)}, ["0 µs"]),
        ({"s6": struct.pack("<HHBB8H", 1, 1, 9, 0, *[0] * 8)}, ["order 9"]),
        ({"s6": struct.pack("<HHBB8H", 1, 1, 2, 0, *[65535] * 8)}, ["promises 524302 bytes"]),
        ({"s3": lead_section([1] * 8, flags=1)}, ["sections 4 and 5", "not there"]),
        ({"s2": struct.pack("<H", 17)}, ["17 Huffman tables"]),
        ({"s2": struct.pack("<HH", 1, 5000)}, ["Huffman table of 5000 codes"]),
        ({"s2": struct.pack("<HH", 1, 0) + bytes(9)}, ["without a code"]),
        ({"s2": struct.pack("<HH", 1, 1) + struct.pack("<BBBhI", 40, 40, 1, 0, 0)}, ["code of 40 bits"]),
        ({"s2": struct.pack("<HH", 1, 2) + struct.pack("<BBBhI", 1, 1, 1, 0, 0) + struct.pack("<BBBhI", 2, 2, 1, 0, 2)}, ["one begins another"]),
        ({"s2": struct.pack("<HH", 1, 1) + struct.pack("<BBBhI", 1, 1, 0, 7, 0)}, ["switch to Huffman table 7"]),
        ({"s2": struct.pack("<HH", 1, 1) + struct.pack("<BBBhI", 9, 9, 1, 0, 0)}, ["no code of the Huffman table"]),
        ({"s2": struct.pack("<HH", 1, 2) + struct.pack("<BBBhI", 1, 1, 0, 1, 0) + struct.pack("<BBBhI", 1, 1, 0, 1, 1)}, ["hold 0"]),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(tmp_path, change, words):
    values = counts()
    sections = {1: person(), 2: tables("default"), 3: lead_section([CODES[name] for name in INDEPENDENT]), 6: wave(values, 2, "default")}
    sections |= {int(name[1:]): data for name, data in change.items()}
    refused(file(tmp_path / "a.scp", {number: data for number, data in sections.items() if data is not None}), *words)


def test_zones_that_leave_no_whole_group_are_refused(tmp_path):
    located = struct.pack("<HHH", 100, 10, 1) + struct.pack("<HIII", 1, 0, 50, 0) + struct.pack("<II", 11, 20)
    s6 = wave(np.zeros((2, 300), int), 2, "default", interval=8000, bimodal=1)
    path = write(tmp_path / "a.scp", counts(2), leads=("I", "II"), s4=located, s5=wave(np.zeros((2, 50), int), 2, "default"), s6=s6)
    refused(path, "no whole number of groups of 4")


def test_pointers_to_anywhere_are_refused(tmp_path):
    path = write(tmp_path / "a.scp")
    data = path.read_bytes()
    for number in (1, 3, 6):
        place = 22 + 10 * number
        for length, begin in [(2**32 - 1, 7), (40, 2**32 - 1), (40, 7), (5000, 8)]:
            path.write_bytes(
                b"\0\0" + data[2:6] + b"\0\0" + data[8:place] + struct.pack("<HII", number, length, begin) + data[place + 10 :]
            )
            refused(path, f"section {number}")


def test_bytes_of_any_kind_are_refused_and_no_more(tmp_path):
    rng = np.random.default_rng(0)
    data = np.frombuffer(
        file(
            tmp_path / "a.scp", {1: person(), 2: tables("own"), 3: lead_section([1, 2]), 6: wave(counts(2), 2, "own")}, sums=False
        ).read_bytes(),
        np.uint8,
    )
    for _ in range(300):
        changed = data.copy()
        where = rng.integers(0, len(data) if rng.random() < 0.5 else 500, rng.integers(1, 6))
        changed[where] = rng.integers(0, 256, len(where))
        (tmp_path / "a.scp").write_bytes(changed.tobytes())
        try:
            record = scp.read(tmp_path / "a.scp")
        except FormatError as error:
            assert "\n" not in str(error)
        else:
            assert record.signal.size < 10_000_000
