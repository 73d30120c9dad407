"""What a model of another task than diagnosis is worth on a store: persons found again, or numbers told from the ECG."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.infer.model import Model
from einthoven.metrics.bootstrap import bootstrap, interval
from einthoven.metrics.identification import Matching, cosine_similarity
from einthoven.metrics.regression import Agreement
from einthoven.recipes.evaluation import Evaluate
from einthoven.recipes.identify import windows_embedded
from einthoven.recipes.regress import targets_in
from einthoven.store.gallery import gallery_and_probe
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.train.answers import answers
from einthoven.whole import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores with intervals: name -> {"value", "low", "high"}; what they are of; and where they were written."""

    scores: dict[str, dict[str, float]]
    about: dict[str, str]
    folder: Path

    def to_json(self) -> str:
        return json.dumps({"about": self.about, "scores": self.scores}, indent=1, ensure_ascii=False) + "\n"


def evaluate_identification(model: Model, store: Store, rows: np.ndarray, wanted: Evaluate, folder: Path) -> Scored:
    """Rank-k accuracy, AUROC, EER, … of the persons among ``rows`` who have two recordings; intervals over persons who are asked for.

    Any model will do that gives a recording a vector: identification's own, or a bare encoder. Raises StoreError where nobody can be asked for.
    """
    options: dict[str, Any] = {"singles": wanted.singles}
    if wanted.singles == "two_windows":
        options["seconds"] = model.contract.seconds
    roles = gallery_and_probe(store, rows, **options)
    module = model.module if model.config["kind"] == "identification" else _Vectors(model)
    gallery, probe = windows_embedded(module, store, roles, model.contract, wanted.batch)  # type: ignore[arg-type]
    matching = Matching(cosine_similarity(gallery, probe), roles.gallery_person, roles.probe_person)
    scores = _with_intervals(matching, len(matching), roles.probe_person, wanted)
    n_persons = len(np.unique(roles.gallery_person))
    about = {"task": "identification", "asked": str(roles), "chance of rank 1": f"{1 / n_persons:.4f}"}
    table = [["probe", "person", "found first", "similarity"]]
    similarity = cosine_similarity(gallery, probe)
    record, person = store.column("record"), store.column("patient")
    for place, row in enumerate(roles.probe.tolist()):
        best = int(similarity[place].argmax())
        table.append([record[row], person[row], person[roles.gallery[best]], f"{similarity[place, best]:.4f}"])
    return _written(Scored(scores, about, folder), "matches.csv", table, _cmc_figure(matching))


class _Vectors:
    """A bare encoder, or a model of another task, with the face of a task: its vectors are compared as they are."""

    def __init__(self, model: Model):
        self.model = model

    def predict(self, batch: dict[str, Any]) -> Any:
        return self.model.vectors(batch)

    def parameters(self) -> Any:
        return self.model.module.parameters()


def evaluate_regression(model: Model, store: Store, rows: np.ndarray, wanted: Evaluate, folder: Path) -> Scored:
    """Error, agreement and correlation of each target over the recordings of ``rows`` in which it is known; intervals over persons."""
    names = tuple(model.config["task"]["targets"])
    units = model.config["task"]["units"]
    target = targets_in(store, names)
    contract = model.contract
    view = Segments(store, rows, contract.seconds, stride=contract.stride, extra={"target": target}, **contract.of_view())
    answer, said, which = answers(model.module.predict, view, wanted.batch, model.device, names=("target",))  # type: ignore[arg-type]
    measured = said["target"]
    agreement = Agreement(answer, measured)
    found = _with_intervals(agreement, len(which), store.patient_number[which], wanted, names)
    record = store.column("record")
    table = [["record", *(f"{name} {kind}" for name in names for kind in ("predicted", "measured"))]]
    for place, row in enumerate(which.tolist()):
        table.append([record[row], *(f"{value:.6g}" for pair in zip(answer[place], measured[place]) for value in pair)])
    known = ", ".join(
        f"{name} {f'in {unit} ' if unit else ''}known of {int((~np.isnan(column)).sum())}"
        for name, unit, column in zip(names, units, measured.T)
    )
    about = {"task": "regression", "targets": known}
    return _written(Scored(found, about, folder), "predictions.csv", table, _agreement_figure(answer, measured, names, units))


def _with_intervals(
    statistic: Any, n: int, person: np.ndarray, wanted: Evaluate, targets: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    # A count is no score: how many there are stands in ``about``.
    point = {name: value[0] for name, value in statistic(np.ones((1, n), dtype=np.int32)).items() if name != "n"}
    drawn = bootstrap(statistic, n, patient=person, draws=wanted.bootstrap, seed=wanted.seed) if wanted.bootstrap else {}
    found: dict[str, dict[str, float]] = {}
    for name, value in point.items():
        low, high = interval(drawn[name]) if drawn else (np.full_like(value, np.nan), np.full_like(value, np.nan))
        if targets:
            found |= {
                f"{name} {target}": {"value": float(value[at]), "low": float(low[at]), "high": float(high[at])}
                for at, target in enumerate(targets)
            }
        else:
            found[name] = {"value": float(value), "low": float(low), "high": float(high)}
    return found


def _written(scored: Scored, name: str, rows: list[list[str]], figure: Figure) -> Scored:
    from einthoven.report.scores import scores_html

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(scored.folder / name, text.getvalue())
    write_text(scored.folder / "evaluation.json", scored.to_json())
    write_text(scored.folder / "report.html", scores_html(scored.scores, scored.about, figure))
    return scored


def _cmc_figure(matching: Matching) -> Figure:
    from einthoven.plot.scores import match_curves

    ones = np.ones((1, len(matching)))
    false, true = matching.roc(ones)
    n_ranks = int(min(50, max(10, matching.n_impostors.max() + 1)))
    return match_curves(matching.cmc(ones, n_ranks)[0], false[0], true[0])


def _agreement_figure(predicted: np.ndarray, measured: np.ndarray, names: Sequence[str], units: Sequence[str]) -> Figure:
    from einthoven.plot.scores import bland_altman

    return bland_altman(predicted, measured, names, units)


def refuse_other_kinds(model: Model) -> None:
    """Raise EinthovenError for a bare encoder, which answers nothing but vectors."""
    if model.config["kind"] == "encoder":
        raise EinthovenError(
            f"{model.name} is an encoder without a head and names no findings; fine-tune it first: einthoven finetune diagnosis init={model.name}; "
            "or ask how well its vectors find persons again: task=identification"
        )
