"""Every report is one well-formed file that fetches nothing, runs nothing, and shows text from files as text."""

from __future__ import annotations

import json
import re
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pytest

from einthoven.errors import EinthovenError
from einthoven.leads import TWELVE
from einthoven.metrics.evaluation import evaluate
from einthoven.plot.training import read_metrics
from einthoven.record import Record
from einthoven.report.demo import demo_html
from einthoven.report.evaluation import evaluation_html
from einthoven.report.page import facts, interval, text
from einthoven.report.prediction import Answer, in_order, prediction_html
from einthoven.report.table import evaluation_table
from einthoven.report.training import training_html

EVIL = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"&\x00\x07"
MODEL = {"Model": "runs/diagnosis", "Labels": "3, SNOMED CT", "Window": None}


def tree(html):
    """Parsed as strict XML, after the checks that hold for every page."""
    root = ElementTree.fromstring(html.encode())
    assert root.tag == "html" and root.find("head/title") is not None
    forbidden = {"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for element in root.iter():
        assert element.tag not in forbidden
        for name, value in element.attrib.items():
            assert not name.startswith("on"), (element.tag, name)
            if name in ("src", "href", "srcset", "data", "action"):
                assert value.startswith(("#", "data:image/svg+xml;base64,")), value[:60]
    assert not re.search(r"@import|url\s*\(|https?://", html)
    assert "not a medical device" in html
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert {element.get("href")[1:] for element in root.iter("a")} <= set(ids)
    return root


def said(root):
    return " ".join(" ".join(piece.split()) for piece in root.find("body").itertext())


def record(**more):
    rng = np.random.default_rng(0)
    return Record(0.2 * rng.normal(size=(12, 2000)), 400, TWELVE, **more)


def finding(name, probability, threshold=0.5, code="1"):
    return {"name": name, "code": code, "probability": probability, "threshold": threshold, "positive": probability > threshold}


def judged(n_classes=3):
    rng = np.random.default_rng(1)
    label = (rng.random((80, n_classes)) < 0.4).astype(float)
    label[:, -1] = 0  # a class never seen: its AUROC is not defined
    label[0, 0] = np.nan
    probability = 1 / (1 + np.exp(-(2 * np.nan_to_num(label) + rng.normal(size=label.shape))))
    names = ["[red]atrial fibrillation", EVIL, "never seen"][-n_classes:]
    return evaluate(probability, label, names, codes=["a", "b", "c"][-n_classes:], bootstrap=50), probability, label, names


def test_one_answer_shows_record_tracing_findings_and_steps():
    answer = Answer(
        "a.hea",
        record(record="A1", patient="P7", meta={"age": 63, "sex": "female"}),
        [finding("low", 0.1), finding("high", 0.91, code="426783006"), finding("doubtful", 0.45, 0.4)],
        ["resampled 400 → 500 Hz", "lead V3 not recorded: taken as zero"],
    )
    root = tree(prediction_html([answer], model=MODEL))
    words = said(root)
    for expected in ("P7 · 63 years · female", "12 leads, 5 s at 400 Hz", "426783006", "0.910", "lead V3 not recorded", "runs/diagnosis"):
        assert expected in words
    assert "Window" not in words  # what is not known is not shown
    rows = [[" ".join(cell.itertext()) for cell in row] for row in root.iter("tr")][1:]
    assert [row[0] for row in rows] == ["high", "doubtful", "low"]
    assert [row.get("class") for row in root.iter("tr")][1:] == ["found", "found", None]
    bars = [(bar.find("i").get("style"), bar.find("b").get("style")) for bar in root.iter("span") if bar.get("class") == "bar"]
    assert bars == [("width:91.0%", "left:50.0%"), ("width:45.0%", "left:40.0%"), ("width:10.0%", "left:50.0%")]
    assert len([svg for svg in root.iter("svg")]) == 1


def test_text_from_files_and_models_stays_text_in_every_place():
    nasty = record(record=EVIL, patient=EVIL, meta={"sex": EVIL, "report": EVIL, "time": EVIL})
    answer = Answer(EVIL, nasty, [finding(EVIL, 0.9, code=EVIL)], [EVIL], truth=[EVIL])
    for html in (
        prediction_html([answer, Answer(EVIL, reason=EVIL)], model={EVIL: EVIL}, title=EVIL),
        demo_html(
            simulated={EVIL: EVIL},
            examples=[(nasty, EVIL)],
            pretraining={},
            answers=[answer],
            commands=[EVIL],
            about={EVIL: EVIL},
            title=EVIL,
        ),
    ):
        assert EVIL[:8] in said(tree(html)) and "<img src=x" not in html


def test_a_file_without_an_answer_gives_its_reason_and_the_others_their_findings():
    html = prediction_html(
        [Answer("good", record(), [finding("flutter", 0.8)]), Answer("bad.dat", reason="truncated: 40 of 80 bytes")], model=MODEL
    )
    root = tree(html)
    assert "no answer: truncated: 40 of 80 bytes" in said(root) and "1 without an answer" in said(root)
    assert [link.get("href") for link in root.iter("a")] == ["#file-1", "#file-2"]
    assert len(list(root.iter("svg"))) == 1


@pytest.mark.parametrize("leads", [("II",), ("V1", "V2")])
def test_few_leads_no_findings_and_a_record_without_samples_are_pages_too(leads):
    short = Record(np.full((len(leads), 100), np.nan), 100, leads)
    empty = Record(np.zeros((1, 0)), 100, ("II",))
    words = said(tree(prediction_html([Answer("a", short), Answer("b", empty, [finding("x", float("nan"))])], model={})))
    assert words.count("not recorded") == len(leads)
    assert "The model names no findings" in words and "no samples" in words
    tree(prediction_html([], model=MODEL))


def test_thousands_of_files_stay_a_bounded_page_and_what_is_left_out_is_said():
    one = record()
    items = [Answer(f"file {i}", one, [finding("flutter", 0.8)]) for i in range(3000)]
    html = prediction_html(items, model=MODEL, n_tracings=3, n_details=20, n_rows=1000)
    root = tree(html)
    assert len(list(root.iter("svg"))) == 3 and len(html) < 1_000_000
    words = said(root)
    assert "Tracings are drawn for the first 3 files" in words and "the first 20 of 3000 files" in words and "2000 more files" in words


def test_findings_are_ordered_positive_first_then_by_probability_then_by_name():
    rows = [finding("b", 0.3), finding("a", 0.3), finding("c", float("nan")), finding("d", 0.45, 0.4), finding("e", 0.48)]
    assert [row["name"] for row in in_order(rows)] == ["d", "e", "a", "b", "c"]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_an_evaluation_with_an_undefined_class_is_a_page(n_classes):
    evaluation, probability, label, _ = judged(n_classes)
    base = [{"name": "random encoder", "auroc": 0.5, "auroc_low": 0.4, "auroc_high": 0.6, "note": "untrained"}]
    html = evaluation_html(evaluation, probability=probability, label=label, model=MODEL, baselines=base)
    root = tree(html)
    rows = [[" ".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    assert ["never seen", "c", "0", "80", "–", "–", "–"] in rows or ["never seen", "b", "0", "80", "–", "–", "–"] in rows
    row = next(row for row in evaluation.per_class if row["n_positive"] > 0)
    assert f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]" in said(root)
    assert ["random encoder", "0.500 [0.400, 0.600]", "untrained"] in rows
    assert len(list(root.iter("img"))) == 4
    tree(evaluation_html(evaluation))


def test_the_terminal_table_fits_eighty_columns_and_takes_no_markup_from_names():
    from rich.console import Console

    evaluation, *_ = judged()
    console = Console(width=80, record=True, file=StringIO())
    console.print(evaluation_table(evaluation, title="[bold]test"))
    lines = console.export_text().splitlines()
    assert any("[red]atrial" in line for line in lines) and any("[bold]test" in line for line in lines)
    row = next(row for row in evaluation.per_class if row["name"].startswith("[red]"))
    assert any(f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]" in line for line in lines)
    assert any(line.startswith("never seen") and "0/80" in line and line.rstrip().endswith("–") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_run_folder_is_a_page_and_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(EinthovenError, match=r"metrics\.jsonl"):
        training_html(tmp_path)
    lines = [{"kind": kind, "step": step, "loss": 3 / step} for step in range(1, 40) for kind in ("train", "valid")]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (tmp_path / "recipe.json").write_text(json.dumps({"name": EVIL, "optim": {"lr": 0.001}}))
    words = said(tree(training_html(tmp_path)))
    assert "39 updates" in words and "optim.lr 0.001" in words
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(EinthovenError, match=r"recipe\.json: expected JSON"):
        training_html(tmp_path)


def test_the_demonstration_tells_the_run_in_its_order(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps({"step": step, "loss": 1.0, "accuracy": 0.1}) for step in range(5)))
    evaluation, *_ = judged()
    one = record(record="A1")
    answer = Answer("A1", one, [finding("flutter", 0.9), finding("block", 0.8), finding("pacing", 0.1)], truth=["flutter", "pacing"])
    html = demo_html(
        simulated={"records": 500},
        examples=[(one, f"example {i}") for i in range(4)],
        pretraining=read_metrics(tmp_path),
        finetuning=read_metrics(tmp_path),
        evaluation=evaluation,
        baselines=[{"name": "random encoder", "auroc": 0.5, "auroc_low": 0.4, "auroc_high": 0.6}],
        answers=[answer],
        commands=["einthoven simulate heart --records 500"],
        times={"whole run": "3 min"},
        about={"seed": 1},
    )
    words = said(tree(html))
    order = [
        "500 records",
        "example 3",
        "Learning without labels",
        "Learning to name findings",
        "What it is worth",
        "Did pretraining help?",
        "flutter, pacing",
    ]
    assert [words.index(piece) for piece in order] == sorted(words.index(piece) for piece in order)
    assert "found 1 of 2, 1 that are not there" in words
    assert html.count('<svg class="ecg"') == 5 and len(html) < 3_000_000


def test_small_pieces():
    assert text("a\x00<b>'\ud800") == "a&lt;b&gt;&#x27;"
    assert facts({"a": None, "b": ""}) == ""
    assert interval({"x": 0.5, "x_low": 0.25, "x_high": float("nan")}, "x", 2) == "0.50"
    assert interval({"x": None, "x_low": 0.2, "x_high": 0.3}, "x") == "–"


@pytest.mark.data
def test_a_real_recording_is_a_page_of_moderate_size(data_root):
    from einthoven.io import read

    file = sorted((data_root / "cinc2021" / "ptb-xl").rglob("*.hea"))[0]
    html = prediction_html([Answer(str(file.name), read(file), [finding("sinus rhythm", 0.9)])], model=MODEL)
    tree(html)
    assert len(html) < 200_000
