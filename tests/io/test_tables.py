"""Text tables: every layout that programs write, what a table does not say, and what is no table of signals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io.table import is_table
from einthoven.io.table_times import rate_of
from einthoven.leads import TWELVE, limb_law_residual

TRUTH = np.cumsum(np.random.default_rng(5).normal(size=(2, 400)), axis=1) * 0.05


def rows(separator: str, decimal: str, *columns, digits: int = 4, quote: str = "") -> str:
    lines = [separator.join(f"{quote}{value:.{digits}f}{quote}".replace(".", decimal) for value in row) for row in zip(*columns)]
    return "\n".join(lines) + "\n"


def put(folder, text: str | bytes, name: str = "r.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(path, **sidecar) -> None:
    path.with_suffix(".json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize(
    ("separator", "decimal", "quote"),
    [(",", ".", ""), (";", ".", ""), (";", ",", ""), ("\t", ".", ""), ("\t", ",", ""), (",", ".", '"'), (";", ",", '"')],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_separators_decimal_signs_quotes_and_encodings(tmp_path, separator, decimal, quote, encoding, ends):
    head = separator.join(f"{quote}{name}{quote}" for name in ("Zeit (s)", "Ableitung I (µV)", "DII [mV]")) + "\n"
    text = head + rows(separator, decimal, np.arange(400) / 250, TRUTH[0] * 1000, TRUTH[1], quote=quote)
    path = put(tmp_path, text.replace("\n", ends).encode(encoding))
    assert io.recognise(path) == "table"
    record = io.read(path)
    assert record.fs == 250 and record.leads == ("I", "II") and record.record == "r"
    np.testing.assert_allclose(record.signal, TRUTH, atol=6e-5)


def test_blanks_as_separators_and_a_prelude(tmp_path):
    text = "Rhythm signal: 400 X 2\n\n " + rows("   ", ".", *TRUTH).replace("\n", " \n ")
    record = io.read(put(tmp_path, text), fs=500, unit="mV", names=["II", "V1"])
    assert record.fs == 500 and record.leads == ("II", "V1")
    np.testing.assert_allclose(record.signal, TRUTH, atol=6e-5)


@pytest.mark.data
def test_the_real_text_file_is_read_once_what_it_lacks_is_told(data_root):
    path = data_root / "text/testing_ecg.txt"
    with pytest.raises(FormatError, match="does not say its rate, unit, lead names: give fs=, unit=, names="):
        io.read(path)
    record = io.read(path, fs=500, unit="uV", names=TWELVE)
    assert record.signal.shape == (12, 5000)
    # Whole µV obey the limb laws to rounding: these are the twelve leads, in this order.
    assert max(limb_law_residual(record.signal, record.leads).values()) < 1e-3
    swapped = [*TWELVE[:4], "aVF", "aVL", *TWELVE[6:]]
    assert max(limb_law_residual(io.read(path, fs=500, unit="uV", names=swapped).signal, swapped).values()) > 0.05
    pandas = pytest.importorskip("pandas")
    other = pandas.read_csv(path, sep=r"\s+", skiprows=10, header=None).to_numpy().T
    start = record.signal.shape[1] - other.shape[1]
    np.testing.assert_allclose(record.signal[:, start:], other / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "step", "fs"),
    [
        ("time (s)", 0.002, 500),
        ("time_ms", 2, 500),
        ("t [ms]", 4, 250),
        ("Time", 0.004, 250),
        ("time", 4, 250),
        ("seconds", 0.01, 100),
        ("ms", 1, 1000),
    ],
)
def test_a_column_of_times_gives_the_rate(tmp_path, name, step, fs):
    path = put(tmp_path, f"{name},I (mV)\n" + rows(",", ".", np.arange(400) * step, TRUTH[0]))
    assert io.read(path).fs == fs


@pytest.mark.parametrize("fs", [100, 128, 240, 257, 300, 360, 500, 511.844, 512, 1000])
@pytest.mark.parametrize("n", [50, 3000, 10_000])
def test_times_printed_with_few_digits_give_the_rate_that_was_meant(fs, n):
    assert rate_of(np.round(np.arange(n) / fs, 9), "s")[0] == fs
    if n > 1000:
        assert rate_of(np.round(np.arange(n) / fs, 6), "s")[0] == fs
    if n > 1000 and fs < 1000 and fs != 511.844:  # milliseconds do not tell 511.844 from 511.84
        assert rate_of(np.round(np.arange(n) / fs, 3), "s")[0] == fs


def test_rows_that_are_left_out_and_empty_cells_are_missing(tmp_path):
    keep = np.r_[0:100, 130:400]
    text = "time (s);I (mV);V2 (mV)\n" + rows(";", ".", keep / 500, TRUTH[0][keep], TRUTH[1][keep])
    lines = text.split("\n")
    lines[5] = lines[5].rsplit(";", 1)[0] + ";"
    lines[6] = lines[6].rsplit(";", 1)[0] + ";NaN"
    record = io.read(put(tmp_path, "\n".join(lines)))
    expected = TRUTH.copy()
    expected[:, 100:130] = np.nan
    expected[1, 4:6] = np.nan
    np.testing.assert_allclose(record.signal, expected, atol=6e-5)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.arange(400) * 5.0 * 100, "neither s nor ms"),
        (np.r_[np.arange(200), np.arange(200)] / 500, "does not go on in row 201"),
        (np.cumsum(np.random.default_rng(0).uniform(0.001, 0.01, 400)), "not regular"),
        (np.r_[np.arange(399) / 500, 1e5], "spread over"),
        (np.r_[np.arange(399) / 500, np.nan], "without a number"),
    ],
)
def test_times_that_give_no_rate_are_refused(tmp_path, times, words):
    path = put(tmp_path, "time,I (mV)\n" + rows(",", ".", times, TRUTH[0]))
    with pytest.raises(FormatError, match=words):
        io.read(path)


def test_a_row_may_be_a_lead(tmp_path):
    lines = [",".join([name, *(f"{value:.4f}" for value in row)]) for name, row in zip(("I", "II"), TRUTH)]
    path = put(tmp_path, "\n".join(lines))
    assert io.recognise(path) == "table"
    record = io.read(path, fs=500, unit="mV")
    assert record.leads == ("I", "II")
    np.testing.assert_allclose(record.signal, TRUTH, atol=6e-5)
    bare = put(tmp_path, "\n".join(line.partition(",")[2] for line in lines), "bare.csv")
    np.testing.assert_array_equal(io.read(bare, fs=500, unit="mV", names=["I", "II"]).signal, record.signal)
    with pytest.raises(FormatError, match="has 399 numbers, the first line 400"):
        io.read(put(tmp_path, "\n".join(lines)[:-7], "short.csv"), fs=500, unit="mV")


def test_a_table_of_rdsamp_has_times_of_a_clock(tmp_path):
    """As ``rdsamp -p -c -H -v`` and PhysioBank's ATM write it."""
    lines = ["'Elapsed time','I','V1'", "'hh:mm:ss.mmm','mV','mV'"]
    for k, (one, other) in enumerate(TRUTH.T):
        minutes, seconds = divmod(59.5 + k / 360, 60)
        lines.append(f"'{int(minutes)}:{seconds:06.3f}',{one:.4f},{other:.4f}")
    path = put(tmp_path, "\n".join(lines) + "\n")
    assert io.recognise(path) == "table"
    record = io.read(path)
    assert record.fs == pytest.approx(360, abs=0.4) and record.leads == ("I", "V1")
    np.testing.assert_allclose(record.signal, TRUTH, atol=6e-5)


