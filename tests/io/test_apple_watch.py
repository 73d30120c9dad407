"""The Apple Watch's export in several languages, and the real one."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io.apple_watch import is_apple_watch

VALUES = np.round(np.cumsum(np.random.default_rng(8).normal(size=600)), 3)
LANGUAGES = {
    "English": (
        [
            "Name,Ada Example",
            'Date of Birth,"May 2, 1961"',
            "Recorded Date,2021-05-01 09:48:13 +0100",
            "Classification,Sinus Rhythm",
            "Symptoms,",
        ]
        + ["Software Version,1.90", 'Device,"Watch6,2"', "Sample Rate,512 hertz", "", "", "Lead,Lead I", "Unit,µV", ""],
        ".",
    ),
    "German": (
        ["Name,", "Geburtsdatum,", "Aufzeichnungsdatum,2021-05-01 09:48:13 +0200", "Klassifizierung,Vorhofflimmern", "Symptome,"]
        + ["Softwareversion,1.90", 'Gerät,"Watch6,2"', "Abtastrate,512,414 Hertz", "", "", "Ableitung,Ableitung I", "Einheit,µV", ""],
        ",",
    ),
    "Russian": (
        ["Имя,", "Дата рождения,", "Дата записи,2021-05-01 09:48:13 +0300", "Классификация,Синусовый ритм", "Симптомы,", "Версия ПО,2.0"]
        + [
            'Устройство,"Watch7,1"',
            "Частота дискретизации,513 Гц",
            "",
            "",
            "Отведение,Отведение I",
            "Единица,мкВ / µV".replace("мкВ / ", ""),
            "",
        ],
        ",",
    ),
}


def write(path, language: str, change=lambda lines: lines):
    lines, decimal = LANGUAGES[language]
    numbers = [f"{value:.3f}".rstrip("0").rstrip(".").replace(".", decimal) for value in VALUES]
    path.write_text("\n".join(change([*lines, *numbers])), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("language", "fs", "report"),
    [("English", 512, "Sinus Rhythm"), ("German", 512.414, "Vorhofflimmern"), ("Russian", 513, "Синусовый ритм")],
)
def test_the_export_is_read_in_any_language(tmp_path, language, fs, report):
    path = write(tmp_path / "ecg.csv", language)
    assert io.recognise(path) == "Apple Watch CSV"
    record = io.read(path)
    assert record.fs == fs and record.leads == ("I",) and record.patient is None
    np.testing.assert_allclose(record.signal[0], VALUES / 1000, atol=1e-6)
    assert record.meta["report"] == report and record.meta["time"] == datetime(2021, 5, 1, 9, 48, 13)
    assert record.meta["device"].startswith("Apple Watch")
    if language == "English":
        assert record.meta["age"] == 60.0
    assert not any("Ada" in str(value) for value in record.meta.values())


@pytest.mark.data
def test_the_real_export(data_root):
    path = data_root / "text/apple_watch_exampleCSV.csv"
    record = io.read(path)
    assert record.fs == 511.844 and record.leads == ("I",) and record.signal.shape == (1, 15355)
    lines = path.read_text(encoding="utf-8").splitlines()[13:]
    expected = [float(line.replace(",", ".")) / 1000 for line in lines if line]
    np.testing.assert_allclose(record.signal[0], expected, rtol=1e-6)
    assert record.meta == {"time": datetime(2023, 6, 28, 13, 3, 46), "report": "Sinusritme", "device": "Apple Watch4,2"}
    part = io.read(path, start=1, stop=2)
    np.testing.assert_array_equal(part.signal, record.signal[:, 512:1024])


def drop(word: str):
    return lambda lines: [line for line in lines if word not in line]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("hertz"), "expected a sampling rate in hertz and a unit"),
        (lambda lines: [*lines[:40], "12,5x", *lines[40:]], "line 41: expected a number; got '12,5x'"),
        (lambda lines: lines[:12], "another layout|looks like text"),
        (lambda lines: [line.replace("512 hertz", "0000 hertz") for line in lines], "expected a sampling rate"),
    ],
)
def test_a_damaged_export_is_refused(tmp_path, change, words):
    with pytest.raises(FormatError, match=words):
        io.read(write(tmp_path / "ecg.csv", "English", change))


def test_other_texts_are_no_export():
    assert not is_apple_watch("Name,Ada\nDevice,Watch6\n1.5\n2.5\n")
    assert not is_apple_watch("time,I (mV)\n0,1\n")
    assert not is_apple_watch("")
