"""What a person waits for before anything happens: `einthoven --help`, and reading one file.

Goals: --help under 0.5 s; reading a file without importing torch. Each figure is the median over whole processes; a bare
`python -c pass` in the same run is the floor of this machine.

    python benchmarks/startup.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def median_seconds(command: list[str], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first one warms the disk cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    from einthoven.simulate.corpus import write_corpus

    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), records=1, patients=1, seed=0)
        file = next(Path(folder).rglob("*.hea"))
        read = f"import einthoven, sys; einthoven.read({str(file)!r}); assert 'torch' not in sys.modules"
        rows = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "einthoven --help": [sys.executable, "-m", "einthoven", "--help"],
            "einthoven pretrain --help": [sys.executable, "-m", "einthoven", "pretrain", "--help"],
            "einthoven.read(one file)": [sys.executable, "-c", read],
            "import torch (for comparison)": [sys.executable, "-c", "import torch"],
        }
        for name, command in rows.items():
            print(f"{name:32} {median_seconds(command, repeats):6.2f} s")


if __name__ == "__main__":
    main()
