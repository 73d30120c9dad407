"""What a model is worth on a store: its answers for every recording of a split, judged against the labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.infer.evaluate_numbers import Scored, evaluate_identification, evaluate_regression, refuse_other_kinds
from einthoven.infer.model import Model
from einthoven.infer.noise import noise_of_level
from einthoven.metrics.evaluation import Evaluation
from einthoven.metrics.evaluation import evaluate as judge
from einthoven.recipes.evaluation import Evaluate
from einthoven.sources.vocabulary import CLASSES, LabelClass, benchmark_rows, targets
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.store.where import select
from einthoven.train.answers import answers as by_windows
from einthoven.whole import write_text


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An evaluation with what it is of.

    evaluation        : scores with intervals
    probability, label: (record, class); label NaN where unknown
    rows              : (record,) rows of the store
    folder            : where evaluation.json, per_class.csv, predictions.csv and report.html were written
    """

    evaluation: Evaluation
    probability: np.ndarray
    label: np.ndarray
    rows: np.ndarray
    folder: Path


def evaluate(name: str | Path, wanted: Evaluate, progress: Callable[[int, int], None] | None = None) -> Evaluated | Scored:
    """Evaluate a model; write ``evaluation.json`` and ``report.html``, and for diagnosis ``per_class.csv`` and ``predictions.csv``.

    Raises EinthovenError where model and store do not go together: no head, another rate, no labels for the model's classes.
    """
    assert wanted.data is not None
    model, store = Model.from_pretrained(name, wanted.device), Store(wanted.data)
    if model.contract.fs != store.fs:
        raise EinthovenError(
            f"{name} takes signals at {model.contract.fs:g} Hz and {store.path} is at {store.fs:g} Hz: ingest the corpus with --fs {model.contract.fs:g}"
        )
    if wanted.shown is not None:
        if unseen := [lead for lead in wanted.shown if lead not in model.contract.leads]:
            raise EinthovenError(f"shown: {name} does not take {' '.join(unseen)}; its leads are {' '.join(model.contract.leads)}")
        model.contract = replace(model.contract, shown=wanted.shown)
    kind = wanted.task or model.config["kind"]
    if kind == "encoder":
        refuse_other_kinds(model)
    if kind != "diagnosis" and (wanted.noise or wanted.unlabelled):
        raise EinthovenError(f"noise and unlabelled are of diagnosis; this is an evaluation of {kind}: leave them away")
    if kind != "identification" and wanted.singles != "leave_out":
        raise EinthovenError(f"singles={wanted.singles} is of identification; this is an evaluation of {kind}: leave it away")
    rows = np.arange(len(store)) if wanted.split == "all" else np.flatnonzero(store.column("split") == wanted.split)
    if wanted.where:
        rows = rows[np.isin(rows, select(store, wanted.where))]
    if not len(rows):
        raise EinthovenError(f"{store.path} has no recordings in split={wanted.split}" + (f" where {wanted.where}" if wanted.where else ""))
    folder = wanted.run or home_of(name, store, wanted)
    if kind != "diagnosis":
        folder.mkdir(parents=True, exist_ok=True)
        judged = evaluate_identification if kind == "identification" else evaluate_regression
        return judged(model, store, rows, wanted, folder)
    noise = noise_of_level(wanted.noise, model, wanted.seed) if wanted.noise else None
    probability, label, rows = answers(model, store, rows, wanted.batch, progress, noise)
    if (wanted.unlabelled or model.config.get("provenance", {}).get("unlabelled")) == "leave_out":
        kept = benchmark_rows(label)
        probability, label, rows = probability[kept], label[kept], rows[kept]
    if not (~np.isnan(label)).any():
        systems = sorted({system for system in store.column("label_system")[rows] if system})
        raise EinthovenError(
            f"{store.path} says nothing of the model's classes in split={wanted.split}: its labels are "
            f"{', '.join(systems) or 'absent'}, the model's {', '.join(sorted({one.get('system') or '?' for one in model.classes}))}"
        )
    patient = store.patient_number[rows]
    names = [one["name"] for one in model.classes]
    codes = ["|".join(one["codes"]) for one in model.classes]
    thresholds = model.thresholds if model.calibrated else None
    known, system = store.labels(), store.column("label_system")
    challenge = np.stack([targets(known[row], system[row], CLASSES["cinc2021"]) for row in rows.tolist()])
    evaluation = judge(
        probability,
        label,
        names,
        codes=codes,
        patient=patient,
        bootstrap=wanted.bootstrap,
        seed=wanted.seed,
        thresholds=thresholds,
        challenge=challenge,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "evaluation.json", evaluation.to_json())
    write_text(folder / "per_class.csv", evaluation.to_csv())
    write_text(folder / "predictions.csv", predictions_csv(store, rows, names, probability, label))
    from einthoven.report.evaluation import evaluation_html

    about = {"model": str(name), "store": f"{store.path}, {wanted.split}: {len(rows)} recordings"}
    about |= facts_of(model) | otherwise(model, store, rows) | on_purpose(wanted)
    write_text(folder / "report.html", evaluation_html(evaluation, probability=probability, label=label, names=names, model=about))
    return Evaluated(evaluation, probability, label, rows, folder)


