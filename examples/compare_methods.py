"""Which way of pretraining is best on these recordings? Compare a few with equal budgets, and read the table.

    python examples/compare_methods.py

The same as `einthoven bench mine.yaml data=STORE`. The sizes here only show the way: 20 updates teach nobody anything, and the
intervals say so. `einthoven bench quick data=STORE` is a first look that means something.
"""

import tempfile
from pathlib import Path

from einthoven.bench.grid import grid
from einthoven.bench.run import bench
from einthoven.bench.work import Place
from einthoven.ingest.run import ingest
from einthoven.recipes import PRETRAIN
from einthoven.report.bench import as_markdown
from einthoven.simulate.corpus import write_corpus

folder = Path(tempfile.mkdtemp(prefix="einthoven-"))
write_corpus(folder / "corpus", records=120, patients=60, seed=1)
print(ingest("physionet2021", folder / "corpus", folder / "store", fs=100, workers=1))

# %% What there is. `einthoven methods` lists encoders, augmentations and protocols too, and `einthoven methods simclr` one's options.
for name, made in PRETRAIN.items():
    print(f"{name:20} {(made.__doc__ or '').splitlines()[0]}")

# %% What is compared: a line per method, on encoders that it goes with; every one gets the same updates, windows and learning rates. An
# untrained encoder and training from labels alone are always there: a method that is not above the first has learned nothing of use.
(folder / "mine.yaml").write_text("""
methods:
  - {recipe: w2v_cmsc_rlm, encoders: [tiny]}
  - {recipe: simclr, encoders: [xresnet1d18_small]}
set: [seconds=2.5, scaling=none]
protocols: [probe]
pretraining: {steps: 20, batch: 16, lr: [1e-3]}
finetuning: {steps: 10, batch: 16}
min_positives: 3
bootstrap: 200
""")
table = bench(grid(str(folder / "mine.yaml")), Place(folder / "bench", folder / "store", "cpu", 0), say=lambda text: None)

# %% Scores on the same test recordings, with intervals over persons, and the paired difference to the best line.
assert table is not None
print(as_markdown(table))
print("report:", folder / "bench" / "report.html")

# %% Run again, nothing is done twice: a comparison that was stopped goes on, and a larger one takes over what is there.
again = bench(grid(str(folder / "mine.yaml")), Place(folder / "bench", folder / "store", "cpu", 0), say=print)
print("the same table:", again is not None and again.to_json() == table.to_json())
