"""Ingest in one pass against the three passes of fairseq-signals over .mat files, on the same recordings, in one process.

The old pipeline (its newer one) makes a table of the headers, reads each recording with wfdb and writes it as float64 .mat ("org"), reads that, standardises it and writes it
("preprocessed"), reads that and writes each 5-s segment ("segmented"). Ours reads, checks, orders the leads, and writes int16; standardising and cutting
are done when the data are used. The recordings are the synthetic heart's, in the PhysioNet 2021 layout at the target rate, so neither side resamples.
Both sides include the statistics that they keep per lead; ours includes listing the corpus, the table and fsync.

Goals: at least 10 times the recordings per second, at most a third of the bytes.

    python benchmarks/ingest.py [--records 300] [--repeats 3]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE

RATE, WINDOW = 500, 2500


def old_records(headers: list[Path]) -> list[dict]:
    """The table of the corpus: one line per header, with what its comments say."""
    from wfdb import rdheader

    rows = []
    for header in headers:
        read = rdheader(str(header.with_suffix("")))
        said = dict(comment.split(": ", 1) for comment in read.comments if ": " in comment)
        rows.append(
            {"path": header, "fs": read.fs, "n": read.sig_len, "diagnosis": said.get("Dx"), "age": said.get("Age"), "sex": said.get("Sex")}
        )
    return rows


def old_org(header: Path, path: Path, idx: int) -> dict:
    from scipy.io import savemat
    from wfdb import rdrecord

    record = rdrecord(str(header.with_suffix("")))
    signal = record.p_signal.T
    if tuple(record.sig_name) != TWELVE:
        signal = signal[[record.sig_name.index(lead) for lead in TWELVE]]
    size = {
        "org_sample_rate": record.fs,
        "curr_sample_rate": record.fs,
        "org_sample_size": signal.shape[1],
        "curr_sample_size": signal.shape[1],
    }
    savemat(path, {**size, "feats": signal, "idx": idx})
    mean, std = signal.mean(axis=1), signal.std(axis=1)
    constant = np.count_nonzero(signal - mean[:, None], axis=1) == 0
    return {"mean": mean, "std": std, "nan_any": np.isnan(signal).any(), "nan": np.isnan(signal).all(axis=1), "constant": constant}


def old_preprocessed(path: Path, out: Path) -> None:
    from scipy.io import loadmat, savemat

    file = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    signal = file["feats"].astype(np.float64)
    mean, std = signal.mean(axis=1, keepdims=True), signal.std(axis=1, keepdims=True)
    savemat(out, {**file, "feats": (signal - mean) / np.where(std == 0, 1, std), "mean": mean, "std": std})


def old_segmented(path: Path, folder: Path) -> None:
    from scipy.io import loadmat, savemat

    file = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    signal = file["feats"]
    for i in range(signal.shape[1] // WINDOW):
        piece = {"feats": signal[:, i * WINDOW : (i + 1) * WINDOW], "curr_sample_size": WINDOW, "segment_i": i}
        savemat(folder / f"{path.stem}_{i}.mat", {**file, **piece})


def old_pipeline(headers: list[Path], root: Path) -> None:
    for name in ("org", "preprocessed", "segmented"):
        (root / name).mkdir(parents=True)
    old_records(headers)
    for idx, header in enumerate(headers):
        old_org(header, root / "org" / f"{header.stem}.mat", idx)
    for header in headers:
        old_preprocessed(root / "org" / f"{header.stem}.mat", root / "preprocessed" / f"{header.stem}.mat")
    for header in headers:
        old_segmented(root / "preprocessed" / f"{header.stem}.mat", root / "segmented")


def n_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from einthoven.simulate.corpus import write_corpus

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_corpus(root / "corpus", records=arguments.records, patients=max(1, arguments.records // 2), seed=0)
        headers = sorted((root / "corpus").rglob("*.hea"))
        assert len(headers) == arguments.records
        times: dict[str, list[float]] = {"old": [], "ours": []}
        for _ in range(arguments.repeats + 1):
            for name in ("old", "store"):
                shutil.rmtree(root / name, ignore_errors=True)
            start = time.perf_counter()
            old_pipeline(headers, root / "old")
            middle = time.perf_counter()
            summary = ingest("physionet2021", root / "corpus", root / "store", fs=RATE, workers=1)
            times["old"].append(middle - start)
            times["ours"].append(time.perf_counter() - middle)
            assert summary.n_records == arguments.records
        rate = {name: arguments.records / float(np.median(values[1:])) for name, values in times.items()}  # the first round imports
        size = {
            "three passes": n_bytes(root / "old"),
            "its segments alone": n_bytes(root / "old" / "segmented"),
            "store": n_bytes(root / "store"),
        }

    print(f"{arguments.records} recordings of 12 leads × 10 s at {RATE} Hz, one process, median of {arguments.repeats}")
    print(f"{'three passes over .mat':24} {rate['old']:10,.0f} recordings/s")
    print(f"{'ingest':24} {rate['ours']:10,.0f} recordings/s   × {rate['ours'] / rate['old']:.1f}")
    for name, value in size.items():
        print(f"{name:24} {value / 1e6:10,.1f} MB   store / this: {size['store'] / value:.3f}")


if __name__ == "__main__":
    main()
