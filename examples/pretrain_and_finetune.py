"""Pretrain without labels, fine-tune with few, and see what it is worth: the main path from Python, in seconds.

    python examples/pretrain_and_finetune.py

The same as `einthoven pretrain`, `finetune` and `evaluate`; a recipe is the same value, with the same keys. The sizes here only show
the way: nobody learns cardiology from 24 updates. `einthoven demo` takes minutes and does learn.
"""

import tempfile
from pathlib import Path

from einthoven.infer.evaluate import evaluate
from einthoven.ingest.run import ingest
from einthoven.plot.training import read_metrics
from einthoven.recipes import recipe
from einthoven.recipes.evaluation import evaluation
from einthoven.recipes.run import finetune, pretrain, resume
from einthoven.simulate.corpus import write_corpus

folder = Path(tempfile.mkdtemp(prefix="einthoven-"))
write_corpus(folder / "corpus", records=80, patients=40, seed=1)
print(ingest("physionet2021", folder / "corpus", folder / "store", workers=1))

# %% A recipe is a frozen, typed value. Texts as on the command line change it; a misspelt key is refused, with the nearest valid one.
pretraining = recipe(
    "w2v_cmsc_rlm",
    [
        f"data={folder / 'store'}",
        f"run={folder / 'pretrain'}",
        "encoder=tiny",
        "steps=24",
        "batch=8",
        "optim.lr=1e-3",
        "log_every=6",
        "device=cpu",
    ],
)
print(pretraining.objective.name, pretraining.encoder.name, [step.name for step in pretraining.augment])

# %% One loop trains everything. The run's folder has recipe.json, metrics.jsonl, checkpoints/, and at the end model/.
run = pretrain(pretraining)
curves = read_metrics(run)
for step, loss, accuracy in zip(curves["loss"].step, curves["loss"].value, curves["accuracy"].value, strict=True):
    print(f"step {step:3.0f}  loss {loss:.2f}  masked frames told from 100 others: {accuracy:.1%}")

# %% A run that was stopped, by Ctrl-C or a power cut, goes on to the same weights, bit for bit. This one is finished, and says so.
resume(run)

# %% Fine-tuning begins from it. The head is new; the convolutions stay as they are unless the recipe says otherwise. Labels come from
# the store; a class that the training rows cannot teach is left out, and that is said.
tuned = finetune(
    recipe(
        "diagnosis",
        [
            f"data={folder / 'store'}",
            f"init={run}",
            f"run={folder / 'diagnosis'}",
            "steps=15",
            "batch=16",
            "optim.lr=1e-3",
            "min_positives=4",
            "device=cpu",
        ],
    )
)

# %% On the test rows: scores per recording with bootstrap intervals over patients, and a report with figures.
result = evaluate(tuned, evaluation([f"data={folder / 'store'}", "split=test", "bootstrap=200", "device=cpu"]))
auroc = result.evaluation.summary["macro_auroc"]
print(f"macro AUROC {auroc['value']:.2f} [{auroc['low']:.2f}, {auroc['high']:.2f}] on {len(result.rows)} recordings")
print(f"report {result.folder / 'report.html'}")
