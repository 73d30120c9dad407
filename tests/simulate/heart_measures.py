"""Measurements on 12-lead ECGs, the same for real and simulated ones: those that the quartiles of real recordings were made with.

Signals are (lead=12, time) in mV in the order of TWELVE, at 500 Hz; ``peaks`` are R peaks in samples. Results in µV, ms, degrees.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from einthoven.leads import DOWER, INDEPENDENT, KORS, TWELVE

FS = 500
EIGHT = [TWELVE.index(name) for name in INDEPENDENT]
BANDS = {
    "0.05_0.5": (0.05, 0.5),
    "0.5_1": (0.5, 1),
    "1_5": (1, 5),
    "5_15": (5, 15),
    "15_40": (15, 40),
    "40_100": (40, 100),
    "100_150": (100, 150),
}
_DIAGNOSTIC = butter(3, [0.5, 40.0], "bandpass", fs=FS, output="sos")
_SLOW = butter(2, 0.5, "lowpass", fs=FS, output="sos")
_FAST = butter(3, 40.0, "highpass", fs=FS, output="sos")
_QUIET = butter(3, 15.0, "highpass", fs=FS, output="sos")
_LINE = butter(2, 0.5, "highpass", fs=FS, output="sos")


def _rms(x, axis=-1):
    return np.sqrt((x**2).mean(axis=axis))


def signal_measures(signal, peaks):
    """Levels, drift, noise and bands per lead, µV: name -> (lead,)."""
    centred = 1000 * (signal - signal.mean(axis=1, keepdims=True))
    out = {}
    diagnostic = sosfiltfilt(_DIAGNOSTIC, centred)
    out["rms"] = _rms(diagnostic)
    spans = [np.ptp(diagnostic[:, p - 50 : p + 50], axis=1) for p in peaks if 60 < p < signal.shape[1] - 60]
    out["qrs_pp"] = np.median(spans, axis=0)
    drift = sosfiltfilt(_SLOW, centred)
    out["drift_sd"], out["drift_pp"] = drift.std(axis=1), np.ptp(drift, axis=1)
    away = np.ones(signal.shape[1], bool)
    for p in peaks:
        away[max(p - 45, 0) : p + 60] = False
    out["hf40"] = sosfiltfilt(_FAST, centred)[:, away].std(axis=1)
    fast = sosfiltfilt(_QUIET, centred)
    n_pieces = fast.shape[1] // 40
    out["quiet15"] = np.percentile(_rms(fast[:, : 40 * n_pieces].reshape(12, n_pieces, 40)), 10, axis=1)
    window = np.hanning(centred.shape[1])
    power = np.abs(np.fft.rfft(centred * window)) ** 2 * 2 / (window**2).sum() / centred.shape[1]
    f = np.fft.rfftfreq(centred.shape[1], 1 / FS)
    for name, (low, high) in BANDS.items():
        out[f"band_{name}"] = np.sqrt(power[:, (f >= low) & (f < high)].sum(axis=1))
    return out


def aligned_beats(signal, peaks, before=150, after=225):
    """(beat, lead, sample) −300…+450 ms around R, of a signal without its slow line, shifted to fit the median beat best."""
    line = sosfiltfilt(_LINE, signal)
    inside = [p for p in peaks if p - before - 10 >= 0 and p + after + 10 <= signal.shape[1]]
    beats = np.stack([line[:, p - before : p + after] for p in inside])
    template = np.median(beats, axis=0)[EIGHT, before - 40 : before + 40].ravel()
    template = template - template.mean()
    out = []
    for p in inside:
        near = line[EIGHT, p - 46 : p + 46]
        pieces = np.stack([near[:, d : d + 80].ravel() for d in range(13)])
        pieces = pieces - pieces.mean(axis=1, keepdims=True)
        fit = pieces @ template / np.sqrt((pieces**2).sum(axis=1))
        shift = int(np.argmax(fit)) - 6
        out.append(line[:, p + shift - before : p + shift + after])
    return np.stack(out)


def _explained(x, n):
    centred = x - x.mean(axis=1, keepdims=True)
    power = np.linalg.eigvalsh(centred @ centred.T)[::-1]
    return power[:n].sum() / power.sum()


def _boundaries(v, centre=150):
    """Onset and offset of a median beat's QRS from the speed of its vector."""
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.2) ** 2)
    kernel /= kernel.sum()
    smooth = np.stack([np.convolve(row, kernel, mode="same") for row in v])
    speed = np.sqrt((np.gradient(smooth, axis=1) ** 2).sum(axis=0))
    top = centre - 25 + int(speed[centre - 25 : centre + 35].argmax())
    limit = 0.06 * speed[top]
    onset = top
    while onset > centre - 75 and not (speed[onset - 5 : onset] < limit).all():
        onset -= 1
    offset = top
    while offset < centre + 110 and not (speed[offset : offset + 6] < limit).all():
        offset += 1
    return onset, offset


