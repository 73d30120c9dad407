"""Whether two recordings share a stretch of signal, and what is not the same about them: rate, scale, beginning, length, names of leads.

Both are brought to one rate and one baseline, laid upon one another to the sample, and compared second by second and lead by lead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from einthoven.leads import canonical
from einthoven.record import Record
from einthoven.signal.beats import boxcar
from einthoven.signal.resample import resample

FS, LONGEST = 500.0, 60.0
"""Hz at which two signals are compared, and s of them at most."""

ALIKE, ALIKE_BY_LEAD, EDGE = 0.12, 0.05, 0.35
"""The residual over the signal below which a second is the same second: with one factor for all leads, and with a factor for each lead or with one
lead to compare. Resampling and rounding leave 0.01 to 0.09, two beats of one heart 0.2 and more; but two pacemakers of one rate may beat alike to 0.11
where each lead may have a factor of its own. The first and the last second may have EDGE beside others that are the same."""

SECONDS, SECONDS_OF_ONE_LEAD = 3, 5
"""Seconds on end that must be the same, in two leads and more, and where there is but one to compare, or leads that were moved in time."""

SKEW = 0.04
"""Seconds by which a lead may be later or earlier than the others of its recording: converters that read one lead after the other, and headers that
undo it or do not."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Two recordings that share a stretch of signal.

    first, second : their numbers
    start_first, start_second, seconds : where the shared stretch begins in each, and how long it is (at most LONGEST is looked at)
    factor   : the second is so many times as large
    residual : root mean square of the difference over that of the signal, in the shared stretch
    exact    : same rate, length and samples, to half a count
    differs  : in words, what is not the same about them; () for exact copies
    """

    first: int
    second: int
    start_first: float
    start_second: float
    seconds: float
    factor: float
    residual: float
    exact: bool
    differs: tuple[str, ...]


def compare(first: Record, second: Record, lag: float) -> tuple[float, float, float, float, float, bool, tuple[str, ...]] | None:
    """The fields of a Copy from ``start_first`` on, where the second recording, ``lag`` s later, is the first; else None."""
    a, b, lag = _aligned(first, second, lag)
    if a.shape[1] < SECONDS * FS:
        return None
    place = {canonical(name): row for row, name in enumerate(first.leads)}
    names = [canonical(name) for name in second.leads]
    own = ((place[name], row) for row, name in enumerate(names) if name in place)
    live = [(i, j) for i, j in own if a[i].any() and b[j].any()]
    pairs, moved = _leads_in_common(a, b, live, first.leads, names)
    if pairs:
        x, y = a[[one for one, _ in pairs]], b[[two for _, two in pairs]]
        begin, end, factor, residual = _same_seconds(x, y)
        enough: float = SECONDS if len(pairs) > 1 else SECONDS_OF_ONE_LEAD
        apart = [names[j] for i, j in live if i not in {one for one, _ in pairs} and j not in {two for _, two in pairs}]
        moved += [f"{', '.join(apart)} {'is' if len(apart) == 1 else 'are'} not the same"] if apart else []
    else:
        x, y, moved = _skewed(a, b, live, names)
        if not len(x):
            return None
        begin, end, factor, residual = _same_seconds(x, y)
        enough = SECONDS_OF_ONE_LEAD if residual < ALIKE_BY_LEAD else np.inf
    if end - begin < enough:
        return None
    start_first, start_second = max(lag, 0.0) + begin, max(-lag, 0.0) + begin
    exact = _is_exact(first, second)
    differs = () if exact else _differences(first, second, factor, lag, moved, residual, float(end - begin))
    return start_first, start_second, float(end - begin), factor, residual, exact, differs


def _aligned(first: Record, second: Record, lag: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Both recordings over the time that they share, at FS, without baseline and what the coarser of them cannot hold; and the lag, made exact."""
    margin = 0.1
    shared = min(first.seconds, second.seconds + lag) - max(lag, 0.0)
    length = min(max(shared, 0.0), LONGEST)
    a = _piece(first, max(lag, 0.0) - margin, length + 2 * margin)
    b = _piece(second, max(-lag, 0.0), length)
    width = b.shape[1]
    most = a.shape[1] - width
    if width < FS or most < 0:
        return a[:, :0], b[:, :0], lag
    # Where the sum over leads of both, however they are ordered, fits best.
    one, two = (np.sqrt((side**2).sum(axis=0)) for side in (a, b))
    one, two = one - one.mean(), two - two.mean()
    from scipy.signal import correlate

    dot = correlate(one, two, mode="valid", method="fft")
    total = np.concatenate([[0.0], np.cumsum(one**2)])
    fit = dot / np.sqrt(np.maximum(total[width:] - total[:-width], 1e-12))
    shift = int(np.argmax(fit))
    return a[:, shift : shift + width], b, lag + shift / FS - (margin if lag >= margin else max(lag, 0.0))


