"""The ways to put an encoder to use: which weights move, what is saved, which recordings take part, and that all of it can be resumed."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import einthoven
from safetensors.torch import load_file

from einthoven.convert.open import open_weights
from einthoven.infer.evaluate import answers
from einthoven.infer.model import Model
from einthoven.recipes import recipe
from einthoven.recipes.build import build_encoder, fewer_labels, rows_of
from einthoven.recipes.diagnose import diagnosis_lesson, taking_part
from einthoven.recipes.run import finetune, pretrain
from einthoven.recipes.run import resume as resume_run
from einthoven.store.read import Store
from einthoven.store.views import Crops, Segments, ecg, targets_of
from einthoven.train.optim import parameter_groups

SMALL = ["steps=4", "batch=8", "device=cpu", "optim.lr=1e-2", "save_every=1", "keep=9", "validate_every=2", "seconds=4", "scaling=none"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 48 recordings at 100 Hz, and two pretrained encoders: one with batch norms, one with linear layers."""
    folder = tmp_path_factory.mktemp("protocols")
    for words in (
        "simulate corpus --records 48 --patients 24 --seed 5 --fs 100 -j 1",
        "ingest physionet2021 corpus store --fs 100 -j 1",
        "split store --fractions 0.6,0.2,0.2",
    ):
        assert einthoven(words, folder).code == 0
    made = {
        "convolutions": recipe("simclr", [f"data={folder / 'store'}", *SMALL, "encoder=resnet1d_wang_small"]),
        "patches": recipe("simclr", [f"data={folder / 'store'}", *SMALL, "encoder=vit_tiny", "encoder.depth=2", "encoder.dim=16", "encoder.heads=2",
                                     "encoder.patch=25"]),
    }  # fmt: skip
    for name, one in made.items():
        pretrain(one.model_copy(update={"run": folder / name, "steps": 2}), progress=False, say=lambda text: None)  # type: ignore[arg-type]
    return folder


def tune(place: Path, run: Path, init: str, *words: str, name: str = "diagnosis") -> Path:
    made = recipe(name, [f"data={place / 'store'}", *SMALL, *words])
    said: list[str] = []
    finetune(made.model_copy(update={"run": run, "init": str(place / init)}), progress=False, say=said.append)  # type: ignore[arg-type]
    return run


def encoder_of(run: Path) -> dict[str, torch.Tensor]:
    state, config = open_weights(str(run))
    return {
        name.removeprefix("encoder."): value for name, value in state.items() if config["kind"] == "encoder" or name.startswith("encoder.")
    }