def dipole_measures(signal, beats):
    """How dipolar a record is, and its vectors (Kors); ``beats`` as ``aligned_beats`` gives them."""
    diagnostic = sosfiltfilt(_DIAGNOSTIC, signal)
    out = {"cum3_of12": _explained(diagnostic, 3), "cum4_of12": _explained(diagnostic, 4), "cum3_of8": _explained(diagnostic[EIGHT], 3)}
    # What rank 3 leaves is the sum of the other eigenvalues.
    out["resid3_rms_uV"] = 1000 * np.sqrt(np.linalg.eigvalsh(diagnostic @ diagnostic.T)[:-3].sum() / diagnostic.size)
    beat = np.median(beats, axis=0)[EIGHT]
    for n in (1, 2, 3, 4):
        out[f"beat_cum{n}"] = _explained(beat, n)
    onset, offset = _boundaries(KORS @ beat)
    beat = beat - beat[:, onset - 10 : onset].mean(axis=1, keepdims=True)
    v = KORS @ beat
    out["QRS_cum3"] = _explained(beat[:, onset:offset], 3)
    total = (beat**2).sum()
    fitted = DOWER @ (np.linalg.pinv(DOWER) @ beat)
    out["dower_lsq_unexpl"] = ((beat - fitted) ** 2).sum() / total
    own = beat @ v.T @ np.linalg.inv(v @ v.T)
    out["kors_ownmatrix_unexpl"] = ((beat - own @ v) ** 2).sum() / total
    qrs, t = v[:, onset:offset], v[:, offset + 30 : 370]
    size_q, size_t = np.sqrt((qrs**2).sum(axis=0)), np.sqrt((t**2).sum(axis=0))
    out["T_cum1"] = _explained(beat[:, offset + 30 : 370], 1)
    q, w = qrs[:, size_q.argmax()], t[:, size_t.argmax()]
    out["qrs_vec_max_mV"], out["t_vec_max_mV"] = size_q.max(), size_t.max()
    p = v[:, max(onset - 110, 0) : onset - 8]
    p = p - np.linspace(p[:, 0], p[:, -1], p.shape[1]).T
    out["p_vec_max_mV"] = np.sqrt((p**2).sum(axis=0)).max()
    for name, x in (("qrs", q), ("t", w)):
        out[f"{name}_az"] = np.degrees(np.arctan2(x[2], x[0]))
        out[f"{name}_el"] = np.degrees(np.arcsin(x[1] / np.linalg.norm(x)))

    def angle(a, b):
        return np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))

    out["peak_qrs_t_angle"], out["mean_qrs_t_angle"] = angle(q, w), angle(qrs.mean(axis=1), t.mean(axis=1))
    for name, loop in (("qrs", qrs), ("t", t)):
        s = np.linalg.svd(loop - loop.mean(axis=1, keepdims=True) if name == "t" else loop, compute_uv=False)
        out[f"{name}_loop_s2s1"], out[f"{name}_loop_s3s1"] = s[1] / s[0], s[2] / s[0]
    return out


def beat_to_beat(beats):
    """How alike the beats of a record are: name -> (lead,)."""
    median = np.median(beats, axis=0)
    centred, reference = beats - beats.mean(axis=2, keepdims=True), median - median.mean(axis=1, keepdims=True)
    corr = (centred * reference).sum(axis=2) / np.sqrt((centred**2).sum(axis=2) * (reference**2).sum(axis=1))
    spans = np.ptp(beats[:, :, 100:200], axis=2)
    return {
        "corr": np.median(corr, axis=0),
        "corrmin": corr.min(axis=0),
        "residrms": 1000 * np.median(_rms(centred - reference), axis=0),
        "qrsamp_cv": spans.std(axis=0) / spans.mean(axis=0),
    }


