"""How fast batches are augmented, on one core, against a plain NumPy loop over their records.

    OMP_NUM_THREADS=1 python benchmarks/augment.py            # 64 windows of 12 leads, 5 s at 500 Hz and 2.5 s at 100 Hz
    OMP_NUM_THREADS=1 python benchmarks/augment.py --names time_warp negation --repeats 50

Ours changes the batch as the training loop hands it over (float32, ``lead_present`` and ``scale`` in it, nothing padded). The loop does what the
same definition says, record by record, in float32 where NumPy has it, as one would write it for a dataset's ``__getitem__``,
and stacks the records to a batch. Both are given the same batch, by turns in the same process; a median of the time is taken,
by default of the process's own CPU time, so that neighbours on the machine count less. Before it is timed, each pair is compared:
both must change the batch by as much. Goal: ten times the loop.

2026-11-21, AMD EPYC (Zen 5, AVX-512), one thread beside other busy processes, torch 2.13.0, NumPy 2.4.6, median of 25, CPU time; windows/s:

| 64 × 12 leads | 5 s, 500 Hz: windows/s | loop | × | 2.5 s, 100 Hz: windows/s | loop | × |
| --- | --- | --- | --- | --- | --- | --- |
| baseline_shift | 41,771 | 18,818 | 2.2 | 182,413 | 37,963 | 4.8 |
| baseline_wander | 23,776 | 2,718 | 8.7 | 59,381 | 17,205 | 3.5 |
| channel_resize | 116,133 | 54,073 | 2.1 | 917,642 | 197,449 | 4.6 |
| conditional_lead_mask | 27,800 | 30,771 | 0.9 | 120,625 | 63,806 | 1.9 |
| down_sample | 10,082 | 3,443 | 2.9 | 35,368 | 9,795 | 3.6 |
| dynamic_time_warp | 16,405 | 4,303 | 3.8 | 81,679 | 8,209 | 10.0 |
| electrode_noise | 14,611 | 4,063 | 3.6 | 96,807 | 28,167 | 3.4 |
| em_noise | 14,948 | 4,685 | 3.2 | 93,830 | 30,635 | 3.1 |
| emg_noise | 14,166 | 4,538 | 3.1 | 77,841 | 28,731 | 2.7 |
| gaussian_blur | 8,376 | 2,099 | 4.0 | 157,041 | 30,434 | 5.2 |
| gaussian_noise | 12,480 | 4,383 | 2.8 | 89,256 | 32,087 | 2.8 |
| negation | 23,909 | 53,664 | 0.4 | 411,277 | 455,454 | 0.9 |
| powerline_noise | 39,344 | 7,149 | 5.5 | 115,272 | 32,162 | 3.6 |
| random_lead_mask | 27,325 | 39,201 | 0.7 | 196,309 | 151,221 | 1.3 |
| random_resized_crop | 8,305 | 3,249 | 2.6 | 37,714 | 14,222 | 2.7 |
| stretch | 13,585 | 5,068 | 2.7 | 93,291 | 23,026 | 4.1 |
| time_out | 58,682 | 54,767 | 1.1 | 397,121 | 181,197 | 2.2 |
| time_warp | 7,151 | 2,415 | 3.0 | 42,269 | 15,103 | 2.8 |
| vcg | 7,526 | 5,493 | 1.4 | 30,027 | 10,858 | 2.8 |

The goal is missed. Where there is arithmetic (wander's 49 cosines, warps, noise), a batch is two to ten times as fast as the loop; where a
sample is only multiplied or set to 0, memory is the limit for both, and the loop's records fit a core's cache while a batch of
7.7 MB does not. White noise is 2.6 ns a number, hashed and looked up, and NumPy's float32
generator 10 ns. None of this is felt: the slowest one takes 0.14 ms of a core for a window, a base model's training step 300 ms.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from einthoven.augment import AUGMENTS
from einthoven.leads import INDEPENDENT, INVERSE_DOWER, TWELVE
from einthoven.objectives import Moment

Loop = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]
FREE = [TWELVE.index(lead) for lead in INDEPENDENT]
LIMB_OF_ELECTRODES = np.array([[-1, 1, 0], [-1, 0, 1], [0, -1, 1], [1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], dtype=np.float32)
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


def lawful(free: np.ndarray) -> np.ndarray:
    """Noise of I, II, V1 … V6 -> of all twelve leads."""
    i, ii = free[:2]
    return np.concatenate([np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]), free[2:]])


def in_order(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Each lead read at fractional positions."""
    time = np.arange(x.shape[1])
    return np.stack([np.interp(positions, time, lead) for lead in x]).astype(np.float32)


def gaussian_noise(x, rng, fs):
    return x + lawful(np.float32(0.005) * rng.standard_normal((8, x.shape[1]), dtype=np.float32))


def em_noise(x, rng, fs):
    return x + lawful(np.float32(rng.uniform(0, 0.5)) * rng.standard_normal((8, x.shape[1]), dtype=np.float32))