def answers(
    model: Model,
    store: Store,
    rows: np.ndarray,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
    change: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The model's answer for stored recordings: probability and label (record, class), and the rows (record,) in ascending order.

    change : called with each batch and its number before it is answered

    The same numbers as ``Model.predict`` on the record, up to the store's rounding to int16.
    """
    contract = model.contract
    if contract.unit != "mV":
        raise EinthovenError(f"the model takes signals in {contract.unit}, a store gives mV: ask it about files with predict")
    classes = [label_class(one) for one in model.classes]
    view = Segments(store, rows, contract.seconds, fs=contract.fs, stride=contract.stride, classes=classes, **contract.of_view())
    predict: Any = model.module.predict
    probability, said, which = by_windows(predict, view, batch, model.device, model.aggregation, change=change, progress=progress)
    return probability, said["label"], which


def label_class(entry: Mapping[str, Any]) -> LabelClass:
    """A class of a model's configuration as labels are looked up by."""
    codes = entry.get("vocabularies") or {entry.get("system") or "": entry["codes"]}
    return LabelClass(entry["name"], entry.get("abbreviation", entry["name"]), {system: tuple(found) for system, found in codes.items()})


def facts_of(model: Model) -> dict[str, Any]:
    """What there is to say of a model, for the head of a report."""
    origin = model.config.get("provenance", {})
    data = origin.get("data") or {}
    said = {
        "trained on": " ".join(str(part) for part in (data.get("name"), data.get("version")) if part),
        "recipe": origin.get("recipe"),
        "begun from": origin.get("init"),
        "leads": " ".join(model.contract.leads),
        "windows": f"{model.contract.seconds:g} s at {model.contract.fs:g} Hz",
        "assumed when it was converted": "; ".join(model.notes),
    }
    return {key: value for key, value in said.items() if value}


def otherwise(model: Model, store: Store, rows: np.ndarray) -> dict[str, str]:
    """Where the store prepared its signals in another way than the model would prepare a file: the answers then differ a little."""
    ours, theirs = model.contract.resampling, store.facts["signal"]["resampling"]
    n_resampled = int((store.column("source_fs")[rows] != store.fs).sum())
    if ours == theirs or not n_resampled:
        return {}
    return {
        "resampling": f"{n_resampled} recordings were resampled by {theirs} in the store; the model was made for {ours}, as predict does it"
    }


def on_purpose(wanted: Evaluate) -> dict[str, str]:
    """What was made harder."""
    said = {}
    if wanted.noise:
        said["noise added"] = f"level {wanted.noise} of 6: baseline wander, powerline, electrode motion, baseline shift"
    if wanted.shown is not None:
        said["leads shown"] = " ".join(wanted.shown)
    return said


def home_of(name: str | Path, store: Store, wanted: Evaluate) -> Path:
    """Where an evaluation is written: in the run, or beside the model where there is no run."""
    path = Path(name)
    split = "-".join(
        [
            wanted.split,
            *([f"noise{wanted.noise}"] if wanted.noise else []),
            *(["".join(wanted.shown)] if wanted.shown else []),
            *([wanted.task] if wanted.task else []),
            *([wanted.singles] if wanted.singles != "leave_out" else []),
        ]
    )
    if path.is_dir():
        run = path.parent if path.name == "model" else path
        return run / "evaluation" / f"{store.path.name}-{split}"
    return Path("evaluation") / f"{path.stem}-{store.path.name}-{split}"


def predictions_csv(store: Store, rows: np.ndarray, names: list[str], probability: np.ndarray, label: np.ndarray) -> str:
    """A line per recording: ids, then each class's probability and label (empty where unknown)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["record", "patient", *names, *(f"{name} (label)" for name in names)])
    record, patient = store.column("record")[rows], store.column("patient")[rows]
    for place in range(len(rows)):
        known = ["" if np.isnan(value) else int(value) for value in label[place]]
        writer.writerow([record[place], patient[place] or "", *(f"{value:.6g}" for value in probability[place]), *known])
    return text.getvalue()
