"""``einthoven demo``: the whole path on the synthetic heart, by the same commands that a person would type.

A demo that was stopped goes on where it was when it is run again in the same folder.
"""

from __future__ import annotations

import csv
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import einthoven
from einthoven.infer.evaluate import Evaluated, evaluate
from einthoven.infer.files import predict_files
from einthoven.infer.model import Model
from einthoven.ingest.run import ingest
from einthoven.io import read
from einthoven.plot.training import read_metrics
from einthoven.recipes import recipe
from einthoven.recipes.evaluation import evaluation
from einthoven.recipes.run import finetune, pretrain, resume
from einthoven.report.demo import OURS, demo_html
from einthoven.report.prediction import Answer
from einthoven.simulate.corpus import write_corpus
from einthoven.sources.vocabulary import snomed_names
from einthoven.store.read import Store
from einthoven.whole import write_text

RECORDS, PATIENTS = 900, 450
PRETRAIN = "steps=300 batch=16 optim.lr=1e-3"
FINETUNE = "epochs=12 batch=32 optim.lr=1e-3 encoder.extractor_gradient=1 min_positives=8"


def demo(folder: Path, *, seed: int = 1, workers: int = 1, say: Callable[[str], None] = print) -> Path:
    """Simulate, ingest, pretrain, fine-tune, evaluate, predict; returns the report's path."""
    corpus, store_path, runs = folder / "corpus", folder / "store", folder / "runs"
    commands = [
        f"einthoven simulate {corpus} --records {RECORDS} --patients {PATIENTS} --seed {seed}",
        f"einthoven ingest physionet2021 {corpus} {store_path}",
        f"einthoven pretrain w2v_cmsc_rlm data={store_path} run={runs / 'pretrain'} encoder=tiny {PRETRAIN} seed={seed}",
        f"einthoven finetune diagnosis data={store_path} init={runs / 'pretrain'} run={runs / 'diagnosis'} {FINETUNE} seed={seed}",
        f"einthoven finetune diagnosis data={store_path} run={runs / 'scratch'} encoder=tiny {FINETUNE} seed={seed}",
        f"einthoven evaluate {runs / 'diagnosis'} data={store_path} split=test",
        f"einthoven evaluate {runs / 'scratch'} data={store_path} split=test",
    ]
    times: dict[str, str] = {}

    @contextmanager
    def step(name: str, command: str) -> Iterator[None]:
        say(f"\n== {name}\n$ {command}")
        begun = time.monotonic()
        yield
        times[name] = f"{time.monotonic() - begun:.0f} s"

    with step("simulate", commands[0]):
        write_corpus(corpus, records=RECORDS, patients=PATIENTS, seed=seed, workers=workers)
    with step("ingest", commands[1]):
        say(str(ingest("physionet2021", corpus, store_path, workers=workers)))
    store = Store(store_path)
    for name, command in (("pretrain", commands[2]), ("fine-tune", commands[3]), ("from scratch", commands[4])):
        with step(name, command):
            train(command)
    results: dict[str, Evaluated] = {}
    for name, command in (("evaluate", commands[5]), ("evaluate the baseline", commands[6])):
        with step(name, command):
            run, *overrides = shlex.split(command)[2:]
            judged = evaluate(run, evaluation(overrides))
            assert isinstance(judged, Evaluated)  # a diagnosis model's
            results[name] = judged
    ours, baseline = results["evaluate"], results["evaluate the baseline"]

    files = interesting(corpus, store, ours)
    commands.append(f"einthoven predict {runs / 'diagnosis'} {' '.join(str(file) for file in files)} --html {folder / 'answers.html'}")
    with step("predict", commands[-1]):
        model = Model.from_pretrained(runs / "diagnosis")
        answers = [answer_of(item, model) for item in predict_files(model, files)]

    macro = baseline.evaluation.summary["macro_auroc"]
    html = demo_html(
        simulated={"recordings": len(store), "persons": len(np.unique(store.patient_number)), "hours": f"{len(store) * 10 / 3600:.1f}"},
        examples=examples(corpus),
        pretraining=read_metrics(runs / "pretrain" / "metrics.jsonl"),
        finetuning=read_metrics(runs / "diagnosis" / "metrics.jsonl"),
        evaluation=ours.evaluation,
        baselines=[
            {
                "name": "the same network, from random weights",
                "auroc": macro["value"],
                "auroc_low": macro["low"],
                "auroc_high": macro["high"],
                "note": "the same labels and updates, no pretraining",
            }
        ],
        answers=answers,
        commands=commands,
        times=times,
        about={"einthoven": einthoven.__version__, "seed": seed},
        ours=OURS,
    )
    report = folder / "report.html"
    write_text(report, html)
    return report


def train(command: str) -> None:
    """Carry out a pretrain or finetune command; a run that is there goes on, or is left when it is finished."""
    _, what, name, *overrides = shlex.split(command)
    chosen: Any = recipe(name, overrides)
    if (chosen.run / "recipe.json").exists():
        resume(chosen.run)
    elif what == "pretrain":
        pretrain(chosen)
    else:
        finetune(chosen)


def interesting(corpus: Path, store: Store, result: Evaluated, n: int = 3) -> list[Path]:
    """Files of test recordings to ask about, by a rule that does not look at the answers: for the most frequent findings, the first
    recording that has it and was not taken yet."""
    truth = result.label == 1
    chosen: list[int] = []
    for column in np.argsort(-truth.sum(axis=0), kind="stable"):
        rows = [int(row) for row in np.flatnonzero(truth[:, column]) if int(row) not in chosen]
        if rows and len(chosen) < n:
            chosen.append(rows[0])
    paths = {path.stem: path for path in sorted(corpus.rglob("*.hea"))}
    return [paths[store.column("record")[result.rows[row]]] for row in chosen]


def answer_of(item: dict[str, Any], model: Model) -> Answer:
    """An answer beside the truth that the simulator wrote; what is true but no finding of the model's is noted."""
    record = read(item["file"])
    known = {code: one["name"] for one in model.classes for code in one["codes"]}
    truth = list(dict.fromkeys(known[code] for code in record.labels or () if code in known))
    others = [snomed_names().get(code, code) for code in record.labels or () if code not in known]
    notes = [*item.get("steps", ()), *item.get("notes", ()), *(f"also true, and not among the model's findings: {name}" for name in others)]
    return Answer(Path(item["file"]).stem, record, item.get("findings", ()), notes, item.get("reason"), truth)


def examples(corpus: Path, n: int = 4) -> list[tuple[Any, str]]:
    """Small tracings of different rhythms, with what they are."""
    with open(corpus / "truth.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = {path.stem: path for path in sorted(corpus.rglob("*.hea"))}
    seen: dict[str, str] = {}
    for row in rows:
        seen.setdefault(row["rhythm"], row["record"])
    return [(read(paths[record]), f"{record}: {rhythm}") for rhythm, record in list(seen.items())[:n]]
