"""Recognising copies, on real recordings and simulated ones: each copy made on purpose must be found, nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from planted_corpus import heart, swapped, times

from einthoven import io
from einthoven.audit.comparison import compare
from einthoven.audit.duplicates import Words, _votes, entries, prove, room
from einthoven.audit.fingerprint import BITS, N_SAMPLES, PROBED, Alphabet, kept, landmarks
from einthoven.record import Record
from einthoven.signal.resample import resample
from einthoven.simulate import simulate


def at(record: Record, fs: float) -> Record:
    return replace(record, signal=resample(record.signal, record.fs, fs), fs=fs, meta={"source_fs": fs})


def piece(record: Record, start: float, stop: float) -> Record:
    return replace(record, signal=record.signal[:, round(start * record.fs) : round(stop * record.fs)])


def candidates(records: list[Record], folder) -> list[tuple[int, int, float]]:
    channels = [landmarks(np.nan_to_num(record.signal), record.fs, record.leads) for record in records]
    alphabet = Alphabet.learned(np.concatenate([one.shapes for own in channels for one in own]))
    words = Words(folder, len(records))
    for number, own in enumerate(channels):
        for one in own:
            forms = alphabet.of(one.shapes)
            chosen = kept(forms, records[number].seconds)
            words.add(entries(number, forms[chosen], one.times[chosen]))
    return list(words.candidates())


@pytest.mark.parametrize(
    ("change", "start", "stop"),
    [(lambda one: at(one, 100.0), 0.0, 10.0), (lambda one: at(one, 360.0), 0.0, 10.0), (lambda one: times(one, 5.0), 0.0, 10.0), (lambda one: piece(one, 1.7, 9.5), 1.7, 9.5)],
)  # fmt: skip
def test_landmarks_of_a_copy_are_those_of_the_original_whatever_its_rate_scale_and_beginning(change, start, stop):
    expected = matched = 0
    for person in range(8):
        original = heart(person)
        first, second = (landmarks(one.signal, one.fs, one.leads)[0] for one in (original, change(original)))
        inside = np.flatnonzero((first.times > start + 0.3) & (first.times < stop - 3.1))
        expected += len(inside)
        for number in inside:
            if len(second.times):
                nearest = np.abs(second.times + start - first.times[number]).argmin()
                alike = np.mean(second.shapes[nearest] * first.shapes[number]) > 0.97  # both have unit RMS
                matched += abs(second.times[nearest] + start - first.times[number]) < 0.006 and alike
    assert expected > 40 and matched >= 0.9 * expected


def test_words_are_signs_and_their_forms_differ_in_the_least_certain_bits():
    shapes = np.random.default_rng(0).standard_normal((500, N_SAMPLES)).astype(np.float32)
    alphabet = Alphabet.learned(shapes)
    forms = alphabet.of(shapes)
    assert forms.shape == (500, 2**PROBED) and forms.dtype == np.uint64
    value = shapes @ alphabet.mixtures - alphabet.middle
    plain = [sum(1 << bit for bit in range(BITS) if row[bit] > 0) for row in value[:20]]
    assert forms[:20, 0].tolist() == plain
    weakest = np.argsort(np.abs(value), axis=1)[:20, :PROBED]
    for row in range(20):
        turned = {int(forms[row, 0] ^ form) for form in forms[row]}
        assert turned == {sum(1 << int(bit) for k, bit in enumerate(weakest[row]) if choice >> k & 1) for choice in range(2**PROBED)}


def test_a_long_recording_keeps_the_same_words_as_its_pieces():
    words = np.random.default_rng(0).integers(0, 2**63, (8000, 8), dtype=np.uint64)
    long = kept(words, 3600.0)
    assert 0.1 < long.mean() < 0.15
    np.testing.assert_array_equal(kept(words[500:900], 600.0), long[500:900])
    assert kept(words, 30.0).all()


def test_votes_are_all_pairs_of_a_word_and_a_crowd_stays_linear():
    from einthoven.audit.duplicates import _ENTRY, CROWD

    rows = np.zeros(6, dtype=_ENTRY)
    rows["word"], rows["record"], rows["own"] = [7, 7, 7, 9, 9, 7], [1, 2, 3, 1, 1, 4], [True, False, False, True, True, True]
    pairs = {(int(one["first"]), int(one["second"])) for vote in _votes(rows) for one in vote}
    assert pairs == {(1, 2), (1, 3), (1, 4), (2, 4), (3, 4)}  # (2, 3): neither in its own form
    crowd = np.zeros(5000, dtype=_ENTRY)
    crowd["record"], crowd["own"] = np.arange(5000), True
    assert 0 < sum(len(vote) for vote in _votes(crowd)) <= CROWD * 5000


def by_hand(rows: np.ndarray) -> list[tuple[int, int, float]]:
    """Candidates in so many words, without sorting, files or arrays."""
    lags: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for i, one in enumerate(rows):
        for two in rows[i + 1 :]:
            if one["word"] == two["word"] and one["record"] != two["record"] and (one["own"] or two["own"]):
                a, b = sorted((one, two), key=lambda row: row["record"])
                lags.setdefault((int(a["record"]), int(b["record"])), []).append((float(a["time"] - b["time"]), float(a["time"])))
    found = []
    for pair, own in sorted(lags.items()):
        clusters: list[list[tuple[float, float]]] = []
        for lag, time in sorted(own):
            if not clusters or lag - clusters[-1][-1][0] > 0.03:
                clusters.append([])
            clusters[-1].append((lag, time))
        sizes = [1 + sum(b - a > 0.1 for a, b in pairwise(times)) for times in (sorted(time for _, time in one) for one in clusters)]
        best = max(range(len(sizes)), key=sizes.__getitem__)
        if sizes[best] >= 2:
            found.append((*pair, float(np.median([lag for lag, _ in clusters[best]]))))
    return found


@pytest.mark.parametrize("limit", [100, 10_000_000])
def test_candidates_are_those_found_by_hand_however_little_is_sorted_at_once(limit, tmp_path, monkeypatch):
    monkeypatch.setattr("einthoven.audit.spill.LIMIT", limit)
    monkeypatch.setattr("einthoven.audit.spill.BUFFER", limit)
    rng = np.random.default_rng(3)
    words, every = Words(tmp_path, 30), []
    for record in range(30):
        # A few words that many have, at times of a few steps, so that lags agree by chance as well.
        forms = rng.integers(0, 60, (4, 3)).astype(np.uint64) * np.uint64(2**58 // 15)
        every.append(entries(record, forms, np.sort(rng.integers(0, 12, 4)) / 4))
        words.add(every[-1])
    rows = np.concatenate(every)
    assert np.unique(rows["word"], return_counts=True)[1].max() <= 13  # nowhere a crowd
    found = list(words.candidates())
    assert found == by_hand(rows) and len(found) > 10
    assert not list(tmp_path.rglob("*.rows"))


def test_the_room_that_is_asked_for_is_as_large_as_what_recordings_write(tmp_path):
    records = [heart(person) for person in range(20)]
    channels = [landmarks(record.signal, record.fs, record.leads) for record in records]
    written = sum(entries(0, np.zeros((len(one.times), 2**PROBED), np.uint64), one.times).nbytes for own in channels for one in own)
    asked = room(np.array([record.seconds for record in records]))
    assert written <= asked <= 3 * written
    assert 6e9 < room(np.full(2_500_000, 10.0)) < 9e9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: at(record, 100.0), "recorded at 500 and 100 Hz"),
        (lambda record: times(record, 5.0), "5 times as large"),
        (lambda record: piece(record, 2.0, 10.0), "begins 2.00 s later"),
        (lambda record: swapped(record, "V1", "V2"), "V1 of the second is V2 of the first"),
        (lambda record: times(record, -1.0, "aVR"), "aVR is inverted"),
        (lambda record: replace(record, signal=record.signal[[1]], leads=("ECG",)), "ECG of the second is II of the first"),
    ],
)
def test_copies_are_proved_and_their_difference_is_told(change, words):
    original = replace(heart(2), meta={"source_fs": 500.0})
    proof = compare(original, change(original), 2.0 if "begins" in words else 0.0)
    assert proof is not None
    start_first, start_second, seconds, _, residual, exact, differs = proof
    assert not exact and words in "; ".join(differs) and residual < 0.05 and seconds >= 7
    assert start_first == pytest.approx(2.0 if "begins" in words else 0.0, abs=0.01) and start_second == pytest.approx(0.0, abs=0.01)


def test_an_identical_recording_is_exact_and_one_count_more_is_not():
    original = heart(2)
    assert compare(original, original, 0.0)[5:] == (True, ())
    other = times(original, 1.0)
    other.signal[4, 77] += 0.002
    assert compare(original, other, 0.0)[5] is False


def with_a_late_lead(record: Record, lead: str, n_samples: int) -> Record:
    signal = record.signal.copy()
    row = record.leads.index(lead)
    signal[row] = np.concatenate([np.zeros(n_samples, np.float32), signal[row, :-n_samples]])
    return replace(record, signal=signal)


@pytest.mark.parametrize("leads", [("II", "V5"), ("I", "II", "V5")])
def test_a_copy_in_which_one_lead_comes_later_than_the_others_is_found(leads):
    whole = heart(2)
    original = replace(whole, signal=whole.signal[[whole.leads.index(name) for name in leads]], leads=leads)
    for late in (4, 15):
        proof = compare(original, with_a_late_lead(original, "V5", late), 0.0)
        assert proof is not None
        words = "; ".join(proof[-1])
        if len(leads) == 3:
            assert "V5 is not the same" in words  # the other two prove it
        else:  # of two leads each may be the one that was moved
            assert f"V5 is {late * 2} ms later beside II" in words or f"II is {late * 2} ms earlier beside V5" in words
    if len(leads) == 2:
        assert compare(original, with_a_late_lead(original, "V5", 100), 0.0) is None
    for other in (heart(2, 1), *(heart(person) for person in range(3, 12))):
        two = replace(other, signal=other.signal[[other.leads.index(name) for name in leads]], leads=leads)
        for lag in (0.0, 0.4, -1.1):
            assert compare(original, two, lag) is None


@pytest.mark.data
def test_a_real_recording_with_one_lead_skewed_in_time_is_found(data_root):
    first, second = (io.read(data_root / "mitdb" / name, stop=30.0) for name in ("100.hea", "100skew.hea"))
    differs = "; ".join(compare(first, second, 0.0)[-1])
    assert "is 8 ms" in differs and "beside" in differs  # three samples at 360 Hz


def test_two_recordings_of_one_person_and_of_two_persons_are_not_copies():
    for other in (heart(2, 1), heart(3), heart(4)):
        for lag in (0.0, 0.4, -1.1):
            assert compare(heart(2), other, lag) is None


def test_two_pacemakers_of_one_rate_are_two_persons():
    """Their beats are alike and come every 0.8 s: found as a false pair among 3,000 persons when each lead might have its own factor."""
    first, second = (simulate(77, person=person, seconds=10.0, fs=500.0).record for person in (32, 2937))
    for lag in np.arange(-6.0, 6.0, 0.1):
        assert compare(first, second, float(lag)) is None
    assert compare(first, replace(first, signal=first.signal * np.linspace(0.5, 3, 12, dtype=np.float32)[:, None]), 0.0) is not None


def test_only_true_pairs_remain_of_the_candidates(tmp_path):
    records = [heart(person) for person in range(30)]
    records += [at(records[3], 250.0), piece(records[4], 1.1, 8.2), times(records[5], 0.2)]
    found = candidates(records, tmp_path)
    lags = {(first, second): lag for first, second, lag in found}
    assert {(3, 30), (4, 31), (5, 32)} <= set(lags) and lags[4, 31] == pytest.approx(1.1, abs=0.02)
    proved = {(copy.first, copy.second) for copy in prove(found, records.__getitem__)}
    assert proved == {(3, 30), (4, 31), (5, 32)}


@pytest.mark.data
def test_every_ptbxl_recording_at_100_hz_is_found_again_at_500_hz_and_nothing_else(data_root, tmp_path):
    paths = sorted((data_root / "ptb-xl/records500").rglob("*.hea"))[:90]
    pairs = [(path, next((data_root / "ptb-xl/records100").rglob(path.name.replace("_hr", "_lr")))) for path in paths]
    records = [io.read(path) for pair in pairs for path in pair]
    found = {(copy.first, copy.second) for copy in prove(candidates(records, tmp_path), records.__getitem__)}
    numbers = [int(path.name.split("_")[0]) for pair in pairs for path in pair]
    twins = {137: 138, 143: 144, 456: 457, 459: 460}
    expected = {
        (a, b)
        for a in range(len(numbers))
        for b in range(a + 1, len(numbers))
        if numbers[a] == numbers[b] or twins.get(numbers[a]) == numbers[b]
    }
    assert found == expected and len(expected) >= 90
