"""R peaks against peaks that we put there, and against the annotations of the MIT-BIH Arrhythmia Database."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.signal.peaks import r_peaks

pytest.importorskip("sleepecg", reason="R peaks need einthoven[peaks]")


def beats(times: np.ndarray, fs: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * fs)) / fs
    noise = 0.02 * np.random.default_rng(0).normal(size=len(time))
    return sum(np.exp(-((time - at) ** 2) / (2 * 0.01**2)) for at in times) + noise + 0.3 * np.sin(time)


@pytest.mark.parametrize("fs", [128, 250, 500, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_beats_are_found_where_they_were_put(fs, sign):
    times = np.cumsum(0.8 + 0.1 * np.sin(np.arange(24)))  # the last at 19.2 s: a silence would be searched with ever lower thresholds
    signal = np.stack([np.zeros(round(20 * fs)), sign * beats(times, fs, 20)])
    found = r_peaks(signal, fs, ("II", "I"))  # lead II is flat and is passed over
    assert len(found) == len(times)
    np.testing.assert_allclose(found, times, atol=0.015)


def test_gaps_do_not_stop_the_search_and_nothing_is_found_in_nothing():
    signal = beats(np.arange(1, 20), 250, 20)
    signal[1000:1100] = np.nan  # from 4.0 to 4.4 s: one beat is lost with it
    found = r_peaks(signal[None], 250, ("V2",))
    assert set(np.round(found)) >= set(range(5, 20))
    assert r_peaks(np.full((1, 5000), np.nan), 500, ("I",)).size == 0
    assert r_peaks(signal[None, :200], 250, ("I",)).size == 0
    with pytest.raises(ValueError, match="V9"):
        r_peaks(signal[None], 250, ("V2",), lead="V9")


@pytest.mark.data
def test_annotated_beats_are_found(data_root):
    wfdb = pytest.importorskip("wfdb")
    from einthoven import io

    path = data_root / "mitdb" / "100"
    if not path.with_suffix(".hea").is_file():
        pytest.skip("record 100 of mitdb is not here")
    record = io.read(path, stop=600)
    annotation = wfdb.rdann(str(path), "atr", sampto=600 * 360)
    true = np.array([sample for sample, symbol in zip(annotation.sample, annotation.symbol) if symbol in "NLRBAaJSVrFejnE/fQ?"]) / 360
    found = r_peaks(record.signal, record.fs, record.leads)
    distance = np.abs(found[:, None] - true[None, :])
    assert (distance.min(axis=0) < 0.05).mean() > 0.99  # sensitivity
    assert (distance.min(axis=1) < 0.05).mean() > 0.99  # positive predictive value
