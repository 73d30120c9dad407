"""Ask a model about recordings: findings, an embedding, what it says when leads are missing; and keep the answers.

    python examples/ask_a_model.py [MODEL FILE …]

MODEL is a run, a model's folder, or a .pt of fairseq-signals (ECG-FM); without arguments a small one is trained first, on the
synthetic heart, in seconds. It has learned next to nothing: look at how one asks, not at what it says.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import einthoven
from einthoven.errors import EinthovenError
from einthoven.infer.answer import answer
from einthoven.simulate.corpus import write_corpus

folder = Path(tempfile.mkdtemp(prefix="einthoven-"))


def small_model() -> Path:
    """A model to ask, where none is given."""
    from einthoven.ingest.run import ingest
    from einthoven.recipes import recipe
    from einthoven.recipes.run import finetune

    ingest("physionet2021", folder / "corpus", folder / "store", workers=1)
    words = ["encoder=tiny", "encoder.extractor_gradient=1", "steps=20", "batch=16", "optim.lr=1e-3", "min_positives=5", "device=cpu"]
    return finetune(
        recipe("diagnosis", [f"data={folder / 'store'}", f"run={folder / 'diagnosis'}", *words]), progress=False, say=lambda text: None
    )


if len(sys.argv) > 2:
    name, files = Path(sys.argv[1]), [Path(file) for file in sys.argv[2:]]
else:
    write_corpus(folder / "corpus", records=80, patients=40, seed=2)
    name, files = small_model(), sorted((folder / "corpus").rglob("*.hea"))[:3]

# %% A model knows what it was trained on: the leads, the rate, the window, the scaling, and what its outputs mean.
model = einthoven.Model.from_pretrained(name)
print(model)
print("classes:", ", ".join(one["name"] for one in model.classes))

# %% Ask. Whatever the recording's rate, length and order of leads, it is brought to the model's contract by named steps.
record = einthoven.read(files[0])
prediction = model.predict(record)
print(prediction)
for finding in sorted(prediction.findings, key=lambda one: -one.probability)[:3]:
    print(f"  {finding.name:32} {finding.probability:.2f}  (from {finding.threshold:.2f} on it counts)  {'|'.join(finding.codes)}")
print("steps:", "; ".join(prediction.steps))

# %% One lead, as a watch records it: answered, and said so. A record that cannot be answered is refused with the reason.
place = record.leads.index("I")
one_lead = replace(record, signal=record.signal[place : place + 1], leads=("I",))
print("one lead:", "; ".join(model.predict(one_lead).notes))
try:
    model.predict(replace(record, signal=np.zeros_like(record.signal)))
except EinthovenError as error:
    print("refused:", error)

# %% An embedding: one vector for a recording, for a search, a map, or a classifier of one's own.
vectors = np.stack([model.embed(file) for file in files])
print(f"embeddings {vectors.shape}; the first is like the others by", np.round(np.corrcoef(vectors)[0, 1:], 2))

# %% Many files at once, as `einthoven predict` does: JSON and a report with the tracings. One bad file does not stop the others.
answers = answer(name, [*files, folder / "not-there.hea"], out=folder / "answers.json", html=folder / "answers.html")
print([item.get("reason", "answered") for item in answers])
print("written:", folder / "answers.json", folder / "answers.html")