def test_units_below_the_names_and_an_index_in_front(tmp_path):
    text = "time,I,II\nms,uV,uV\n" + rows(",", ".", np.arange(400) * 2, *(TRUTH * 1000))
    np.testing.assert_allclose(io.read(put(tmp_path, text)).signal, TRUTH, atol=1e-6)
    text = ",I_mV,II_mV\n" + rows(",", ".", np.arange(400), *TRUTH)
    record = io.read(put(tmp_path, text), fs=250)
    assert record.leads == ("I", "II") and record.fs == 250
    with pytest.raises(FormatError, match="does not count by one"):
        io.read(put(tmp_path, ",I_mV,II_mV\n" + rows(",", ".", np.arange(400) * 3, *TRUTH)), fs=250)


def test_pandas_writes_tables_that_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TRUTH.T, columns=["I (mV)", "V1 (mV)"])
    frame.to_csv(tmp_path / "r.csv")
    np.testing.assert_allclose(io.read(tmp_path / "r.csv", fs=500).signal, TRUTH, rtol=1e-6)
    frame.to_csv(tmp_path / "r.tsv", sep="\t", decimal=",", index=False)
    np.testing.assert_allclose(io.read(tmp_path / "r.tsv", fs=500).signal, TRUTH, rtol=1e-6)
    pandas.DataFrame(TRUTH.T).to_csv(tmp_path / "bare.csv", index=False)  # its header 0,1 is no sample
    assert io.read(tmp_path / "bare.csv", fs=500, unit="mV", names=["I", "II"]).signal.shape == (2, 400)


