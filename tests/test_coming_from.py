"""docs/coming-from.md is true: every row of the main job is there, every command in it parses, and ours is run small."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import typer
from command_line import RECORDING, World, einthoven, legacy_checkpoint, own, world

import einthoven as package
from einthoven.cli import app
from einthoven.recipes import recipe
from einthoven.recipes.evaluation import evaluation

__all__ = ["own", "world"]

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
MAIN_JOB = ["F1", "F3", "F4", "F7", "T1", "T3", "T7", "E3"]
"""What people do with the old systems that belongs to the main job: preprocessing, manifests, installing; pretraining; fine-tuning."""
TINY = "encoder=tiny encoder.depth=1 steps=2 batch=4 device=cpu"


def rows() -> list[tuple[str, list[str]]]:
    """(section, cells) of every table row of the document."""
    found, section = [], ""
    for line in TEXT.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and not line.startswith(("| you ", "| ---")):
            found.append((section, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]))
    return found


def snippets(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def our_words() -> list[tuple[str, str]]:
    """(section, snippet) of what the document says that one runs here: everything in code but the first column, and the running text."""
    cells = [(section, cell) for section, parts in rows() for cell in parts[1:]]
    return [(section, snippet) for section, cell in cells for snippet in snippets(cell)]


COMMANDS = [
    (section, snippet.split("einthoven ", 1)[1])
    for section, snippet in [
        *our_words(),
        *(("Pretraining", one) for line in TEXT.splitlines() if not line.startswith("|") for one in snippets(line)),
    ]
    if re.match(r"(torchrun .* -m )?einthoven ", snippet)
]
KEYS = [
    (section, snippet.removeprefix("… "))
    for section, snippet in our_words()
    if all("=" in word for word in shlex.split(snippet.removeprefix("… "))) and not snippet.startswith(("--", "pip"))
]


def values(words: str) -> list[str]:
    """The words of a command with something in the place of what the reader fills in."""
    for placeholder, value in {"--workers N": "--workers 2", "steps=N": "steps=9", "validate_every=…": "validate_every=9", "…": ""}.items():
        words = words.replace(placeholder, value)
    return [word for word in shlex.split(words.replace("--fractions  ", "--fractions 0.8,0.1,0.1 ").rstrip()) if word]


def check_keys(section: str, overrides: list[str]) -> None:
    recipe("diagnosis" if section == "Fine-tuning and evaluation" else "w2v_cmsc_rlm", overrides)


def test_every_row_of_the_main_job_is_in_the_document():
    named = {match[1] for _, cells in rows() if (match := re.match(r"([A-Z]\d+) ", cells[0]))}
    assert set(MAIN_JOB) <= named
    assert all(len(cells) == 3 for _, cells in rows())


def test_there_is_something_to_check():
    assert len(COMMANDS) >= 12 and len(KEYS) >= 12
    assert {words.split()[0] for _, words in COMMANDS} == {"ingest", "split", "pretrain", "finetune", "evaluate", "resume"}


@pytest.mark.parametrize(("section", "words"), COMMANDS, ids=[words for _, words in COMMANDS])
def test_every_command_of_the_document_is_one_of_ours(section: str, words: str):
    if words.endswith("--fractions …"):
        words = words.replace("…", "0.8,0.1,0.1")
    name, *arguments = values(words)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, list(arguments))  # raises for an unknown option, an argument too few or of the wrong type
    given = context.params
    if name in ("pretrain", "finetune") and given["recipe"] != "MINE":
        made = recipe(given["recipe"], given["overrides"] or [])
        assert made.kind == name
    if name == "evaluate":
        evaluation(given["overrides"])


@pytest.mark.parametrize(("section", "words"), KEYS, ids=[words for _, words in KEYS])
def test_every_key_of_the_document_is_one_of_ours(section: str, words: str):
    check_keys(section, values(words))


def test_every_option_of_the_document_is_one_of_ours():
    options = {option for _, snippet in our_words() for option in re.findall(r"--[a-z-]+", snippet)} - {"--only", "--nproc-per-node"}
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    assert options <= {option for command in commands for parameter in command.params for option in parameter.opts}


# ----------------------------------------------------------------------------------------------------------------- F: the data


def test_f1_a_wfdb_tree_of_several_rates_becomes_one_store_and_a_sub_set_of_it_another(world: World, tmp_path: Path):
    root = tmp_path / "training"
    for name, fs in (("cpsc_2018", 500), ("st_petersburg_incart", 257), ("ptb", 1000)):
        assert einthoven(f"simulate made --records 2 --patients 1 --fs {fs} --seed {fs} -j 1", tmp_path).code == 0
        shutil.copytree(tmp_path / "made" / "training" / "synthetic", root / name)
        for number, path in enumerate(sorted((root / name).rglob("*.hea"))):  # names are unique in the challenge
            for file in [path, path.with_suffix(".mat"), path.with_suffix(".atr")]:
                file.rename(file.with_stem(f"{name[:2].upper()}{number}"))
            renamed = path.with_stem(f"{name[:2].upper()}{number}")
            renamed.write_text(renamed.read_text().replace(path.stem, renamed.stem))
        shutil.rmtree(tmp_path / "made")
    assert einthoven("ingest physionet2021 . STORE --workers 2", tmp_path).code == 0
    store = package.Store(tmp_path / "STORE")
    assert len(store) == 6 and store.fs == 500 and set(store.column("n_samples")) == {5000}
    assert sorted(set(store.column("source_fs"))) == [257, 500, 1000]
    assert (tmp_path / "STORE" / "rejected.csv").read_text().count("\n") == 1
    assert einthoven("ingest physionet2021 . PART --subset cpsc_2018,ptb --resampling linear", tmp_path).code == 0
    assert sorted(set(package.Store(tmp_path / "PART").column("source_fs"))) == [500, 1000]


def test_f3_a_split_is_by_patient_and_comes_from_the_seed_alone(own: Path):
    columns = []
    for seed in (5, 5, 6):
        assert einthoven(f"split store --fractions 0.6,0.2,0.2 --seed {seed}", own).code == 0
        columns.append(package.Store(own / "store").column("split"))
    patient = package.Store(own / "store").column("patient")
    assert all(len(set(columns[0][patient == one])) == 1 for one in set(patient))
    assert list(columns[0]) == list(columns[1]) != list(columns[2])


def test_f4_pretraining_reads_the_training_rows_of_the_sub_sets_that_are_named(own: Path):
    from einthoven.recipes.build import rows_of
    from einthoven.recipes.claim import open_store

    words = ["data=store", "split=train", "where=dataset in (synthetic)"]
    outcome = einthoven(["pretrain", "w2v_cmsc", *words, *TINY.split(), "run=run"], own)
    assert outcome.code == 0, outcome.err
    made = recipe("w2v_cmsc", ["data=" + str(own / "store"), *words[1:]])
    store = open_store(made)
    assert set(store.column("split")[rows_of(made, store, made.split)]) == {"train"}
    assert len(rows_of(made, store, made.split)) == (store.column("split") == "train").sum()
    assert len(rows_of(made, store, "all")) == 40
    saved = json.loads((own / "run" / "recipe.json").read_text())["recipe"]
    assert (saved["split"], saved["where"]) == ("train", "dataset in (synthetic)")


def test_f7_nothing_is_compiled_and_the_versions_are_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["build-system"]["requires"] == ["hatchling>=1.26"]
    assert not [path for path in (ROOT / "einthoven").rglob("*") if path.suffix in (".c", ".cpp", ".cu", ".pyx")]
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    needed = {re.split(r"[><=\[]", line)[0].lower() for line in project["project"]["dependencies"]}
    assert needed <= pinned


# ------------------------------------------------------------------------------------------------------------- T: the training


@pytest.mark.parametrize(
    ("name", "parts"), [("w2v", {"loss_nce"}), ("w2v_cmsc", {"loss_nce", "cmsc"}), ("w2v_cmsc_rlm", {"loss_nce", "cmsc"})]
)
def test_t1_t3_each_pretraining_runs_and_reports_its_parts(own: Path, name: str, parts: set[str]):
    outcome = einthoven(f"pretrain {name} data=store {TINY} workers=0 save_every=1 keep=2 run=run", own)
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in (own / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(parts <= set(line) for line in lines)
    assert ("cmsc" in lines[0]) == (name != "w2v")
    saved = json.loads((own / "run" / "recipe.json").read_text())["recipe"]
    assert [one["name"] for one in saved["augment"]] == (["random_lead_mask"] if name.endswith("rlm") else [])


def test_t3_the_recipes_are_the_published_ones_whatever_the_size_of_the_encoder():
    for overrides in ([], ["encoder=large"], ["encoder=base"]):
        made = recipe("w2v_cmsc_rlm", overrides)
        settings = made.settings(1_000_000)
        assert settings.batch == 64 * 4 * 2 and settings.optim.lr == 5e-5 and settings.epochs == 200
        assert settings.accumulate == 8  # micro-batches of 64 pairs


def test_t3_validation_can_be_left_away(own: Path):
    assert einthoven(f"pretrain w2v data=store {TINY} validate_every=0 run=run", own).code == 0
    lines = [json.loads(line) for line in (own / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"train"}
    assert einthoven("resume run", own).code == 0


def test_t3_a_recipe_of_ones_own_is_a_file(own: Path):
    (own / "D").mkdir()
    (own / "D" / "MINE.yaml").write_text(
        "base: w2v_cmsc_rlm\nencoder: {size: tiny, depth: 1}\nsteps: 2\nbatch: 3\ndevice: cpu\ndata: store\nrun: mine\n"
    )
    assert einthoven("pretrain MINE --config-dir D", own).code == 0
    assert json.loads((own / "mine" / "recipe.json").read_text())["recipe"]["batch"] == 3


def test_t7_e3_fine_tuning_begins_from_a_checkpoint_of_fairseq_signals_and_is_judged_as_the_challenge_did(own: Path):
    legacy_checkpoint(own / "CKPT.pt")
    words = "finetune diagnosis data=store init=CKPT.pt classes=cinc2021 optim.lr=1e-3 steps=3 batch=8 pos_weight=true frozen_steps=1 device=cpu run=run"
    outcome = einthoven(words, own)
    assert outcome.code == 0, outcome.err
    first, last = (package.Model.from_pretrained(own / name) for name in ("CKPT.pt", "run"))
    frozen, learned = ("encoder.feature_extractor.conv_layers.0.0.weight", "encoder.post_extract_proj.weight")
    before, after = first.module.state_dict(), last.module.state_dict()
    assert torch.equal(before[frozen], after[frozen])  # feature_grad_mult=0
    assert before[learned].shape == after[learned].shape and not torch.equal(before[learned], after[learned])
    assert len(last.classes) < 26  # those that 32 recordings cannot teach are left out, and that is said
    assert f"{26 - len(last.classes)} of 26 classes left out" in outcome.out

    # every metric that one used to ask for is there, and the challenge's score where all its classes are answered
    assert einthoven("evaluate run data=store split=all bootstrap=0", own).code == 0
    summary = json.loads((own / "run" / "evaluation" / "store-all" / "evaluation.json").read_text())["summary"]
    assert {"macro_auroc", "micro_auroc", "macro_auprc"} <= set(summary)
    assert einthoven("evaluate CKPT.pt data=store split=all bootstrap=0 run=whole", own).code == 0
    assert "cinc2021" in json.loads((own / "whole" / "evaluation.json").read_text())["summary"]
    assert einthoven(f"predict CKPT.pt {RECORDING}", own).code == 0


def test_t7_another_scale_of_the_signal_than_in_pretraining_is_said(own: Path):
    words = "finetune diagnosis data=store init=pretrained steps=1 batch=4 device=cpu"
    assert "scaling" not in einthoven(f"{words} run=same", own).out
    said = einthoven(f"{words} scaling=none run=other", own).out
    assert "init=pretrained was trained with scaling=record_zscore, this run has scaling=none" in said


# ------------------------------------------------------------------------------------------------------------------ E: ECG-FM


@pytest.mark.parametrize(
    ("overrides", "n_parameters"), [([], 90_883_072), (["encoder=base"], 90_883_072), (["encoder=large"], 311_940_352)]
)
def test_e3_the_models_have_as_many_parameters_as_the_published_ones(overrides: list[str], n_parameters: int):
    from einthoven.leads import TWELVE
    from einthoven.recipes.build import build_encoder, build_objective
    from einthoven.signal.contract import SignalContract

    made = recipe("w2v_cmsc_rlm", overrides)
    with torch.device("meta"):  # no memory is taken, nothing is initialised
        encoder, _ = build_encoder(made, SignalContract(fs=500, leads=TWELVE, seconds=made.seconds, scaling=made.scaling))
        objective = build_objective(made, encoder)
    assert sum(weight.numel() for weight in objective.parameters()) == n_parameters
    trained = encoder.config()  # as published, whatever the size that is named
    assert (trained["extractor_gradient"], trained["input_dropout"], trained["dropout"]) == (0.1, 0.1, 0.1)
    assert f"{n_parameters:,}" in TEXT