def _piece(record: Record, start: float, seconds: float) -> np.ndarray:
    first = max(0, round(start * record.fs))
    signal = np.nan_to_num(record.signal[:, first : max(first, round((start + seconds) * record.fs))])
    if signal.shape[1] == 0:
        return signal
    signal = resample(signal, record.fs, FS).astype(np.float64)
    return boxcar(signal - boxcar(signal, round(FS)), round(0.03 * FS))


def _leads_in_common(
    a: np.ndarray, b: np.ndarray, live: list[tuple[int, int]], first: tuple[str, ...], second: list[str]
) -> tuple[list[tuple[int, int]], list[str]]:
    """Rows that hold one signal, by name where half of the names agree, else by likeness; and in words which names do not agree."""

    def likeness(one: np.ndarray, two: np.ndarray) -> float:
        size = float(np.sqrt((one @ one) * (two @ two)))
        return float(one @ two) / size if size > 1e-9 else 0.0

    def alike(one: np.ndarray, two: np.ndarray) -> bool:
        """Over the better half of the seconds, so that a copy of a part counts."""
        n = len(one) // round(FS)
        each = sorted(
            (abs(likeness(one[round(k * FS) : round((k + 1) * FS)], two[round(k * FS) : round((k + 1) * FS)])) for k in range(n)),
            reverse=True,
        )
        return len(each) > 0 and each[max(0, min(len(each) - 1, max(SECONDS - 1, len(each) // 2 - 1)))] > 0.985

    agreeing = [(i, j) for i, j in live if alike(a[i], b[j])]
    words = [f"{second[j]} is inverted" for i, j in agreeing if likeness(a[i], b[j]) < 0]
    if live and len(agreeing) == len(live):
        return agreeing, words
    if len(live) > 2 and not agreeing and not _any_alike(a, b):
        return [], []
    found, taken = list(agreeing), {i for i, _ in agreeing}
    for j in range(len(b)):
        if any(j == two for _, two in agreeing) or not b[j].any():
            continue
        for i in range(len(a)):
            if i not in taken and a[i].any() and alike(a[i], b[j]):
                taken.add(i)
                found.append((i, j))
                words.append(f"{second[j]} of the second is {first[i]} of the first")
                break
    if 2 * len(found) <= len(live):
        return [], []
    return found, words


def _skewed(a: np.ndarray, b: np.ndarray, own: list[tuple[int, int]], names: list[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Leads of one name laid upon one another each with a lag of its own, (lead, time) of both, where one lag does not serve all; and in words which
    leads are moved. No lead where this is not so."""
    from scipy.signal import correlate

    reach = round(SKEW * FS)
    width = a.shape[1] - 2 * reach
    if len(own) < 2 or width < SECONDS_OF_ONE_LEAD * FS or not _any_alike(a, b):
        return a[:0], b[:0], []
    dots = [correlate(a[i], b[j, reach : reach + width], mode="valid", method="fft") for i, j in own]
    shifts = [int(np.argmax(dot)) for dot in dots]
    usual = max(shifts, key=shifts.count)
    others = "the other leads" if len(own) > 2 else names[own[shifts.index(usual)][1]]
    words = [
        f"{names[j]} is {1000 * abs(shift - usual) / FS:.0f} ms {'earlier' if shift > usual else 'later'} beside {others}"
        for (_, j), shift in zip(own, shifts)
        if shift != usual
    ]
    x = np.stack([a[i, shift : shift + width] for (i, _), shift in zip(own, shifts)])
    return (x, b[[j for _, j in own], reach : reach + width], words) if words else (a[:0], b[:0], [])


def _any_alike(a: np.ndarray, b: np.ndarray) -> bool:
    size = np.sqrt(np.outer((a**2).sum(axis=1), (b**2).sum(axis=1)))
    return bool((np.abs(a @ b.T) > 0.9 * np.maximum(size, 1e-9)).any())


def _same_seconds(x: np.ndarray, y: np.ndarray) -> tuple[int, int, float, float]:
    """The longest run of seconds in which y is x up to a factor: (first, last + 1, factor, residual)."""
    n, step = x.shape[1] // round(FS), round(FS)
    x, y = (side[:, : n * step].reshape(len(side), n, step) for side in (x, y))
    each = (x * y).sum(axis=2) / np.maximum((x**2).sum(axis=2), 1e-12)  # (lead, second)
    by_lead = np.median(each, axis=1)
    factor = float(np.median(np.abs(by_lead)))
    size = np.maximum((y**2).sum(axis=(1, 2)), 1e-12)[:, None]
    there = ((y**2).sum(axis=2) / size).sum(axis=0)
    there = np.maximum(there, 0.02 * there.mean())
    run = 0, 0, factor, 1.0
    for factors, alike in ((factor * np.sign(by_lead), ALIKE if len(x) > 1 else ALIKE_BY_LEAD), (by_lead, ALIKE_BY_LEAD)):
        off = (((y - factors[:, None, None] * x) ** 2).sum(axis=2) / size).sum(axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], off < alike**2 * there, [False]]).astype(np.int8))).reshape(-1, 2)
        begin, end = max(edges.tolist(), key=lambda edge: edge[1] - edge[0], default=(0, 0))
        if end - begin > run[1] - run[0]:
            residual = float(np.sqrt(off[begin:end].sum() / there[begin:end].sum()))
            # Where one of the two begins or ends, the average that takes the baseline out knows only one side.
            nearly = off < EDGE**2 * there
            run = begin - int(begin == 1 and nearly[0]), end + int(end == n - 1 and nearly[-1]), factor, residual
    return run


def _is_exact(first: Record, second: Record) -> bool:
    if first.leads != second.leads or first.fs != second.fs or first.signal.shape != second.signal.shape:
        return False
    return bool(np.nanmax(np.abs(first.signal - second.signal), initial=0.0) <= 0.00055)


def _differences(
    first: Record, second: Record, factor: float, lag: float, moved: list[str], residual: float, seconds: float
) -> tuple[str, ...]:
    words = []
    rates = [float(record.meta.get("source_fs", record.fs)) for record in (first, second)]
    if rates[0] != rates[1]:
        words.append(f"recorded at {rates[0]:g} and {rates[1]:g} Hz")
    elif first.fs != second.fs:
        words.append(f"stored at {first.fs:g} and {second.fs:g} Hz")
    if not 0.97 < factor < 1.03:
        words.append(f"the second is {factor:.3g} times as large")
    if abs(lag) > 0.02:
        words.append(f"the second begins {abs(lag):.2f} s {'later' if lag > 0 else 'earlier'}")
    if abs(first.seconds - second.seconds) > 0.05:
        words.append(f"{first.seconds:.4g} and {second.seconds:.4g} s long")
    elif seconds < min(first.seconds, second.seconds, LONGEST) - 1 - abs(lag):
        words.append(f"the same for {seconds:.3g} s only")
    words += moved if len(moved) < 4 else [f"{moved[0]}, and {len(moved) - 1} more leads under other names"]
    if set(first.leads) != set(second.leads) and not moved:
        words.append(f"{len(first.leads)} and {len(second.leads)} leads")
    return tuple(words) or (f"the same but for {100 * residual:.1f} % of the signal's size: noise, rounding or a filter",)