def test_a_sidecar_tells_and_keywords_go_before_it(tmp_path):
    path = put(tmp_path, rows(",", ".", *TRUTH))
    (tmp_path / "signals.json").write_text(json.dumps({"fs": 100, "unit": "mV"}))
    with pytest.raises(FormatError, match="does not say its lead names"):
        io.read(path)
    told(path, fs=250, leads=["V1", "V2"])
    record = io.read(path)
    assert record.fs == 250 and record.leads == ("V1", "V2")
    assert io.read(path, fs=500).fs == 500
    told(path, leads=["time", "II"])
    text = rows(",", ".", np.arange(400) / 200, TRUTH[0])
    (tmp_path / "signals.json").unlink()
    record = io.read(put(tmp_path, text), unit="uV")
    assert record.fs == 200 and record.leads == ("II",)


def test_what_a_table_says_itself_is_not_overruled(tmp_path):
    path = put(tmp_path, "time (s),I (mV)\n" + rows(",", ".", np.arange(400) / 500, TRUTH[0]))
    with pytest.raises(FormatError, match=r"says itself that its rate is 500\.0; it was told 250"):
        io.read(path, fs=250)
    with pytest.raises(FormatError, match="its leads are I; it was told V1"):
        io.read(path, names=["V1"])


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [({"fs": "fast"}, "a rate in Hz"), ({"fs": -1}, "a rate in Hz"), ({"unit": "bar"}, "as mV, uV or V"), ({"leads": "I"}, "a list of names"),
     ({"leads": [1, 2]}, "a list of names"), ({"leads": ["I"]}, "a name for each of its 2 columns")],
)  # fmt: skip
def test_a_sidecar_that_cannot_be_is_refused(tmp_path, sidecar, words):
    path = put(tmp_path, rows(",", ".", *TRUTH))
    told(path, **{"fs": 500, "unit": "mV", "leads": ["I", "II"]} | sidecar)
    with pytest.raises(FormatError, match=words):
        io.read(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(FormatError, match="expected JSON such as"):
        io.read(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I (mmHg),II (mV)\n", "lead I is in 'mmHg'"),
        ("I,II\n", "does not say its rate, unit"),
    ],
)
def test_a_table_without_a_unit_of_voltage_is_refused(tmp_path, text, words):
    with pytest.raises(FormatError, match=words):
        io.read(put(tmp_path, text + rows(",", ".", *TRUTH)), **({"fs": 500} if "mmHg" in text else {}))


def test_a_damaged_table_is_refused_in_one_line(tmp_path):
    good = "time (s),I (mV)\n" + rows(",", ".", np.arange(4000) / 500, np.zeros(4000))
    for bad in (good + "1,2,3\n" + good, good.replace("1.0000", "x.0000"), good + "the end,\n"):
        with pytest.raises(FormatError, match=r"cannot be read as a table|expected rows of numbers") as error:
            io.read(put(tmp_path, bad))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "# A study\n\nSome words, and more.\n- a list\n" * 5,
        "".join(f"{k}\n" for k in range(100, 130)),  # RECORDS of MIT-BIH
        "training/A0001\ntraining/A0002\n" * 10,
        "record,labels,age\n" + "a1,SR,34\n" * 20,
        "1dAVb,RBBB,LBBB,SB,AF,ST\n" + "0,1,0,0,0,0\n" * 20,  # gold_standard.csv
        "0,1,0,0\n" * 20,
        "ecg_id,patient_id,age\n" + "".join(f"{k},{k * 7},{k % 90}\n" for k in range(30)),
        '{"fs": 500, "values": [1, 2, 3]}\n' * 10,
        "[1, 2,\n3, 4,\n5, 6]\n",
        "import numpy\nx = 1\nfor k in range(3):\n    print(k)\n" * 5,
        "/data/root\n" + "a/b_1.mat\t2500\n" * 20,  # a manifest of fairseq-signals
        "164889003,270492004\n" + "".join(f"{k}.5,{k}.25\n" for k in range(3)),
        "",
        "\n\n\n",
    ],
)  # fmt: skip
def test_what_is_no_table_of_signals(text):
    assert not is_table(text)


@pytest.mark.data
def test_of_all_real_texts_one_is_a_table_of_signals(data_root):
    found = set()
    for path in data_root.rglob("*"):
        if path.is_file():
            head = path.read_bytes()[:4096]
            if b"\0" not in head and is_table(head.decode("latin-1")):
                found.add(path.name)
    assert found == {"testing_ecg.txt"}


@pytest.mark.parametrize(
    "text",
    ["1e999\n" * 9, "\0\tx\n" + "0\t1\n" * 9, "9" * 400 + "\n", ",,,\n" * 9, "0:00.1,1\n" * 9, "١,٢\n" * 9, "\ufeff" * 9, "1" * 5000],
)
def test_no_text_is_too_odd_to_be_looked_at(text):
    assert is_table(text) in (True, False)
