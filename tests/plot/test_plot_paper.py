"""The printed page, measured in the artists that matplotlib was given: its data coordinates are millimetres of the page."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.errors import EinthovenError
from einthoven.leads import TWELVE
from einthoven.plot.paper import Mark, Span, draw_pages, draw_paper, save
from einthoven.plot.sheet import lay_out
from einthoven.record import Record


def ramp(fs=500.0, seconds=10.0, leads=TWELVE, **more):
    """Every lead rises by 0.1 mV per second and is 0 in the middle: height tells time, so geometry can be read off."""
    time = np.arange(round(fs * seconds)) / fs
    return Record(np.tile(0.1 * (time - seconds / 2), (len(leads), 1)), fs, leads, **more)


def lines(figure):
    return [np.column_stack(line.get_data()).astype(float) for line in figure.axes[0].lines]


def pulses(figure):
    return [points for points in lines(figure) if len(points) == 6]


def traces(figure):
    return [points for points in lines(figure) if len(points) > 20]


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(("speed", "gain"), [(25, 10), (50, 20), (12.5, 5)])
def test_a_millivolt_and_a_second_have_their_size_on_paper(speed, gain):
    figure = draw_paper(ramp(), speed=speed, gain=gain, layout="12x1", seconds=4)
    axes = figure.axes[0]
    size = figure.get_size_inches() * 25.4
    np.testing.assert_allclose([axes.get_xlim(), axes.get_ylim()], [(0, size[0]), (size[1], 0)], atol=1e-9)
    assert axes.get_position().bounds == (0, 0, 1, 1)
    for pulse in pulses(figure):
        assert np.ptp(pulse[:, 1]) == pytest.approx(gain)  # 1 mV
        assert pulse[3, 0] - pulse[1, 0] == pytest.approx(0.2 * speed)  # 200 ms
    for trace in traces(figure):
        run, rise = trace[-1] - trace[0]
        assert run == pytest.approx(4 * speed, abs=1e-6)
        assert rise == pytest.approx(-4 * 0.1 * gain, abs=1e-4)  # up is towards smaller y


def test_the_grid_has_a_line_every_millimetre_and_a_stronger_one_every_five():
    fine, coarse = draw_paper(ramp()).axes[0].collections
    for lines, step in ((fine, 1), (coarse, 5)):
        upright = sorted(segment[0][0] for segment in lines.get_segments() if segment[0][0] == segment[1][0])
        np.testing.assert_allclose(np.diff(upright), step)
    assert coarse.get_linewidths()[0] > fine.get_linewidths()[0]


def test_a_ten_second_twelve_lead_record_is_one_a4_sheet_with_a_rhythm_strip():
    figure = draw_paper(ramp())
    np.testing.assert_allclose(figure.get_size_inches() * 25.4, (297, 210))
    assert [word for word in words(figure) if word in TWELVE] == [
        "I",
        "aVR",
        "V1",
        "V4",
        "II",
        "aVL",
        "V2",
        "V5",
        "III",
        "aVF",
        "V3",
        "V6",
        "II",
    ]
    starts = [trace[0, 0] for trace in traces(figure)]
    np.testing.assert_allclose(np.diff(starts[:4]), 62.5)
    assert starts[0] == starts[12]


def test_columns_of_one_row_follow_each_other_in_time():
    row = [trace for trace in traces(draw_paper(ramp()))][:4]
    np.testing.assert_allclose([trace[0, 1] for trace in row], row[0][0, 1] - np.array([0, 2.5, 5, 7.5]), atol=1e-3)  # 1 mm per second


def test_rows_never_touch_even_when_one_lead_is_three_millivolts_high():
    rng = np.random.default_rng(0)
    signal = 0.2 * rng.normal(size=(12, 5000))
    signal[8] *= 15
    sheet = lay_out(Record(signal, 500, TWELVE), layout="12x1")
    reach = [(strip.trace_y.min(), strip.trace_y.max()) for strip in sheet.strips]
    left = np.arange(0, 250, 4.0)
    for upper, lower in zip(sheet.strips, sheet.strips[1:]):
        for x in left:
            near = [(strip.trace_x - strip.x >= x) & (strip.trace_x - strip.x < x + 4) for strip in (upper, lower)]
            assert upper.trace_y[near[0]].max() < lower.trace_y[near[1]].min()
    top, bottom = sheet.box[1], sheet.box[1] + sheet.box[3]
    assert min(low for low, _ in reach) > top and max(high for _, high in reach) < bottom
    assert sheet.height > 210  # the sheet grew; nothing was clipped


def test_a_missing_lead_is_said_where_it_would_stand():
    record = ramp()
    signal = record.signal.copy()
    signal[TWELVE.index("V3")] = np.nan
    figure = draw_paper(Record(signal, 500, TWELVE))
    assert words(figure).count("not recorded") == 1 and "V3" in words(figure)
    assert len(traces(figure)) == 12


def test_leads_that_follow_from_the_others_are_computed_and_this_is_said():
    rng = np.random.default_rng(0)
    eight = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    sheet = lay_out(Record(0.1 * rng.normal(size=(8, 5000)), 500, eight))
    assert sheet.notes == ("III, aVR, aVL, aVF computed from I and II",)
    strips = {strip.lead: strip for strip in lay_out(Record(0.1 * rng.normal(size=(8, 5000)), 500, eight), layout="12x1").strips}
    up = {name: strip.baseline - strip.trace_y for name, strip in strips.items()}
    np.testing.assert_allclose(up["I"] + up["III"], up["II"], atol=1e-4)


def test_gaps_are_not_joined_and_a_lone_sample_is_a_dot():
    signal = np.zeros((1, 1000))
    signal[0, 400:600] = np.nan
    signal[0, 500] = 0.3
    figure = draw_paper(Record(signal, 500, ("II",)))
    trace = next(points for points in traces(figure))
    assert np.isnan(trace[450, 1]) and np.isnan(trace[550, 1])
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert [len(dot.get_xdata()) for dot in dots] == [1]


@pytest.mark.parametrize("n_leads", [1, 2, 3, 5, 15])
@pytest.mark.parametrize("fs", [100.0, 333.3, 1000.0])
def test_any_number_of_leads_at_any_rate_is_drawn(n_leads, fs):
    names = (*TWELVE, "X", "Y", "Z")[:n_leads] if n_leads != 1 else ("Apple",)
    figure = draw_paper(ramp(fs, 10.0, names))
    assert set(names) <= set(words(figure))
    assert all(np.diff(trace[:, 0]) == pytest.approx(25 / fs, abs=1e-6) for trace in traces(figure))


def test_what_is_cut_off_is_said():
    assert any("3–13 s of 30 s" in word for word in words(draw_paper(ramp(seconds=30.0), start=3)))
    assert any(word.endswith("   10 s") for word in words(draw_paper(ramp())))


def test_a_long_record_of_one_lead_goes_on_in_further_lines_and_then_on_further_pages():
    assert [word for word in words(draw_paper(ramp(seconds=25.0, leads=("II",)))) if word.startswith("II") and "drawn" not in word] == [
        "II",
        "II 10 s",
        "II 20 s",
    ]
    pages = draw_pages(ramp(seconds=25.0))
    assert len(pages) == 3
    shown = [word.split("   ")[-1] for page in pages for word in words(page) if "mm/mV" in word]
    assert shown == ["0–10 s of 25 s", "10–20 s of 25 s", "20–25 s of 25 s"]
    with pytest.raises(EinthovenError, match="3 pages of 10 s, more than 2"):
        draw_pages(ramp(seconds=25.0), n_pages=2)


def test_a_large_offset_and_an_artefact_are_drawn_within_the_sheet_and_said():
    signal = ramp(seconds=10.0).signal.copy()
    signal[0] += 3
    signal[1, 100:110] = 80
    signal[2] = 0
    sheet = lay_out(Record(signal, 500, TWELVE))
    assert any(note.startswith("I drawn without its offset of +3") for note in sheet.notes)
    assert "II drawn flat beyond ±6 mV" in sheet.notes and "no signal but a constant in III" in sheet.notes
    assert sheet.height < 300


def test_text_from_a_file_is_no_mathematics_and_stays_on_its_line():
    figure = draw_paper(ramp(record="cost $5_{x", patient="a\nb", meta={"age": float("nan"), "report": "x" * 500}))
    figure.canvas.draw()
    assert "cost $5_{x" in words(figure) and "patient a b" in words(figure)
    assert all(len(word) < 180 for word in words(figure))


def test_marks_and_spans_stand_at_their_second():
    figure = draw_paper(ramp(), annotations=[Mark(3.0, "PVC", lead="II")], highlight=[Span(2.0, 3.0, lead="II")], seconds=10)
    marks = [text for text in figure.axes[0].texts if text.get_text() == "PVC"]
    rhythm = traces(figure)[-1]
    assert [mark.get_position()[0] for mark in marks] == pytest.approx([rhythm[0, 0] + 75])
    boxes = figure.axes[0].patches[1:]
    assert sorted(box.get_width() for box in boxes) == pytest.approx([12.5, 25.0])  # II's own cell ends at 2.5 s


def test_a_png_has_ten_pixels_to_the_millimetre_and_equal_bytes_each_time(tmp_path):
    from matplotlib.image import imread

    record = ramp()
    first, second = save(draw_paper(record), tmp_path / "a.png"), save(draw_paper(record), tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    image = imread(first)
    assert image.shape[:2] == (2100, 2970)
    blank = np.rint(image[1005, 300:1300, 1] * 255)  # one row of pixels between two traces: only upright grid lines cross it
    dark = np.flatnonzero(blank < 250)
    assert set(np.diff(dark)) <= {1, 9, 10} and len(dark) < 260, "grid lines are one or two whole pixels wide, 10 pixels apart"


def test_a_pdf_page_and_an_svg_have_the_size_of_the_sheet(tmp_path):
    import re

    figure = draw_paper(ramp())
    box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", save(figure, tmp_path / "a.pdf").read_bytes())
    assert box is not None
    np.testing.assert_allclose(np.array(box[1].split(), float)[2:] / 72 * 25.4, (297, 210), atol=1e-3)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', save(figure, tmp_path / "a.svg").read_text())
    assert size is not None
    np.testing.assert_allclose(np.array(size.groups(), float) / 72 * 25.4, (297, 210), atol=1e-3)


def test_what_cannot_be_drawn_or_written_is_refused_in_words(tmp_path):
    record = ramp()
    with pytest.raises(EinthovenError, match=r"\.png, \.pdf or \.svg"):
        save(draw_paper(record), tmp_path / "a.jpg")
    with pytest.raises(EinthovenError, match=r"several pages need a \.pdf"):
        save([draw_paper(record)] * 2, tmp_path / "a.png")
    with pytest.raises(EinthovenError, match="did you mean 3x4"):
        draw_paper(record, layout="3x5")
    with pytest.raises(EinthovenError, match="lasts from 0 to 10 s"):
        draw_paper(record, start=10)
    with pytest.raises(EinthovenError, match="above 0 s"):
        draw_paper(record, seconds=0)
    with pytest.raises(EinthovenError, match="above 0; got 0 mm/s"):
        draw_paper(record, speed=0)
    for layout in ("3x4", "12x1"):
        with pytest.raises(EinthovenError, match="600 s of 12 leads at 25 mm/s do not fit on one sheet"):
            draw_paper(ramp(fs=20.0, seconds=600.0), layout=layout, seconds=600)
    with pytest.raises(EinthovenError, match="no samples"):
        draw_paper(Record(np.zeros((12, 0)), 500, TWELVE))
    assert list(tmp_path.iterdir()) == []


def test_pyplot_and_torch_are_not_imported():
    import subprocess
    import sys

    code = "import sys, numpy as np; from einthoven.record import Record; from einthoven.plot.paper import draw_paper, save; save(draw_paper(Record(np.zeros((1, 100)), 50, ('I',))), sys.argv[1])"
    check = "; assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code + check, os.path.join(folder, "a.png")], check=True)
