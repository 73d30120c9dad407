"""Does pretraining learn? On the synthetic heart, with labels hidden until the end.

Two witnesses. (1) The accuracy of the masked prediction on patients that were never trained on, beside chance: 1 of 101. (2) A
linear probe on the frozen encoder, beside the same probe on the same encoder with random weights: mean AUROC over classes on
the test patients, with bootstrap intervals over patients, which must not overlap, and the paired difference.

    python benchmarks/learning.py [--records 4000] [--steps 2000] [--folder FOLDER]

Tables of past runs are in LOG.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from einthoven.infer.evaluate import label_class
from einthoven.infer.model import Model
from einthoven.ingest.run import ingest
from einthoven.metrics.bootstrap import paired_difference
from einthoven.metrics.evaluation import evaluate
from einthoven.metrics.multilabel import Multilabel
from einthoven.models.folder import build
from einthoven.recipes import recipe
from einthoven.recipes.run import class_entry, pretrain
from einthoven.simulate.corpus import write_corpus
from einthoven.sources.vocabulary import CLASSES
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.tasks.linear_probe import linear_probe
from einthoven.train.data import in_order


def vectors(model: Model, store: Store, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(record, dim) mean of a recording's windows, (record, class) labels, (record,) rows."""
    classes = [label_class(class_entry(it)) for it in CLASSES["cinc2021"]]
    view = Segments(store, rows, model.contract.seconds, leads=model.contract.leads, scaling=model.contract.scaling, classes=classes)
    found, records, labels = [], [], []
    with torch.inference_mode():
        for batch in in_order(view, 64):
            found.append(model.encoder(batch["ecg"]).mean(dim=1).numpy())
            records.append(batch["record"].numpy())
            labels.append(batch["label"].numpy())
    vector, record, label = np.concatenate(found), np.concatenate(records), np.concatenate(labels)
    which, first = np.unique(record, return_index=True)
    return np.stack([vector[record == row].mean(axis=0) for row in which]), label[first], which


def probe(model: Model, store: Store, min_positives: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Probabilities and labels of the test records, their patients, and the classes that were counted."""
    parts = {name: vectors(model, store, np.flatnonzero(store.column("split") == name)) for name in ("train", "valid", "test")}
    usable = np.array(
        [all((part[1][:, k] == 1).sum() >= min_positives for part in parts.values()) for k in range(len(CLASSES["cinc2021"]))]
    )
    usable &= np.array([((parts["train"][1][:, k] == 0).sum() > 0) for k in range(len(usable))])
    train, valid, test = ((part[0], part[1][:, usable]) for part in parts.values())
    names = [it.abbreviation for it, kept in zip(CLASSES["cinc2021"], usable) if kept]
    return linear_probe(train, valid, test[0]), test[1], store.patient_number[parts["test"][2]], names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recipe", default="w2v_cmsc_rlm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where to keep corpus, store and run; by default a temporary folder")
    parser.add_argument("--override", action="append", default=[], help="key=value for the recipe")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        write_corpus(folder / "corpus", records=chosen.records, patients=chosen.records // 2, seed=chosen.seed, workers=chosen.workers)
        ingest("physionet2021", folder / "corpus", folder / "store", workers=chosen.workers)
        begun = time.monotonic()
        overrides = [f"data={folder / 'store'}", f"run={folder / 'run'}", "encoder=tiny", f"steps={chosen.steps}", f"batch={chosen.batch}", f"optim.lr={chosen.lr}",
                     f"seed={chosen.seed}", "precision=fp32", *chosen.override]  # fmt: skip
        pretrain(recipe(chosen.recipe, overrides))
        seconds = time.monotonic() - begun
        lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        valid = [line["accuracy"] for line in lines if line["kind"] == "valid" and "accuracy" in line]
        store = Store(folder / "store")
        trained = Model.from_pretrained(folder / "run")
        torch.manual_seed(chosen.seed)
        random = Model(build(trained.config), trained.config, "random")

        print(f"\n{chosen.records} records, {chosen.steps} updates of {chosen.batch} pairs, encoder=tiny, {seconds:.0f} s")
        if valid:
            print(f"masked prediction, valid patients: accuracy {valid[0]:.3f} at first, {valid[-1]:.3f} at last (chance 0.0099)")
        answers = {}
        for name, model in (("pretrained", trained), ("random weights", random)):
            answer, label, patient, names = probe(model, store, min_positives=5)
            found = evaluate(answer, label, names, patient=patient, bootstrap=1000).summary["macro_auroc"]
            answers[name] = answer
            print(
                f"linear probe, {name:15} mean AUROC of {found['n_classes']} classes {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
            )
        one, other = (Multilabel(answers[name], label) for name in ("pretrained", "random weights"))
        found = paired_difference(one, other, len(label), patient=patient)["macro_auroc"]
        print(f"paired difference of mean AUROC {found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}], p {found['p']:.3g}")


if __name__ == "__main__":
    main()
