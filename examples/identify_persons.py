"""Whose ECG is it? Learn to tell persons apart on one corpus, and find other persons again in another.

    python examples/identify_persons.py

The same as `einthoven finetune identification` and `einthoven evaluate`. The sizes here only show the way.
"""

import tempfile
from pathlib import Path

import einthoven
from einthoven.infer.evaluate import evaluate
from einthoven.ingest.run import ingest
from einthoven.recipes import recipe
from einthoven.recipes.evaluation import evaluation
from einthoven.recipes.run import finetune
from einthoven.simulate.corpus import write_corpus
from einthoven.store.gallery import gallery_and_probe

folder = Path(tempfile.mkdtemp(prefix="einthoven-"))
for name, seed in (("here", 1), ("elsewhere", 2)):
    write_corpus(folder / name, records=80, patients=40, seed=seed)
    print(ingest("physionet2021", folder / name, folder / f"store-{name}", workers=1))

# %% Who is enrolled, and who is asked for: of everybody with two recordings or more, the first in time is enrolled.
store = einthoven.Store(folder / "store-elsewhere")
roles = gallery_and_probe(store, None)
print(roles)
time, name = store.column("time"), store.column("record")
first, later = roles.gallery[0], roles.probe[roles.probe_person == roles.gallery_person[0]][0]
print(f"{name[first]} of {time[first]} is enrolled, {name[later]} of {time[later]} is to be recognised")

# %% Every person of the first corpus is a class (ArcFace). The classes are thrown away afterwards; the vectors stay.
words = ["encoder=tiny", "split=all", "steps=40", "batch=16", "optim.lr=1e-3", "scale=32", "margin=0.3", "device=cpu"]
run = finetune(recipe("identification", [f"data={folder / 'store-here'}", f"run={folder / 'identification'}", *words]))

# %% Persons whom it has never seen are found by the cosine between vectors. `matches.csv` has every probe and whom it was taken for.
result = evaluate(run, evaluation([f"data={store.path}", "split=all", "bootstrap=200", "device=cpu"]))
for name in ("rank_1", "rank_5", "auroc", "eer"):
    score = result.scores[name]
    print(f"{name:8} {score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]")
print(f"by chance rank 1 is {result.about['chance of rank 1']}; report {result.folder / 'report.html'}")

# %% The vector of one recording, for a search of one's own.
model = einthoven.Model.from_pretrained(run)
print("vector", model.embed(store.record(0)).shape)
