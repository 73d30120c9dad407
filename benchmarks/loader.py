"""How fast windows come from a store, and how fast from one .mat file per segment, in one process.

The way of fairseq-signals is a .mat file per 5-s segment, with ``feats`` in float64 and eight small entries, opened by scipy.io.loadmat each
time; ours cuts windows out of memory-mapped int16 shards. Both sides read the same segments in a random order, from the page cache, by turns in the
same run. Rows of the table:

loadmat              scipy.io.loadmat alone
loadmat -> batch     … and what a batch needs of it: float32, stacked to (64, 12, 2500)
store, int16         the raw batch as it goes to the device, where one affine step makes mV of it
store, float32 mV    the same with that step done here, by NumPy

Goal: store, int16 at least 20 times the .mat way.

    python benchmarks/loader.py [--records 400] [--repeats 9]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef
from einthoven.store.read import Store
from einthoven.store.views import Segments, ecg

FS, SECONDS, WINDOW, BATCH = 500, 10, 2500, 64


class Noise:
    """Recordings of 12 leads × 10 s of smoothed noise: a loader does not look at the signal."""

    FACTS = Facts("noise")

    def __init__(self, n: int):
        self.n = n

    def records(self, root):
        return (RecordRef(Path(root) / str(i), str(i)) for i in range(self.n))

    def read(self, ref):
        steps = np.random.default_rng(int(ref.record)).normal(0, 0.05, size=(12, FS * SECONDS + 9))
        return Record(np.lib.stride_tricks.sliding_window_view(steps, 10, axis=1).sum(axis=2), FS, TWELVE, ref.record)


def write_segments(store: Store, folder: Path) -> list[Path]:
    """A .mat file per window, with the entries of the old pipeline (org_* and curr_*, idx, mean, std, segment_i)."""
    from scipy.io import savemat

    paths = []
    for row in range(len(store)):
        signal = store.record(row).signal.astype(np.float64)
        sizes = {"org_sample_rate": FS, "curr_sample_rate": FS, "org_sample_size": signal.shape[1], "curr_sample_size": WINDOW}
        whole = {"idx": row, "mean": signal.mean(axis=1, keepdims=True), "std": signal.std(axis=1, keepdims=True)}
        for i in range(signal.shape[1] // WINDOW):
            paths.append(folder / f"{row}_{i}.mat")
            savemat(paths[-1], {**sizes, **whole, "feats": signal[:, i * WINDOW : (i + 1) * WINDOW], "segment_i": i})
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    from scipy.io import loadmat

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ingest(Noise(arguments.records), root, root / "store", workers=1, shard_records=128)
        view = Segments(Store(root / "store"), None, WINDOW / FS)
        (root / "mat").mkdir()
        paths = write_segments(view.store, root / "mat")
        assert len(paths) == len(view)

        def mat_alone(indices):
            return [loadmat(paths[i])["feats"] for i in indices]

        def mat_batch(indices):
            return np.stack([loadmat(paths[i])["feats"].astype(np.float32) for i in indices])

        def millivolt(indices):
            return ecg(view.__getitems__(indices))

        np.testing.assert_allclose(mat_batch(np.arange(8)), millivolt(np.arange(8)), atol=1e-6)
        ways = {"loadmat": mat_alone, "loadmat -> batch": mat_batch, "store, int16": view.__getitems__, "store, float32 mV": millivolt}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        rng = np.random.default_rng(0)
        for _ in range(arguments.repeats + 1):
            for name, way in ways.items():
                order = rng.permutation(len(view))
                start = time.perf_counter()
                for first in range(0, len(order), BATCH):
                    way(order[first : first + BATCH])
                rates[name].append(len(order) / (time.perf_counter() - start))
    median = {name: float(np.median(values[1:])) for name, values in rates.items()}  # the first round fills the caches
    print(f"{len(view)} segments of 12 × {WINDOW}, batches of {BATCH}, median of {arguments.repeats}")
    print(f"{'':20} {'segments/s':>12} {'× loadmat':>10} {'× loadmat -> batch':>19}")
    for name, rate in median.items():
        print(f"{name:20} {rate:12,.0f} {rate / median['loadmat']:10.1f} {rate / median['loadmat -> batch']:19.1f}")


if __name__ == "__main__":
    main()