def emg_noise(x, rng, fs):
    amplitude = rng.uniform(0, 0.1, size=(8, 1)).astype(np.float32)
    return x + lawful(amplitude * rng.standard_normal((8, x.shape[1]), dtype=np.float32))


def electrode_noise(x, rng, fs):
    noise = rng.uniform(0, 0.05, size=(9, 1)).astype(np.float32) * rng.standard_normal((9, x.shape[1]), dtype=np.float32)
    return x + np.concatenate([LIMB_OF_ELECTRODES @ noise[:3], noise[3:] - noise[:3].mean(axis=0)])


def baseline_wander(x, rng, fs):
    hz = 0.01 * np.arange(1, 50)
    angle = (2 * np.pi * hz[:, None] * np.arange(x.shape[1]) / fs + rng.uniform(0, 2 * np.pi, size=(49, 1))).astype(np.float32)
    line = rng.uniform(0, 0.1) * (rng.uniform(size=(49, 1)).astype(np.float32) * np.cos(angle)).sum(axis=0)
    return x + lawful(np.tile(line.astype(np.float32), (8, 1)))


def powerline_noise(x, rng, fs):
    mains = rng.choice([hz for hz in (50.0, 60.0) if hz <= fs / 2])
    time, phase, amplitude = np.arange(x.shape[1]) / fs, rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
    hum = np.zeros(x.shape[1])
    for k in range(1, 4):
        if k * mains <= fs / 2:
            hum += amplitude * rng.uniform() * np.cos(2 * np.pi * k * mains * time + phase)
    return x + lawful(rng.uniform(-1, 1, size=(8, 1)).astype(np.float32) * hum.astype(np.float32))


def baseline_shift(x, rng, fs):
    n = x.shape[1]
    line, amplitude = np.zeros(n, dtype=np.float32), rng.uniform(0, 1)
    for _ in range(rng.integers(0, int(0.3 * n / fs + 0.5) + 1)):
        middle, half = rng.integers(0, n), 0.5 * fs * rng.normal(3, 0.6)
        line[max(0, int(middle - half)) : int(middle + half) + 1] = amplitude * rng.uniform(-1, 1)
    gain = rng.choice([-1.0, 1.0], size=(8, 1)) * rng.normal(1, 1, size=(8, 1))
    return x + lawful(gain.astype(np.float32) * line)


def gaussian_blur(x, rng, fs):
    step = 0.01 * fs
    reach = math.ceil(3 * step) - 1
    kernel = np.interp(np.arange(-reach, reach + 1) / step, np.arange(-3, 4), [0, 0.1, 0.2, 0.4, 0.2, 0.1, 0])
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return np.stack([np.convolve(lead, kernel, mode="same") for lead in x])


def channel_resize(x, rng, fs):
    return x * np.exp(rng.uniform(np.log(0.5), np.log(2), size=(len(x), 1))).astype(np.float32)


def negation(x, rng, fs):
    return -x if rng.uniform() < 0.5 else x


def time_out(x, rng, fs):
    n = x.shape[1]
    length = int(rng.uniform(0.2, 0.4) * n)
    start = rng.integers(0, n - length + 1)
    y = x.copy()
    y[:, start : start + length] = 0
    return y


def random_resized_crop(x, rng, fs):
    n = x.shape[1]
    length = int(rng.uniform(0.5, 1.0) * n)
    start = rng.integers(0, n - length + 1)
    places = np.concatenate([[0], np.sort(rng.choice(n - 2, size=length - 2, replace=False)) + 1, [n - 1]])
    return np.stack([np.interp(np.arange(n), places, lead[start : start + length]) for lead in x]).astype(np.float32)


def down_sample(x, rng, fs):
    n = x.shape[1]
    kept = np.ones(n, dtype=bool)
    kept[rng.choice(n - 2, size=int(0.2 * n), replace=False) + 1] = False
    places = np.flatnonzero(kept)
    return np.stack([np.interp(np.arange(n), places, lead[places]) for lead in x]).astype(np.float32)


def time_warp(x, rng, fs):
    n = x.shape[1]
    walk = np.cumsum(rng.standard_normal(n) * math.sqrt(100 / fs))
    spread = np.cumsum(walk - walk.min() + 10)
    to = (spread - spread[0]) / (spread[-1] - spread[0]) * (n - 1)
    return np.stack([np.interp(np.arange(n), to, lead) for lead in x]).astype(np.float32)


def dynamic_time_warp(x, rng, fs):
    n, radius, step = x.shape[1], round(0.1 * fs), 2
    span, far = radius * (step + 1), np.arange(radius)
    place = np.concatenate([-span + step * far, np.arange(-radius, radius + 1), radius + step + step * far])
    sample = np.concatenate([far - span, step * np.arange(-radius, radius + 1), step * radius + 1 + far])
    y = x.copy()
    for _ in range(3):
        centre = rng.integers(span, n - span - step)
        window = np.arange(centre - span, centre + span + 1)
        y[:, window] = np.stack([np.interp(window, centre + place, lead) for lead in y[:, centre + sample]])
    return y