def at(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


@pytest.mark.parametrize("init", ["convolutions", "patches"])
@pytest.mark.parametrize("protocol", ["linear", "attention"])
def test_a_frozen_encoder_stays_as_it_is_bit_for_bit_statistics_of_batch_norms_too(place: Path, tmp_path: Path, init: str, protocol: str):
    run = tune(place, tmp_path / "run", init, f"protocol={protocol}")
    before, after = encoder_of(place / init), encoder_of(run)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    first, last = at(run, 1), at(run, 4)
    moved = {name for name in last if not torch.equal(first[name], last[name])}
    assert moved and not any(name.startswith("encoder.") for name in moved)
    if init == "convolutions":
        assert any("running_mean" in name for name in before)


def test_the_head_learns_first_and_then_everything(place: Path, tmp_path: Path):
    run = tune(place, tmp_path / "run", "patches", "protocol=head_first", "frozen_steps=2")
    before = {f"encoder.{name}": value for name, value in encoder_of(place / "patches").items()}
    frozen, free = at(run, 2), at(run, 4)
    assert all(torch.equal(before[name], frozen[name]) for name in before) and not torch.equal(
        at(run, 1)["proj.weight"], frozen["proj.weight"]
    )
    assert all(not torch.equal(before[name], free[name]) for name in before if "pos" not in name and free[name].is_floating_point())


def test_without_saying_how_long_the_head_learns_alone_for_a_third_of_the_updates(place: Path, tmp_path: Path):
    run = tune(place, tmp_path / "run", "patches", "protocol=head_first", "steps=3")
    before = {f"encoder.{name}": value for name, value in encoder_of(place / "patches").items()}
    assert all(torch.equal(before[name], at(run, 1)[name]) for name in before)
    assert any(not torch.equal(before[name], at(run, 2)[name]) for name in before)


def test_low_rank_additions_are_saved_as_plain_weights_that_answer_the_same(place: Path, tmp_path: Path):
    run = tune(place, tmp_path / "run", "patches", "protocol=lora", "lora_rank=2", "validate_every=0")
    before, after = encoder_of(place / "patches"), encoder_of(run)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(
        before[name].ndim == 2 and torch.linalg.matrix_rank((after[name] - before[name]).double(), atol=1e-5) <= 2 for name in changed
    )
    # The module as it was trained, with its additions beside the weights, against the model that was exported.
    made = recipe("diagnosis", [f"data={place / 'store'}", *SMALL, "protocol=lora", "lora_rank=2"])
    store = Store(place / "store")
    lesson, contract = diagnosis_lesson(made.model_copy(update={"init": str(place / "patches")}), store, lambda text: None)  # type: ignore[arg-type]
    lesson.task.load_state_dict(at(run, 4))
    lesson.task.eval()
    model = Model.from_pretrained(run, "cpu")
    exported = answers(model, store, rows_of(made, store, "valid"))[0]
    model.module = lesson.task
    assert contract.seconds == 4
    np.testing.assert_allclose(answers(model, store, rows_of(made, store, "valid"))[0], exported, atol=1e-5)


@pytest.mark.parametrize("words", [["optim.layer_decay=0.5"], ["optim.discriminative=[0.1, 0.5]"]])
def test_rates_by_stage_reach_every_parameter_once(place: Path, words: list[str]):
    made = recipe("diagnosis", [f"data={place / 'store'}", *SMALL, *words]).model_copy(update={"init": str(place / "patches")})
    lesson, _ = diagnosis_lesson(made, Store(place / "store"), lambda text: None)  # type: ignore[arg-type]
    found = parameter_groups(lesson.task, made.optim)
    assert sorted(id(weight) for group in found for weight in group["params"]) == sorted(id(weight) for weight in lesson.task.parameters())


@pytest.mark.parametrize(
    "words",
    [
        ["protocol=linear"],
        ["protocol=attention", "head_dropout=0.2"],
        ["protocol=head_first", "frozen_steps=2"],
        ["protocol=lora"],
        ["crop=random", "stride=2", "aggregation=max", "schedule.name=one_cycle"],
        ["optim.layer_decay=0.5", "label_share=0.5", "shown=[I, II]", "augment=[gaussian_noise]"],
    ],
)
def test_every_protocol_is_resumed_bit_for_bit(place: Path, tmp_path: Path, words: list[str]):
    straight = tune(place, tmp_path / "straight", "patches", *words)
    stopped = shutil.copytree(straight, tmp_path / "stopped")
    shutil.rmtree(stopped / "model")
    for step in (2, 3, 4):
        shutil.rmtree(stopped / "checkpoints" / f"step-{step:08d}")
    resume_run(stopped, progress=False)
    for step in (2, 4):
        one, other = at(straight, step), at(stopped, step)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert (straight / "model" / "model.safetensors").read_bytes() == (stopped / "model" / "model.safetensors").read_bytes()


# ---------------------------------------------------------------------------------------------------------- which recordings, which leads


def test_a_smaller_share_of_labels_is_part_of_a_larger_one_by_person_and_the_same_for_every_seed(place: Path):
    store = Store(place / "store")
    rows = rows_of(recipe("diagnosis"), store, "train")
    shares = [0.1, 0.25, 0.5, 0.8, 1.0]
    sets = []
    for share in shares:
        found = {
            tuple(fewer_labels(recipe("diagnosis", [f"label_share={share}", f"seed={seed}"]), store, rows).tolist()) for seed in (1, 2, 3)
        }
        assert len(found) == 1
        kept = np.array(found.pop())
        persons, everybody = set(store.patient_number[kept].tolist()), store.patient_number[rows]
        assert set(rows[np.isin(everybody, list(persons))].tolist()) == set(kept.tolist())  # a person with all recordings, or not at all
        assert len(persons) == max(1, round(share * len(set(everybody.tolist()))))
        sets.append(set(kept.tolist()))
    assert all(small <= large for small, large in itertools.pairwise(sets)) and len(sets[0]) < len(sets[-1])


def test_leads_that_are_not_shown_are_zero_and_fewer_leads_are_another_encoder(place: Path):
    store = Store(place / "store")
    words = [f"data={place / 'store'}", *SMALL, "encoder=vit_tiny", "encoder.patch=25"]
    for change, n_leads, leads in (("shown=[I, V2]", 12, None), ("leads=[I, V2]", 2, ("I", "V2"))):
        made = recipe("diagnosis", [*words, change])
        lesson, contract = diagnosis_lesson(made, store, lambda text: None)  # type: ignore[arg-type]
        batch = lesson.view.__getitems__([0, 1])
        signal = ecg(batch)
        assert signal.shape[1] == n_leads == len(contract.leads) and build_encoder(made, contract)[0].leads == contract.leads
        if leads is None:
            seen = np.isin(contract.leads, ["I", "V2"])
            assert (signal[:, ~seen] == 0).all() and not batch["lead_present"][:, ~seen].any()
            assert (np.abs(signal[:, seen]).max(axis=2) > 0).all() and batch["lead_present"][:, seen].all()
            whole = Segments(store, lesson.view.rows, 4.0).__getitems__([0, 1])
            np.testing.assert_array_equal(signal[:, seen], ecg(whole)[:, seen])
        else:
            assert contract.leads == leads


def test_random_windows_are_trained_on_and_overlapping_ones_are_answered(place: Path, tmp_path: Path):
    made = recipe("diagnosis", [f"data={place / 'store'}", *SMALL, "crop=random", "stride=1", "aggregation=max"])
    store = Store(place / "store")
    lesson, contract = diagnosis_lesson(made.model_copy(update={"init": str(place / "patches")}), store, lambda text: None)  # type: ignore[arg-type]
    assert isinstance(lesson.view, Crops) and len(lesson.view) == len(lesson.view.rows) and contract.stride == 1
    run = tune(place, tmp_path / "run", "patches", "crop=random", "stride=1", "aggregation=max")
    model = Model.from_pretrained(run, "cpu")
    assert model.aggregation == ["max"] * len(model.classes)
    rows = rows_of(made, store, "test")
    view = Segments(store, rows, 4.0, stride=1.0, **model.contract.of_view())
    assert len(view) == 7 * len(rows)  # 4 s every second in 10 s
    found = answers(model, store, rows)[0]
    batch = {"ecg": torch.from_numpy(ecg(view.__getitems__(range(7)))), "padded": False}
    np.testing.assert_allclose(found[0], model.module.predict(batch).numpy().max(axis=0), rtol=1e-4, atol=1e-6)  # type: ignore[operator]


def test_recordings_with_none_of_the_classes_are_left_out_everywhere_alike(place: Path, tmp_path: Path):
    store = Store(place / "store")
    names = ["164889003", "164909002", "59118001", "713427006"]
    words = [f"classes=[{', '.join(names)}]", "unlabelled=leave_out", "batch=4"]
    made = recipe("diagnosis", [f"data={place / 'store'}", *SMALL, *words]).model_copy(update={"init": str(place / "patches")})
    lesson, contract = diagnosis_lesson(made, store, lambda text: None)  # type: ignore[arg-type]
    classes = lesson.view.classes
    train = rows_of(made, store, "train")
    np.testing.assert_array_equal(lesson.view.rows, train[(targets_of(store, train, classes) == 1).any(axis=1)])
    assert 0 < len(lesson.view.rows) < len(train)
    held_out = Segments(store, rows_of(made, store, "valid"), contract.seconds, classes=classes, **contract.of_view())
    assert (targets_of(store, taking_part(made, held_out), classes) == 1).any(axis=1).all()
    tune(place, tmp_path / "run", "patches", *words)
    outcome = einthoven(
        ["evaluate", str(tmp_path / "run"), f"data={place / 'store'}", "split=all", "bootstrap=0", f"run={tmp_path / 'e'}"], tmp_path
    )
    assert outcome.code == 0, outcome.err
    everybody = targets_of(store, np.arange(len(store)), classes)
    assert len((tmp_path / "e" / "predictions.csv").read_text().splitlines()) - 1 == int((everybody == 1).any(axis=1).sum())
