"""The hand-written SVG, read back as XML and as numbers, against the record's own samples."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from einthoven.io import read
from einthoven.leads import TWELVE
from einthoven.plot.paper import Span
from einthoven.plot.svg import svg_tracing
from einthoven.record import Record


def heart(fs=500.0, seconds=10.0, n_leads=12, seed=0):
    """Spikes, waves and noise of a believable size; any shape does, but extremes must be sharp."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(fs * seconds)) / fs
    beat = 1.3 * np.exp(-(((time % 0.8 - 0.3) / 0.012) ** 2)) + 0.3 * np.exp(-(((time % 0.8 - 0.55) / 0.05) ** 2))
    signal = rng.normal(size=(n_leads, 1)) * beat + 0.02 * rng.normal(size=(n_leads, time.size))
    return Record(signal - np.median(signal, axis=1, keepdims=True), fs, TWELVE[:n_leads])


def points(d):
    """Path data -> list of (point, 2) mm, one per subpath; written from SVG's grammar, not from the writer."""
    out = []
    for piece in re.findall(r"M[^M]*", d):
        numbers = [int(number) for number in re.findall(r"-?\d+", piece)]
        if "h" in piece:
            out.append(np.array([numbers[:2]]) / 100)
            continue
        out.append(np.cumsum(np.array(numbers).reshape(-1, 2), axis=0) / 100)
    return out


def paths(svg, kind="lead"):
    return [element for element in ElementTree.fromstring(svg).iter("path") if element.get("class") == kind]


def distance(samples, line):
    """(sample,) mm from each sample to the nearest of the line's segments around it."""
    start, step = line[:-1], np.diff(line, axis=0)
    at = np.searchsorted(line[:, 0], samples[:, 0]) - 1
    best = np.full(len(samples), np.inf)
    for near in range(-3, 4):
        k = np.clip(at + near, 0, len(step) - 1)
        share = np.clip(((samples - start[k]) * step[k]).sum(axis=1) / np.maximum((step[k] ** 2).sum(axis=1), 1e-12), 0, 1)
        best = np.minimum(best, np.linalg.norm(start[k] + share[:, None] * step[k] - samples, axis=1))
    return best