def stretch(x, rng, fs):
    pace, last = 1.1 ** -rng.uniform(), x.shape[1] - 1
    return in_order(x, rng.uniform() * last * (1 - pace) + pace * np.arange(x.shape[1]))


def random_lead_mask(x, rng, fs):
    return x * (rng.uniform(size=(len(x), 1)) >= 0.5).astype(np.float32)


def conditional_lead_mask(x, rng, fs):
    y = x.copy()
    y[rng.choice(6, size=4, replace=False)] = 0
    y[6 + rng.choice(6, size=5, replace=False)] = 0
    return y


def vcg(x, rng, fs):
    a, b, c = np.deg2rad(rng.uniform(-45, 45, size=3))
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    turned = np.diag(rng.uniform(1, 1.5, size=3)) @ about_x @ about_y @ about_z
    y = lawful((np.linalg.pinv(INVERSE_DOWER) @ turned @ INVERSE_DOWER).astype(np.float32) @ x[FREE])
    n = x.shape[1]
    for lead in y:
        lead[(rng.integers(n) + np.arange(n // 2)) % n] = 0
    return y


LOOPS: dict[str, Loop] = {
    loop.__name__: loop
    for loop in (baseline_shift, baseline_wander, channel_resize, conditional_lead_mask, down_sample, dynamic_time_warp, electrode_noise,
                 em_noise, emg_noise, gaussian_blur, gaussian_noise, negation, powerline_noise, random_lead_mask, random_resized_crop,
                 stretch, time_out, time_warp, vcg)
}  # fmt: skip


def ecgs(n_rows: int, fs: float, seconds: float) -> np.ndarray:
    """Beats, of bells, that obey the laws of the limb leads: (n_rows, 12, time) float32 mV."""
    rng, t = np.random.default_rng(0), np.arange(round(seconds * fs)) / fs
    phase = (t * rng.uniform(0.8, 1.6, size=(n_rows, 1)) + rng.uniform(size=(n_rows, 1))) % 1 - 0.4
    waves = sum(
        height * np.exp(-0.5 * ((phase - at) / width) ** 2) for at, width, height in ((-0.2, 0.03, 0.1), (0, 0.015, 1), (0.3, 0.05, 0.3))
    )
    free = rng.normal(0, 1, size=(n_rows, 8, 1)) * waves[:, None]
    return np.stack([lawful(it) for it in free]).astype(np.float32)


def batch_of(x: np.ndarray) -> dict[str, Any]:
    n_rows, n_leads, n_samples = x.shape
    return {
        "ecg": torch.from_numpy(x),
        "valid": torch.ones(n_rows, n_samples, dtype=torch.bool),
        "padded": False,
        "lead_present": torch.ones(n_rows, n_leads, dtype=torch.bool),
        "scale": torch.ones(n_rows, n_leads),
    }


def change(ways: dict[str, Callable[[int], np.ndarray]], x: np.ndarray) -> dict[str, float]:
    """Root mean square by which each way changes the batch, over several draws."""
    return {name: float(np.mean([np.sqrt(np.mean((way(i) - x) ** 2)) for i in range(8)])) for name, way in ways.items()}


def measure(name: str, fs: float, seconds: float, repeats: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Median seconds per batch of ours and of the loop."""
    x, rng = ecgs(64, fs, seconds), np.random.default_rng(1)
    batch, augment, loop = batch_of(x), AUGMENTS[name](fs=fs), LOOPS[name]
    ways: dict[str, Callable[[int], np.ndarray]] = {
        "ours": lambda i: augment(batch, Moment(step=i))["ecg"].numpy(),
        "loop": lambda i: np.stack([loop(record, rng, fs) for record in x]),
    }
    ours, theirs = change(ways, x).values()
    if not 0.8 < ours / theirs < 1.25:
        raise RuntimeError(
            f"{name}: ours changes the batch by {ours:.4f} mV, the loop by {theirs:.4f} mV; they are not the same definition"
        )
    seconds_of: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(repeats):
        for way, run in ways.items():
            begin = clock()
            run(i)
            seconds_of[way].append(clock() - begin)
    return statistics.median(seconds_of["ours"]), statistics.median(seconds_of["loop"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=sorted(AUGMENTS), choices=sorted(AUGMENTS))
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if missing := sorted(set(AUGMENTS) - set(LOOPS)):
        raise SystemExit(f"no NumPy loop is written for {', '.join(missing)}")
    print(
        f"torch {torch.__version__}, NumPy {np.__version__}, {os.cpu_count()} cores, one used; median of {arguments.repeats}, {arguments.clock} time\n"
    )
    print("| 64 × 12 leads | 5 s, 500 Hz: windows/s | loop | × | 2.5 s, 100 Hz: windows/s | loop | × |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.names:
        cells = []
        for fs, seconds in ((500.0, 5.0), (100.0, 2.5)):
            ours, loop = measure(name, fs, seconds, arguments.repeats, CLOCKS[arguments.clock])
            cells.append(f"{64 / ours:,.0f} | {64 / loop:,.0f} | {loop / ours:.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
