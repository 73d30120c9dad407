"""From answers to a table: against plain loops over draws, and what must not be compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from einthoven.bench.grid import RANDOM, SCRATCH, Grid
from einthoven.bench.plan import Line
from einthoven.bench.result import table_of
from einthoven.errors import EinthovenError
from einthoven.metrics.bootstrap import draw_weights
from einthoven.report.bench import as_csv, as_html, as_markdown

N, CLASSES = 60, ["a", "b", "rare"]
GRID = Grid.model_validate(
    {"name": "t", "methods": ["w2v", "cmsc"], "seeds": [1, 2], "min_positives": 5, "bootstrap": 100, "pretraining": {"steps": 3}}
)


@pytest.fixture
def truth() -> tuple[np.ndarray, np.ndarray]:
    """Labels, one of them with two positives, and persons with two recordings each."""
    generator = np.random.default_rng(0)
    label = (generator.random((N, 3)) < 0.4).astype(np.float32)
    label[:, 2] = np.arange(N) < 2
    return label, np.arange(N) // 2


class Cells(dict):
    """Cells on disk, and the line of each."""

    def __init__(self, folder: Path, label: np.ndarray):
        self.folder, self.label = folder, label

    def add(self, title: str, seed: int, good: float, protocol: str = "probe", share: float = 1.0, **changes) -> np.ndarray:
        """Answers that know as much of the labels as ``good`` says."""
        generator = np.random.default_rng([seed, round(100 * good)])
        answer = (good * self.label + generator.random(self.label.shape)) / 2
        line = Line(title, "tiny", seed, None if title in (RANDOM, SCRATCH) else GRID.methods[0], label="tiny")
        path = self.folder / f"{title}-{seed}-{protocol}-{share}.json"
        about = {"method": title, "encoder": "tiny", "seed": seed, "protocol": protocol, "label_share": share, "classes": CLASSES}
        path.write_text(json.dumps(about | {"left_out": ["never (0 positive, 9 negative)"]} | changes))
        np.savez(path.with_suffix(".npz"), probability=answer, label=self.label, rows=np.arange(N))
        self[path] = line
        return answer


def macro(answer: np.ndarray, label: np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean([roc_auc_score(label[rows, column], answer[rows, column]) for column in (0, 1)]))


def test_scores_intervals_and_paired_differences_are_those_of_a_plain_loop_over_drawn_persons(tmp_path: Path, truth):
    label, person = truth
    cells = Cells(tmp_path, label)
    answers = {title: [cells.add(title, seed, good) for seed in (1, 2)] for title, good in ((RANDOM, 0.1), ("w2v", 0.5), ("cmsc", 0.9))}
    (section,) = table_of(GRID, cells, person, {}).sections

    everything = np.arange(N)
    draws: dict[str, list[float]] = {title: [] for title in answers}
    for chunk in draw_weights(N, patient=person, draws=100):
        for weight in chunk:
            rows = np.repeat(everything, weight)
            for title, seeds in answers.items():
                draws[title].append(np.mean([macro(answer, label, rows) for answer in seeds]))
    drawn = {title: np.array(values) for title, values in draws.items()}
    assert [row.method for row in section.rows] == ["cmsc", "w2v", RANDOM]
    for row in section.rows:
        seeds = [macro(answer, label, everything) for answer in answers[row.method]]
        assert row.auroc == pytest.approx(np.mean(seeds)) and row.seed_sd == pytest.approx(np.std(seeds, ddof=1)) and row.seeds == 2
        assert (row.low, row.high) == pytest.approx(np.quantile(drawn[row.method], [0.025, 0.975]))
        if row.method != "cmsc":
            difference = drawn[row.method] - drawn["cmsc"]
            assert row.behind == pytest.approx(row.auroc - section.rows[0].auroc)
            assert (row.behind_low, row.behind_high) == pytest.approx(np.quantile(difference, [0.025, 0.975]))
            assert row.p == pytest.approx(min(1.0, 2 * (min((difference >= 0).sum(), (difference <= 0).sum()) + 1) / 101))
        if row.method != RANDOM:
            over = drawn[row.method] - drawn[RANDOM]
            assert (row.over_random_low, row.over_random_high) == pytest.approx(np.quantile(over, [0.025, 0.975]))
            assert row.above_random == (np.quantile(over, 0.025) > 0)
    assert (section.rows[0].behind, section.rows[-1].over_random) == (None, None)


def test_a_class_with_too_few_test_positives_is_left_out_and_that_is_said(tmp_path: Path, truth):
    label, person = truth
    cells = Cells(tmp_path, label)
    answer = cells.add("w2v", 1, 0.5)
    table = table_of(GRID, cells, person, {})
    assert table.sections[0].classes == ("a", "b")
    assert table.sections[0].left_out == ("rare (2 positive in test)", "never (0 positive, 9 negative) in training")
    assert table.sections[0].rows[0].auroc == pytest.approx(macro(answer, label, np.arange(N)))
    assert "rare (2 positive in test)" in as_markdown(table)
    with pytest.raises(EinthovenError, match="no class has 50 positive test recordings"):
        table_of(GRID.model_copy(update={"min_positives": 50}), cells, person, {})


def test_the_baselines_stand_in_every_section_and_say_how_they_were_judged(tmp_path: Path, truth):
    label, person = truth
    cells = Cells(tmp_path, label)
    grid = GRID.model_copy(update={"protocols": ("linear", "full"), "seeds": (1,)})
    cells.add(RANDOM, 1, 0.1, "linear")
    cells.add(SCRATCH, 1, 0.3, "full")
    for protocol in grid.protocols:
        cells.add("w2v", 1, 0.6, protocol)
    sections = table_of(grid, cells, person, {}).sections
    assert [section.protocol for section in sections] == ["linear", "full"]
    assert [{(row.method, row.judged) for row in section.rows} for section in sections] == [
        {("w2v", None), (RANDOM, None), (SCRATCH, "full")},
        {("w2v", None), (RANDOM, "linear"), (SCRATCH, None)},
    ]
    assert all(row.over_random is not None for section in sections for row in section.rows if row.method != RANDOM)
    assert "from scratch (full)" in as_markdown(table_of(grid, cells, person, {}))


def test_lines_that_answered_other_recordings_or_classes_are_not_compared(tmp_path: Path, truth):
    label, person = truth
    cells = Cells(tmp_path, label)
    cells.add("w2v", 1, 0.5)
    cells.add("cmsc", 1, 0.5, classes=["a", "b", "c"])
    with pytest.raises(EinthovenError, match=r"cmsc-1-probe-1\.0\.json answers other recordings or classes"):
        table_of(GRID, cells, person, {})


def test_where_nothing_could_be_run_the_reason_is_told(tmp_path: Path, truth):
    label, person = truth
    cells = Cells(tmp_path, label)
    cells.add("w2v", 1, 0.5, reason="no such thing")
    with pytest.raises(EinthovenError, match="nothing to compare: w2v on tiny, probe: no such thing"):
        table_of(GRID, cells, person, {})


def test_every_form_of_the_table_has_the_same_rows(tmp_path: Path, truth):
    label, person = truth
    cells = Cells(tmp_path, label)
    grid = GRID.model_copy(update={"protocols": ("probe", "full"), "label_shares": (0.5, 1.0)})
    for protocol in grid.protocols:
        for share in grid.label_shares:
            for title, good in ((RANDOM, 0.1), ("w2v", 0.5)):
                if (title, protocol) != (RANDOM, "full"):
                    cells.add(title, 1, good, protocol, share)
    table = table_of(grid, cells, person, {"store": "a | b"})
    told = [(section.protocol, section.label_share, row) for section in table.sections for row in section.rows]
    assert len(told) == 8
    read = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [(it["protocol"], float(it["label_share"]), it["method"]) for it in read] == [(a, b, row.method) for a, b, row in told]
    assert [float(it["auroc"]) for it in read] == pytest.approx([row.auroc for *_, row in told], rel=1e-5)
    lines = [line for line in as_markdown(table).splitlines() if line.startswith("| ") and "---" not in line and "method" not in line]
    assert len(lines) == 8 and all(line.count("|") == lines[0].count("|") for line in lines)
    page = as_html(table)
    for (*_, row), line in zip(told, lines, strict=True):
        assert f"{row.auroc:.3f} [{row.low:.3f}, {row.high:.3f}]" in line and f"{row.auroc:.3f} [{row.low:.3f}, {row.high:.3f}]" in page
    saved = json.loads(table.to_json())
    assert [row["auroc"] for section in saved["sections"] for row in section["rows"]] == [row.auroc for *_, row in told]
    assert page.count("<figure") == 4 and "50% of the labels" in page.replace("&nbsp;", "")
