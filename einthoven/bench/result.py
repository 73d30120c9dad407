"""From the answers of all lines to one table: scores on the same test recordings, intervals, and differences to the best."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.bench.grid import RANDOM, Grid
from einthoven.bench.plan import Line
from einthoven.errors import EinthovenError
from einthoven.metrics.bootstrap import bootstrap, interval, two_sided
from einthoven.metrics.multilabel import Multilabel, mean_over_classes
from einthoven.metrics.permutation import holm

SCORES = ("macro_auroc", "macro_auprc")


@dataclass(frozen=True)
class Row:
    """A line of the table: a method on an encoder, over all seeds.

    judged              : the protocol, where it is another than the section's: that of the random encoder or of training from scratch
    auroc, low, high    : mean over seeds of the mean AUROC over classes, and its bootstrap interval over persons
    seed_sd             : SD over seeds, None where there is one
    auprc               : mean over seeds of the mean AUPRC over classes
    behind, behind_low, behind_high, p : difference to the best line of the section, paired; None for the best itself
    p_holm              : p corrected over the section (Holm)
    above_random        : whether the paired interval of the difference to the random encoder lies above 0; None without such a line
    """

    method: str
    encoder: str
    auroc: float
    low: float
    high: float
    auprc: float
    seeds: int
    judged: str | None = None
    seed_sd: float | None = None
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    over_random: float | None = None
    over_random_low: float | None = None
    over_random_high: float | None = None
    above_random: bool | None = None
    seconds: float = 0.0
    lr: float | None = None
    pretraining_lr: float | None = None


@dataclass(frozen=True)
class Section:
    """The lines that were judged on the same recordings and classes: one protocol, one share of labels; best first. The random encoder and
    training from scratch stand among them, whatever the protocol.

    classes, left_out : names of the classes that count, and one line about each that does not
    """

    protocol: str
    label_share: float
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    n_records: int
    n_persons: int


@dataclass(frozen=True)
class Table:
    """A whole comparison.

    not_run : lines that could not be run, with the reason
    about   : store, budgets, seeds, versions
    """

    name: str
    sections: tuple[Section, ...]
    not_run: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def table_of(grid: Grid, cells: Mapping[Path, Line], person: np.ndarray, about: dict[str, Any]) -> Table:
    """Judge the answers of a grid's cells.

    cells  : a JSON file each, with its answers in the .npz of the same name, and the line that it is of
    person : (row of the store,) number of each recording's person
    Raises EinthovenError where nothing was answered, or where two lines answered different recordings.
    """
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        | {"path": path, "encoder": line.label or line.encoder, "baseline": line.method is None}
        for path, line in cells.items()
    ]
    reasons = [f"{one['method']} on {one['encoder']}, {one['protocol']}: {one['reason']}" for one in found if "reason" in one]
    done = [one for one in found if "reason" not in one]
    if not done:
        raise EinthovenError(f"nothing to compare: {reasons[0] if reasons else 'no line has been run'}")
    sections = [
        _section(grid, protocol, share, part, person)
        for protocol in grid.protocols
        for share in grid.label_shares
        if (part := _judged_alike(done, protocol, share))
    ]
    return Table(grid.name, tuple(sections), tuple(dict.fromkeys(reasons)), about)


def _judged_alike(done: list[dict[str, Any]], protocol: str, share: float) -> list[dict[str, Any]]:
    """The cells of a section: those of its protocol and share of labels, and the baselines as they are judged where they are not by it."""
    part = [one for one in done if (one["protocol"], one["label_share"]) == (protocol, share)]
    there = {(one["method"], one["encoder"]) for one in part}
    others: dict[tuple[str, str], str] = {}
    for one in done:
        key = (one["method"], one["encoder"])
        if (
            one["baseline"]
            and key not in there
            and one["label_share"] == share
            and others.setdefault(key, one["protocol"]) == one["protocol"]
        ):
            part.append(one | {"judged": one["protocol"]})
    return part


def _section(grid: Grid, protocol: str, share: float, part: list[dict[str, Any]], person: np.ndarray) -> Section:
    answers = [_read(one["path"].with_suffix(".npz")) for one in part]
    rows, label, names = answers[0]["rows"], answers[0]["label"], part[0]["classes"]
    for one, answer in zip(part, answers, strict=True):
        if one["classes"] != names or not np.array_equal(answer["rows"], rows):
            raise EinthovenError(
                f"{one['path'].name} answers other recordings or classes than the rest: it is of another grid; give the comparison a folder of its own"
            )
    n_positive, n_negative = (label == 1).sum(axis=0), (label == 0).sum(axis=0)
    counted = (n_positive >= grid.min_positives) & (n_negative >= 1)
    if not counted.any():
        raise EinthovenError(
            f"no class has {grid.min_positives} positive test recordings (most: {int(n_positive.max(initial=0))}): set min_positives=, or use more data"
        )
    left = [f"{name} ({n} positive in test)" for name, n, yes in zip(names, n_positive.tolist(), counted, strict=True) if not yes]
    left += [f"{said} in training" for said in part[0].get("left_out", ())]
    rows_of_table = _rows(grid, part, [answer["probability"][:, counted] for answer in answers], label[:, counted], person[rows])
    return Section(
        protocol,
        share,
        tuple(sorted(rows_of_table, key=lambda row: -row.auroc)),
        tuple(name for name, yes in zip(names, counted, strict=True) if yes),
        tuple(left),
        len(rows),
        len(np.unique(person[rows])),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


class _MeanOfSeeds:
    """The scores of a line: over its seeds, the mean of each."""

    def __init__(self, answers: list[np.ndarray], label: np.ndarray):
        self.seeds = [Multilabel(answer, label) for answer in answers]

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        each = [seed(weight) for seed in self.seeds]
        return {name: np.mean([one[name] for one in each], axis=0) for name in SCORES}


def _rows(grid: Grid, part: list[dict[str, Any]], answers: list[np.ndarray], label: np.ndarray, person: np.ndarray) -> list[Row]:
    """The rows of one section, each over its seeds, with what they are to the best and to the random encoder on the same draws."""
    keys = list(dict.fromkeys((one["method"], one["encoder"]) for one in part))
    member = {key: [at for at, one in enumerate(part) if (one["method"], one["encoder"]) == key] for key in keys}
    ones = np.ones((1, len(label)), dtype=np.int32)
    statistic = {key: _MeanOfSeeds([answers[at] for at in places], label) for key, places in member.items()}
    point = {key: {name: float(value[0]) for name, value in one(ones).items()} for key, one in statistic.items()}
    drawn = bootstrap(
        lambda weight: {f"{number}/{name}": value for number, key in enumerate(keys) for name, value in statistic[key](weight).items()},
        len(label), patient=person, draws=grid.bootstrap,
    )  # fmt: skip
    auroc = {key: drawn[f"{number}/macro_auroc"] for number, key in enumerate(keys)}
    best = max(keys, key=lambda key: point[key]["macro_auroc"])
    rows = []
    for key in keys:
        low, high = interval(auroc[key])
        facts = [part[at] for at in member[key]]
        per_seed = [float(mean_over_classes(Multilabel(answers[at], label)(ones)["auroc"][0])) for at in member[key]]
        row: dict[str, Any] = {
            "auroc": point[key]["macro_auroc"], "low": float(low), "high": float(high), "auprc": point[key]["macro_auprc"],
            "seeds": len(per_seed), "judged": facts[0].get("judged"), "seed_sd": float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else None,
            "seconds": sum(one.get("pretraining_seconds", 0.0) + one.get("seconds", 0.0) for one in facts),
            "lr": facts[0].get("lr"), "pretraining_lr": facts[0].get("pretraining_lr"),
        }  # fmt: skip
        if key != best:
            row |= dict(zip(("behind", "behind_low", "behind_high", "p"), _difference(point, auroc, key, best), strict=True))
        untrained = (RANDOM, key[1])
        if untrained in point and key != untrained:
            over, over_low, over_high, _ = _difference(point, auroc, key, untrained)
            row |= {"over_random": over, "over_random_low": over_low, "over_random_high": over_high, "above_random": over_low > 0}
        rows.append(Row(method=key[0], encoder=key[1], **row))
    corrected = iter(holm([row.p for row in rows if row.p is not None]))
    return [row if row.p is None else replace(row, p_holm=float(next(corrected))) for row in rows]


def _difference(point: dict, auroc: dict, key: tuple[str, str], other: tuple[str, str]) -> tuple[float, float, float, float]:
    """key - other in mean AUROC: value, interval, and p."""
    draws = auroc[key] - auroc[other]
    low, high = interval(draws)
    return point[key]["macro_auroc"] - point[other]["macro_auroc"], float(low), float(high), float(two_sided(draws))