def amplitudes(signal, truth):
    """P, Q, R, S, T, J+60 and peak to peak in µV by the truth's boundaries, medians over the beats: name -> (lead,)."""
    rows = []
    smooth = sosfiltfilt(_DIAGNOSTIC, signal)
    for p, qrs, t in zip(truth.marks["P"], truth.marks["QRS"], truth.marks["T"], strict=True):
        if min(p.min(), qrs.min(), t.min()) < 0 or qrs[0] < 12 or t[2] + 1 >= signal.shape[1]:
            continue
        level = 1000 * smooth[:, qrs[0] - 10 : qrs[0]].mean(axis=1)
        q = 1000 * smooth[:, qrs[0] : qrs[2] + 1] - level[:, None]
        wave_p = 1000 * smooth[:, p[0] : p[2] + 1]
        wave_p = wave_p - np.linspace(wave_p[:, 0], wave_p[:, -1], wave_p.shape[1]).T
        wave_t = 1000 * smooth[:, t[0] : t[2] + 1] - level[:, None]
        row = {"P": _extreme(wave_p), "T": _extreme(wave_t), "PP": np.ptp(q, axis=1)}
        row["J60"] = 1000 * smooth[:, min(qrs[2] + 30, signal.shape[1] - 1)] - level
        top = q.argmax(axis=1)
        has_r = q.max(axis=1) >= 30
        steps = np.arange(q.shape[1])
        row["R"] = np.where(has_r, q.max(axis=1), 0)
        row["Q"] = np.where(has_r, np.minimum(np.where(steps <= top[:, None], q, 0).min(axis=1), 0), q.min(axis=1))
        row["S"] = np.where(has_r, np.minimum(np.where(steps >= top[:, None], q, 0).min(axis=1), 0), 0)
        rows.append(row)
    return {name: np.median([row[name] for row in rows], axis=0) for name in rows[0]}


def _extreme(x):
    return x[np.arange(12), np.abs(x).argmax(axis=1)]


def pathology_measures(signal, peaks):
    """QRS duration (ms), axis (°) and, in mV, voltages of the median beat: name -> number."""
    beat = np.median(aligned_beats(signal, peaks), axis=0)
    onset, offset = _boundaries(KORS @ beat[EIGHT])
    beat = beat - beat[:, onset - 10 : onset].mean(axis=1, keepdims=True)
    qrs = beat[:, onset : offset + 1]
    row = {name: i for i, name in enumerate(TWELVE)}
    out = {"QRSd": 1000 * (offset - onset) / FS, "axis": np.degrees(np.arctan2(qrs[row["aVF"]].sum(), qrs[row["I"]].sum()))}
    # An R wave is a peak: a QRS that ends in a lifted ST has none for that.
    peaks_of = [find_peaks(row, height=0.03, prominence=0.03)[0] for row in qrs]
    top = np.array([row[found].max(initial=0.0) for row, found in zip(qrs, peaks_of, strict=True)])
    bottom = qrs.min(axis=1)
    out["Sokolow"] = -bottom[row["V1"]] + max(top[row["V5"]], top[row["V6"]])
    out["Cornell"] = top[row["aVL"]] - bottom[row["V3"]]
    out["vecmax"] = np.sqrt(((KORS @ qrs[EIGHT]) ** 2).sum(axis=0)).max()
    st_t = beat[:, offset + 30 : 375]
    t = st_t[np.arange(12), np.abs(st_t).argmax(axis=1)]
    for name in ("I", "aVF", "V1", "V2", "V3", "V6"):
        i = row[name]
        out[f"R_{name}"], out[f"nadir_{name}"], out[f"T_{name}"] = top[i], bottom[i], t[i]
        out[f"ST60_{name}"] = beat[i, offset + 30]
        out[f"term40_{name}"] = beat[i, offset - 20 : offset].mean()
    return out


def atrial_rms(signal, peaks, low=4.0, high=9.0):
    """RMS (µV per lead) in 4–9 Hz of what is left when the average beat is taken away and the QRS bridged."""
    line = sosfiltfilt(_LINE, signal)
    rest = line.copy()
    gap = int(np.median(np.diff(peaks)))
    before, after = min(int(0.3 * gap), 110), min(int(0.65 * gap), 260)
    inside = [p for p in peaks if p - before >= 0 and p + after <= signal.shape[1]]
    average = np.median([line[:, p - before : p + after] for p in inside], axis=0)
    average = average - np.linspace(average[:, 0], average[:, -1], average.shape[1]).T
    for p in inside:
        rest[:, p - before : p + after] -= average
    for p in peaks:
        a, b = max(p - 35, 0), min(p + 45, signal.shape[1] - 1)
        rest[:, a:b] = np.linspace(rest[:, a], rest[:, b], b - a).T
    start, stop = peaks[0] + 60, peaks[-1] - 60
    band = butter(3, [low, high], "bandpass", fs=FS, output="sos")
    return 1000 * _rms(sosfiltfilt(band, rest)[:, start:stop])
