"""Convert a corpus once, and look into the store: its table, its splits, its signals, the batches that training draws.

    python examples/look_into_a_store.py

A store is a folder of plain files: a Parquet table with a row per recording, NumPy arrays of int16, a CSV of what was rejected
and why. pandas, DuckDB or a spreadsheet open it as well. Everything is written into a temporary folder.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import einthoven
from einthoven.ingest.run import ingest
from einthoven.simulate.corpus import write_corpus
from einthoven.sources.vocabulary import CLASSES, snomed_names
from einthoven.store.split import assign, split
from einthoven.store.views import Pairs, Segments
from einthoven.store.where import select

folder = Path(tempfile.mkdtemp(prefix="einthoven-"))

# %% A corpus with one damaged file. Ingest sets it aside with its reason and goes on; nothing is lost without a word.
write_corpus(folder / "corpus", records=60, patients=30, seed=1)
damaged = sorted((folder / "corpus").rglob("*.mat"))[7]
damaged.write_bytes(damaged.read_bytes()[:1000])
print(ingest("physionet2021", folder / "corpus", folder / "store", workers=1))
print((folder / "store" / "rejected.csv").read_text())

# %% A store is a map-style data set: a length, and a recording by its number, as a dict of NumPy (for a DataLoader of your own) or as
# the Record that a reader gives. The signal is read when it is asked for.
store = einthoven.Store(folder / "store")
print(store)
item = store[0]
print({key: item[key] for key in ("record", "patient", "fs", "split")}, f"ecg {item['ecg'].shape}, up to {item['ecg'].max():.2f} mV")
print(store.record(0))
print(f"on disk: {sum(path.stat().st_size for path in (folder / 'store' / 'shards').iterdir()) / 1e6:.1f} MB")

# %% Its table. Columns are read one by one; `store.table` is the whole as an Arrow table (`.to_pandas()`).
age = store.column("age")
print(f"age {np.nanmedian(age):.0f} years (median), {Counter(store.column('sex'))}")
names = snomed_names()
labels = Counter(code for row in store.labels() for code in row or ())
print("most frequent:", ", ".join(f"{names.get(code, code)} {n}" for code, n in labels.most_common(4)))
print(f"{len(select(store, 'age >= 60 and sex == female'))} recordings of women of 60 and older")

# %% Train, valid and test are parts of the patients, never of one person's recordings. Here another split is drawn and kept.
assign(store.path, split(store, strategy="random", fractions=(0.6, 0.2, 0.2), seed=7), {"strategy": "random", "seed": 7})
store = einthoven.Store(store.path)
parts = {name: set(store.column("patient")[store.where(split=name)]) for name in ("train", "valid", "test")}
print({name: len(patients) for name, patients in parts.items()}, "patients; shared:", len(parts["train"] & parts["test"]))

# %% What training reads: windows, cut when they are asked for. A batch is int16 counts with a gain and an offset per lead, because
# mV and a z-score are both one multiplication and one addition, made where the model is.
windows = Segments(store, "train", seconds=5.0, classes=CLASSES["cinc2021"], scaling="record_zscore")
batch = windows.__getitems__([0, 1, 2, 3])
ecg = batch["counts"] * batch["gain"][:, :, None] + batch["offset"][:, :, None]
print(
    f"{len(windows)} windows; a batch is {ecg.shape} with labels {batch['label'].shape}, each recording's leads at SD {ecg.std(axis=(0, 2)).mean():.2f}"
)

# %% Pairs of neighbouring windows are the positives of CMSC: rows 2i and 2i + 1 are one person's.
pairs = Pairs(store, "train", seconds=5.0).__getitems__([0, 1])
print("patients of two pairs:", pairs["patient"].tolist(), "windows:", pairs["segment"].tolist())

# %% Where it all came from is written down.
facts = json.loads((store.path / "store.json").read_text())
print("made from", facts["source"]["name"], "by einthoven", facts["code"]["einthoven"], "at", facts["signal"]["fs"], "Hz")
