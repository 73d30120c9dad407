"""EDF+ written, by the package edfio: 16 bits, a step of 0.1 µV or coarser for each lead.

EDF knows no missing samples: a lead of which nothing was recorded is left out, an end at which nothing was recorded in any lead (the calibration
pulse of Philips's files) makes the file that much shorter, and a lead with other gaps is refused. Nor does it know a rate: a
data record has whole samples and a duration in eight characters, which holds a rate such as 511.844 Hz within a millionth; the reader gives it back.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.demographics import SEX_LETTERS
from einthoven.io.edf import REPORT
from einthoven.io.quantise import TOP, counts_of, step_of_lead
from einthoven.io.texts import one_line
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.whole import appearing

YEARS = (1985, 2084)
"""The first and the last that two digits tell; the time of a recording from another is left out."""

MOST_BYTES = 61_440
"""Of a data record, as the standard recommends; kept where the number of samples has a divisor that allows it."""


def write(record: Record, path: Path) -> None:
    """Write a recording as EDF+ (continuous): patient, sex, birth date or age, time and device in the header, the report as annotations.

    Raises FormatError for gaps, for amplitudes, names and rates that EDF cannot hold, and for a recording without samples.
    """
    import edfio

    there = [row for row, values in enumerate(record.signal) if not np.isnan(values).all()]
    if not there:
        raise FormatError(f"{path}: expected a recording with samples; nothing was recorded in {' '.join(record.leads) or 'it'}.")
    recorded = ~np.isnan(record.signal[there]).all(axis=0)
    record = replace(record, signal=record.signal[:, : len(recorded) - int(recorded[::-1].argmax())])
    units = record.meta.get("units", {})
    n_samples, seconds = _data_record(path, record, len(there))
    fs, signals = n_samples / seconds, []
    for row in there:
        name, values = record.leads[row], record.signal[row]
        if n_missing := int(np.isnan(values).sum()):
            raise FormatError(
                f"{path}: lead {name} misses {n_missing} of {len(values)} samples, and EDF cannot say so; write WFDB, or cut the gap out."
            )
        unit = str(units.get(name, "mV"))
        # In µV, 0.1 µV is 3276.7 at the most, which eight characters hold; 0.0001 mV would lose digits.
        factor, unit = (1000.0, "uV") if unit == "mV" else (1.0, unit)
        step = step_of_lead(path, name, values) * factor
        try:
            largest = _eight(TOP * Fraction(str(step)))
        except ValueError as error:
            raise FormatError(f"{path}: lead {name} has {error}, which EDF does not hold; mend it first.") from None
        signals.append(
            edfio.EdfSignal.from_digital(
                counts_of(values * np.float64(factor), step, 0),
                fs,
                label=_ascii(_label(name), 16),
                physical_dimension=_ascii(unit, 8),
                physical_range=(-largest, largest),
                digital_range=(-TOP, TOP),
            )
        )
    time = record.meta.get("time")
    time = time if isinstance(time, datetime) and YEARS[0] <= time.year <= YEARS[1] else None
    try:
        file = edfio.Edf(
            signals,
            patient=_patient(path, record),
            recording=edfio.Recording(
                startdate=time.date() if time else None,
                hospital_administration_code=_word(record.record)[:24],
                equipment_code=_word(record.meta.get("device"))[:24],
            ),
            starttime=time.time() if time else None,
            data_record_duration=seconds,
            annotations=_report(record),
        )
    except ValueError as error:
        raise FormatError(f"{path}: EDF cannot hold this recording: {' '.join(str(error).split())[:200]}.") from None
    with appearing(path) as part:
        file.write(part)


def _report(record: Record) -> list[Any]:
    """The lines of the report as one list of annotations at its beginning: edfio sorts lists by their text, and the byte 20 parts the texts of one."""
    import edfio

    lines = [REPORT + text for line in str(record.meta.get("report") or "").splitlines() if (text := one_line(line))]
    return [edfio.EdfAnnotation(0, None, "\x14".join(lines))] if lines else []


def _patient(path: Path, record: Record) -> Any:
    """Code, sex and, for want of a birth date, the age as an additional word. A code that would be cut or altered could become another's."""
    import edfio

    if record.patient is not None and not (record.patient.isascii() and record.patient.isprintable() and len(record.patient) <= 56):
        raise FormatError(f"{path}: EDF holds a patient's id of up to 56 ASCII characters; this one is {record.patient!r}: give another.")
    sex = SEX_LETTERS.get(str(record.meta.get("sex")), "X")
    age = record.meta.get("age")
    return edfio.Patient(code=_word(record.patient), sex=sex, additional=(f"age={age:.5g}",) if age is not None else ())  # type: ignore[arg-type]


def _data_record(path: Path, record: Record, n_leads: int) -> tuple[int, float]:
    """Samples of a lead in one data record, and its duration in s: a divisor of the recording, so that nothing is filled up.

    Of those whose duration is exact in eight characters, the one nearest to 1 s within MOST_BYTES; where the rate allows none, the
    longest, whose duration is nearest to exact.
    """
    n = record.signal.shape[1]
    fs = Fraction(record.fs).limit_denominator(10**9) if Fraction(record.fs).denominator > 10**9 else Fraction(record.fs)
    divisors = sorted({d for k in range(1, int(n**0.5) + 1) if n % k == 0 for d in (k, n // k)})
    exact = [d for d in divisors if len(_plain(d / fs)) <= 8 and Fraction(_plain(d / fs)) == d / fs]
    if exact:
        best = min(exact, key=lambda d: (d * n_leads * 2 > MOST_BYTES, abs(np.log(float(d / fs)))))
        return best, float(_plain(best / fs))
    seconds = min(_rounded(n / fs), key=lambda text: abs(Fraction(text) - n / fs))
    if not float(seconds) or abs(Fraction(seconds) / (n / fs) - 1) > Fraction(1, 10**6):
        raise FormatError(
            f"{path}: EDF cannot hold {n} samples at {record.fs!r} Hz: a duration has eight characters there; resample it first."
        )
    return n, float(seconds)


def _plain(value: Fraction) -> str:
    """Up to nine decimals, without an exponent."""
    return f"{float(value):.9f}".rstrip("0").rstrip(".")


def _rounded(value: Fraction) -> list[str]:
    return [text for digits in range(7) if len(text := f"{float(value):.{digits}f}") <= 8] or ["0"]


def _eight(value: Fraction) -> float:
    """A limit that eight characters hold exactly, one of them for the sign of its opposite. Raises ValueError where they do not."""
    text = _plain(value)
    if len(text) > 7 or Fraction(text) != value:
        raise ValueError(f"values of {float(value):g}")
    return float(text)


def _label(name: str) -> str:
    """The standard's label, ``ECG V1``, for a lead that it knows."""
    return f"ECG {name}" if name in (*TWELVE, "X", "Y", "Z") else name


def _ascii(text: str, length: int) -> str:
    text = text.replace("µ", "u").replace("μ", "u")
    return re.sub(r"[^ -~]", "?", " ".join(text.split()))[:length]


def _word(text: Any) -> str:
    """One word of a header field, where blanks part the words."""
    return re.sub(r"[^!-~]", "_", " ".join(str(text).split())) if text else "X"
