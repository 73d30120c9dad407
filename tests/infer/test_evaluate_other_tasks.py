"""Evaluation of identification and regression, and of diagnosis made harder on purpose, as the command does it."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import World, einthoven, one_line, world

from einthoven.infer.evaluate import answers
from einthoven.infer.model import Model
from einthoven.infer.noise import noise_of_level
from einthoven.metrics.identification import match
from einthoven.recipes.identify import embedded
from einthoven.store.gallery import gallery_and_probe
from einthoven.store.read import Store

__all__ = ["world"]

LITTLE = "data=store steps=3 batch=8 device=cpu encoder=vit_tiny encoder.depth=1 encoder.dim=16 encoder.heads=2 optim.lr=1e-3"


@pytest.fixture(scope="module")
def place(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's store, a run of identification and one of regression, both evaluated on everybody."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("store", "pretrained", "diagnosis"):
        (folder / name).symlink_to(world.folder / name)
    for words in (
        f"finetune identification {LITTLE} run=who",
        f"finetune age {LITTLE} run=years",
        "evaluate who data=store split=all bootstrap=50 run=who/e",
        "evaluate years data=store split=all bootstrap=50 run=years/e",
    ):
        outcome = einthoven(words, folder)
        assert outcome.code == 0, (words, outcome.err)
        if words.startswith("evaluate"):
            (folder / f"{words.split()[1]}.txt").write_text(outcome.out)
    return folder


def scores(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "evaluation.json").read_text())["scores"]


def picture(folder: Path) -> str:
    """The SVG of a report."""
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", (folder / "report.html").read_text())
    assert len(found) == 1
    return base64.b64decode(found[0]).decode()


def test_identification_is_scored_as_its_metrics_say_of_the_vectors_of_whole_recordings(place: Path):
    store, model = Store(place / "store"), Model.from_pretrained(place / "who", "cpu")
    roles = gallery_and_probe(store, np.arange(len(store)))
    vectors = [embedded(model.module, store, rows, model.contract) for rows in (roles.gallery, roles.probe)]
    expected = match(vectors[0], roles.gallery_person, vectors[1], roles.probe_person)
    found = scores(place / "who" / "e")
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, nan_ok=True), name
    assert all(one["low"] <= one["value"] <= one["high"] for name, one in found.items() if name in ("rank_1", "rank_5", "auroc", "eer"))
    about = json.loads((place / "who" / "e" / "evaluation.json").read_text())["about"]
    assert about["chance of rank 1"] == f"{1 / len(np.unique(roles.gallery_person)):.4f}"


def test_matches_name_the_person_that_was_found_first(place: Path):
    with (place / "who" / "e" / "matches.csv").open() as file:
        lines = list(csv.DictReader(file))
    right = np.mean([line["person"] == line["found first"] for line in lines])
    assert right == pytest.approx(scores(place / "who" / "e")["rank_1"]["value"])
    assert "Identification" in picture(place / "who" / "e") or "<path" in picture(place / "who" / "e")
    assert "rank 1" in (place / "who.txt").read_text()


def test_regression_is_scored_in_years_over_the_recordings_whose_age_is_known(place: Path):
    with (place / "years" / "e" / "predictions.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["age measured"] != "nan"]
    store = Store(place / "store")
    age = dict(zip(store.column("record"), store.column("age")))
    measured = np.array([float(line["age measured"]) for line in lines])
    predicted = np.array([float(line["age predicted"]) for line in lines])
    np.testing.assert_allclose(measured, [age[line["record"]] for line in lines], rtol=1e-4)
    found = scores(place / "years" / "e")
    assert found["mae age"]["value"] == pytest.approx(np.abs(predicted - measured).mean(), rel=1e-4)
    assert found["rmse age"]["value"] == pytest.approx(np.sqrt(((predicted - measured) ** 2).mean()), rel=1e-4)
    assert found["mae age"]["low"] <= found["mae age"]["value"] <= found["mae age"]["high"]
    assert abs(predicted.mean() - measured.mean()) < 3 * measured.std()  # years, not standard deviations
    assert "years" in json.loads((place / "years" / "e" / "evaluation.json").read_text())["about"]["targets"]
    assert picture(place / "years" / "e").count('<g id="axes') == 2


def test_a_bare_encoder_and_a_diagnosis_can_be_asked_who_it_is(place: Path):
    for model, width in (("pretrained", 64), ("diagnosis", 64)):
        outcome = einthoven(f"evaluate {model} data=store split=all task=identification bootstrap=0 run={model}-e", place)
        assert outcome.code == 0, outcome.err
        store, loaded = Store(place / "store"), Model.from_pretrained(place / model, "cpu")
        roles = gallery_and_probe(store, np.arange(len(store)))

        class Vectors:
            def __init__(self, loaded=loaded):
                self.predict, self.parameters = loaded.vectors, loaded.module.parameters

        gallery, probe = (embedded(Vectors(), store, rows, loaded.contract) for rows in (roles.gallery, roles.probe))  # type: ignore[arg-type]
        assert gallery.shape[1] == width  # the encoder's vector, not the probabilities of findings
        expected = match(gallery, roles.gallery_person, probe, roles.probe_person)
        assert scores(place / f"{model}-e")["auroc"]["value"] == pytest.approx(expected["auroc"])


def test_single_recordings_can_be_enrolled_or_found_again_by_their_second_window(place: Path):
    one = 'where=record in ["S00001", "S00002", "S00005"]'  # of three persons
    outcome = einthoven(["evaluate", "who", "data=store", "split=all", "singles=two_windows", "bootstrap=0", one, "run=c"], place)
    assert outcome.code == 0, outcome.err
    about = json.loads((place / "c" / "evaluation.json").read_text())["about"]
    with (place / "c" / "matches.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 and "within one recording" in about["asked"]


def test_noise_moves_the_answers_the_more_the_higher_its_level_and_the_same_seed_moves_them_alike(place: Path):
    store, model = Store(place / "store"), Model.from_pretrained(place / "diagnosis", "cpu")

    def made(level: int, seed: int = 1) -> np.ndarray:
        return answers(model, store, np.arange(len(store)), change=noise_of_level(level, model, seed) if level else None)[0]

    moved = [np.abs(made(level) - made(0)).mean() for level in (1, 3, 6)]
    assert 0 < moved[0] < moved[1] < moved[2]
    np.testing.assert_array_equal(made(6), made(6))
    assert np.abs(made(6, seed=2) - made(6)).max() > 0


def test_the_command_makes_it_harder_as_it_is_asked_to_and_says_so(place: Path):
    outcome = einthoven("evaluate diagnosis data=store split=all bootstrap=0 noise=6 seed=3 shown=[I,II]", place)
    assert outcome.code == 0, outcome.err
    folder = place / "diagnosis" / "evaluation" / "store-all-noise6-III"
    assert "level 6 of 6" in (folder / "report.html").read_text() and "leads shown" in (folder / "report.html").read_text()
    with (folder / "predictions.csv").open() as file:
        lines = [line for line in csv.DictReader(file)]
    store, model = Store(place / "store"), Model.from_pretrained(place / "diagnosis", "cpu")
    noise = noise_of_level(6, model, 3)

    def harder(batch: dict, number: int) -> dict:
        """The other leads are hidden by hand, as not recorded; then the noise."""
        hidden = torch.tensor([name not in ("I", "II") for name in model.contract.leads])
        ecg, present = batch["ecg"].clone(), batch["lead_present"].clone()
        ecg[:, hidden], present[:, hidden] = 0, False
        return noise({**batch, "ecg": ecg, "lead_present": present}, number)

    expected, _, _ = answers(model, store, np.arange(len(store)), change=harder)
    found = [[float(line[one["name"]]) for one in model.classes] for line in lines]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("evaluate diagnosis data=store noise=7", "noise: input should be less than or equal to 6, got 7"),
        ("evaluate diagnosis data=store shown=[X]", "shown: unknown lead X"),
        ("evaluate diagnosis data=store singles=distractors", "singles=distractors is of identification"),
        ("evaluate who data=store noise=2", "noise and unlabelled are of diagnosis"),
        ("evaluate years data=store unlabelled=leave_out", "noise and unlabelled are of diagnosis"),
        ("evaluate who data=store split=valid where=age>300", "no recordings in split=valid where age>300"),
        ("evaluate years data=store task=diagnosis", "task: "),
        ("predict who corpus", "who"),
    ],
)  # fmt: skip
def test_what_a_task_does_not_have_is_refused(place: Path, words: str, part: str):
    one_line(einthoven(words, place), part)