def test_it_is_well_formed_and_in_true_millimetres():
    root = ElementTree.fromstring(svg_tracing(heart()))
    width, height = float(root.get("width").removesuffix("mm")), float(root.get("height").removesuffix("mm"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    for element in paths(svg_tracing(heart()), "pulse"):
        (pulse,) = points(element.get("d"))
        assert np.ptp(pulse[:, 1]) == pytest.approx(10) and pulse[3, 0] - pulse[1, 0] == pytest.approx(5)
    rhythm = points(paths(svg_tracing(heart()))[-1].get("d"))[0]
    assert np.ptp(rhythm[:, 0]) == pytest.approx((5000 - 1) / 500 * 25, abs=0.011)


@pytest.mark.parametrize("fs", [100.0, 257.0, 500.0])
def test_no_sample_is_further_than_two_hundredths_of_a_millimetre_from_the_line(fs):
    record = heart(fs, 10.0, 3)
    svg = svg_tracing(record)
    baselines = [points(element.get("d"))[0][0, 1] for element in paths(svg, "pulse")]
    for element, samples, zero in zip(paths(svg), record.signal, baselines):
        (line,) = points(element.get("d"))
        x, y = line[0, 0] + np.arange(samples.size) / fs * 25, zero - samples * 10
        assert distance(np.column_stack([x, y]), line).max() < 0.02
        assert abs(line[:, 1].min() - y.min()) < 0.02 and abs(line[:, 1].max() - y.max()) < 0.02


def test_at_a_high_rate_every_column_of_a_tenth_of_a_millimetre_keeps_its_lowest_and_highest_value():
    record = heart(4000.0, 5.0, 1)
    (line,) = points(paths(svg_tracing(record))[0].get("d"))
    height = record.signal[0] * -10 + line[0, 1] + record.signal[0, 0] * 10
    column = (np.arange(height.size) / 4000 * 25 / 0.1 + 1e-6).astype(int)
    drawn = ((line[:, 0] - line[0, 0]) / 0.1 + 1e-6).astype(int)
    for extreme in (np.minimum, np.maximum):
        true, kept = (np.full(column[-1] + 3, -np.inf if extreme is np.maximum else np.inf) for _ in range(2))
        extreme.at(true, column, height)
        for shift in (-1, 0, 1):  # rounding may move a point into the next column
            extreme.at(kept, np.maximum(drawn + shift, 0), line[:, 1])
        held = np.isfinite(true)
        assert ((true[held] - kept[held]) * (1 if extreme is np.maximum else -1)).max() < 0.02
    assert len(line) <= 4 * (column[-1] + 1)


def test_a_spike_of_one_sample_keeps_its_height_at_a_high_rate():
    """At 4 kHz a column of 0.1 mm has 16 samples; a spike of one sample keeps its height wherever it falls."""
    signal = np.zeros((1, 40_000))
    spikes = np.arange(137, 40_000, 1009)
    signal[0, spikes] = np.linspace(-1, 1, spikes.size)
    (line,) = points(paths(svg_tracing(Record(signal, 4000.0, ("II",))))[0].get("d"))
    zero = line[0, 1]
    for at, height in zip(spikes, signal[0, spikes]):
        near = np.abs(line[:, 0] - line[0, 0] - at / 4000 * 25) < 0.06
        drawn = zero - line[near, 1]
        assert (drawn.max() if height > 0 else drawn.min()) == pytest.approx(10 * height, abs=0.02)


def test_ten_seconds_of_twelve_leads_stay_below_150_kilobytes():
    assert len(svg_tracing(heart())) < 150_000
    assert len(svg_tracing(heart(fs=5000.0))) < 250_000  # ten times the samples do not make ten times the file


def test_gaps_are_not_joined_and_a_lone_sample_is_a_dot():
    record = heart(500.0, 4.0, 1)
    signal = record.signal.copy()
    signal[0, 500:800] = np.nan
    signal[0, 650] = 0.2
    pieces = points(paths(svg_tracing(Record(signal, 500, ("II",))))[0].get("d"))
    assert len(pieces) == 3 and len(pieces[1]) == 1
    ends = [(piece[0, 0] - pieces[0][0, 0], piece[-1, 0] - pieces[0][0, 0]) for piece in pieces]
    np.testing.assert_allclose(ends, [(0, 499 / 20), (650 / 20, 650 / 20), (800 / 20, 1999 / 20)], atol=0.011)


def test_names_from_files_are_escaped_and_missing_leads_are_said():
    signal = np.full((2, 500), np.nan)
    signal[0] = 0
    record = Record(signal, 250, ('<script>"&', "b"), record="<script>alert('x')</script>", patient='"><script>')
    svg = svg_tracing(record, highlight=[Span(0, 1, colour='"/><script>')])
    root = ElementTree.fromstring(svg)
    assert not list(root.iter("script")) and "<script" not in svg
    texts = [element.text for element in root.iter("text")]
    assert texts.count("not recorded") == 1 and '<script>"&' in texts


def test_a_file_of_its_own_has_the_namespace_and_a_part_of_a_page_names_no_address():
    assert ElementTree.fromstring(svg_tracing(heart(), standalone=True)).tag == "{http://www.w3.org/2000/svg}svg"
    assert "http" not in svg_tracing(heart())


@pytest.mark.data
def test_real_recordings_of_every_kind_are_drawn_within_their_sheet(data_root):
    files = sorted((data_root / "cinc2021").rglob("*.hea"))[::12] + sorted((data_root / "ptbdb").glob("*.hea"))[:1]
    assert len(files) > 5
    for file in files:
        record = read(file)
        svg = svg_tracing(record)
        height = float(ElementTree.fromstring(svg).get("height").removesuffix("mm"))
        drawn = np.concatenate([piece for element in paths(svg) for piece in points(element.get("d"))])
        assert 0 < drawn[:, 1].min() and drawn[:, 1].max() < height - 5, file
        assert len(svg) < 200_000, (file, len(svg))
