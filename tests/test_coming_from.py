"""docs/coming-from.md is true: every row that is due is there, every command in it parses, and ours is run small."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import typer
from command_line import RECORDING, World, einthoven, legacy_checkpoint, own, world
from published_layouts import LAYOUTS

import einthoven as package
from einthoven.bench.grid import grid
from einthoven.cli import app
from einthoven.recipes import recipe
from einthoven.recipes.evaluation import evaluation
from einthoven.report.methods import options_tables

__all__ = ["own", "world"]

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
MAIN_JOB = ["F1", "F3", "F4", "F7", "T1", "T3", "T7", "E3"]
"""What people do with the old systems that belongs to the main job: preprocessing, manifests, installing; pretraining; fine-tuning."""
METHODS = ["F2", "F5", "F6", "T2", "T4", "T5", "T6", "T8", "T9", "S2", "S3", "S4", "S5"]
"""And to the methods: identification, the other objectives, encoders from scratch, everything of ecg-selfsupervised."""
DATA = ["F8", "E5", "S1"]
"""And to the data: the newer pipeline, published splits, the preprocessing notebook."""
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
    (section, tuple(re.findall(r"einthoven (?:pretrain|finetune) (\w+)", " ".join(parts[1:]))), snippet.removeprefix("… "))
    for section, parts in rows()
    for snippet in snippets(" ".join(parts[1:]))
    if all("=" in word for word in shlex.split(snippet.removeprefix("… "))) and not snippet.startswith(("--", "pip"))
]
"""(section, recipes that the row names, key=value texts)."""


def values(words: str) -> list[str]:
    """The words of a command with something in the place of what the reader fills in."""
    for placeholder, value in {
        "--workers N": "--workers 2",
        "steps=N": "steps=9",
        "frozen_steps=N": "frozen_steps=9",
        "validate_every=…": "validate_every=9",
        "…": "",
    }.items():
        words = words.replace(placeholder, value)
    return [word for word in shlex.split(words.replace("--fractions  ", "--fractions 0.8,0.1,0.1 ").rstrip()) if word]


def check_keys(section: str, named: tuple[str, ...], overrides: list[str]) -> None:
    """The recipes that a row names take its keys; where it names none, that of its section; ``singles`` is a key of evaluate."""
    if any(text.startswith("singles") for text in overrides):
        evaluation(["data=OTHER", *overrides])
        return
    for name in named or ("diagnosis" if section == "Fine-tuning and evaluation" else "w2v_cmsc_rlm",):
        recipe(name, overrides)


def test_every_row_that_is_due_is_in_the_document():
    named = {match[1] for _, cells in rows() if (match := re.match(r"([A-Z]\d+) ", cells[0]))}
    assert {*MAIN_JOB, *METHODS, *DATA} <= named
    assert all(len(cells) == 3 for _, cells in rows())


def test_there_is_something_to_check():
    assert len(COMMANDS) >= 40 and len(KEYS) >= 20
    known = {"ingest", "split", "pretrain", "finetune", "evaluate", "resume", "methods", "convert", "bench", "audit", "export", "sources"}
    assert {words.split()[0] for _, words in COMMANDS} == known


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
    if name == "methods" and given["name"]:
        assert all(table.row_count for table in options_tables(given["name"]))
    if name == "bench" and not given["grid"].endswith(".yaml"):
        assert grid(given["grid"], {}).methods


@pytest.mark.parametrize(("section", "named", "words"), KEYS, ids=[words for *_, words in KEYS])
def test_every_key_of_the_document_is_one_of_ours(section: str, named: tuple[str, ...], words: str):
    check_keys(section, named, values(words))


def test_every_option_of_the_document_is_one_of_ours():
    options = {option for _, snippet in our_words() for option in re.findall(r"--[a-z-]+", snippet)} - {
        "--only",
        "--nproc-per-node",
        "--fc-encoder",
    }
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


@pytest.mark.parametrize("name", ["physionet2021", "mimic_iv_ecg", "code15", "muse", "folder"])
def test_f8_each_source_of_the_newer_pipeline_is_audited_and_given_back(name: str, tmp_path: Path):
    root = LAYOUTS[name].build(tmp_path)
    assert einthoven(["ingest", name, str(root), "STORE", "-j", "1"], tmp_path).code == 0
    zheng = LAYOUTS["zheng"].build(tmp_path)
    assert einthoven(["ingest", "zheng", str(zheng), "STORE", "--append", "-j", "1"], tmp_path).code == 0
    assert einthoven("audit STORE -j 1", tmp_path).code == 0
    before = package.Store(tmp_path / "STORE")
    assert len(before) == LAYOUTS[name].n + 2 and "quality" in before.table.column_names
    outcome = einthoven("export STORE OUT --as fairseq-signals", tmp_path)
    assert outcome.code == 0, outcome.err
    outcome = einthoven("ingest fairseq_signals OUT BACK -j 1 --option stage=org", tmp_path)
    assert outcome.code == 0, outcome.err
    assert len(package.Store(tmp_path / "BACK")) == len(before)


def test_e5_a_published_split_is_applied(own: Path):
    table = package.Store(own / "store").table
    records, persons = table["record"].to_pylist(), table["patient"].to_pylist()
    lines = [f"physionet_{one}.mat,{'test' if who == persons[0] else 'train'}" for one, who in zip(records, persons, strict=True)]
    (own / "meta_split_physionet.csv").write_text("\n".join(["save_file,split", *lines]) + "\n")
    assert einthoven("split store --table meta_split_physionet.csv", own).code == 0
    split = package.Store(own / "store").column("split")
    assert [part == "test" for part in split] == [who == persons[0] for who in persons]


def test_s1_several_corpora_are_one_store_at_100_hz_and_go_back(tmp_path: Path):
    for number, name in enumerate(("cinc2020", "zheng", "ribeiro", "ptbxl")):
        (tmp_path / name).mkdir()
        root = LAYOUTS[name].build(tmp_path / name)
        words = ["--append"] if number else ["--fs", "100"]
        outcome = einthoven(["ingest", name, str(root), "STORE", *words, "-j", "1"], tmp_path)
        assert outcome.code == 0, outcome.err
    store = package.Store(tmp_path / "STORE")
    assert store.fs == 100 and len(store) == sum(LAYOUTS[name].n for name in ("cinc2020", "zheng", "ribeiro", "ptbxl"))
    outcome = einthoven("export STORE OUT --as ecg-selfsupervised", tmp_path)
    assert outcome.code == 0, outcome.err
    outcome = einthoven("ingest ecg_selfsupervised OUT BACK --fs 100 -j 1", tmp_path)
    assert outcome.code == 0 and len(package.Store(tmp_path / "BACK")) == len(store), outcome


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
        "base: w2v_cmsc_rlm\nencoder: {name: tiny, depth: 1}\nsteps: 2\nbatch: 3\ndevice: cpu\ndata: store\nrun: mine\n"
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


# ------------------------------------------------------------------------------------------------- F, T: methods of fairseq-signals


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ROOT``, small and in PTB-XL's layout, and its stores ``STORE`` and ``STORE100`` (at 100 Hz)."""
    folder = tmp_path_factory.mktemp("ptbxl")
    assert einthoven("simulate made --records 32 --patients 16 --seed 8 -j 1", folder).code == 0
    place = folder / "ROOT" / "records500" / "00000"
    place.mkdir(parents=True)
    table = []
    for number, path in enumerate(sorted((folder / "made").rglob("*.hea")), start=1):
        said, new = path.read_text(), f"{number:05d}_hr"
        path.with_suffix(".mat").rename(place / f"{new}.mat")
        (place / f"{new}.hea").write_text(said.replace(path.stem, new))
        # Alternate diagnoses; visits are told by their date alone, and the later one stands first in the table.
        person = (number + 1) // 2
        codes = "{'NORM': 100.0, 'SR': 0.0}" if person % 2 else "{'IMI': 100.0, 'AFIB': 0.0}"
        date = f"19{90 - number % 2 * -5}-01-0{1 + person % 9} 10:00:00"
        table.append(
            [
                number,
                f"{person}.0",
                60.0,
                person % 2,
                codes,
                1 + (person - 1) % 10,
                f"records100/00000/{number:05d}_lr",
                f"records500/00000/{new}",
                date,
            ]
        )
    with open(folder / "ROOT" / "ptbxl_database.csv", "w", newline="") as file:
        head = ["ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr", "recording_date"]
        csv.writer(file).writerows([head, *table])
    for words in ("ingest ptbxl ROOT STORE -j 1", "ingest ptbxl ROOT STORE100 --fs 100 -j 1"):
        outcome = einthoven(words, folder)
        assert outcome.code == 0 and "none rejected" in outcome.out, outcome
    return folder


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def saved(run: Path) -> dict[str, object]:
    return json.loads((run / "recipe.json").read_text())["recipe"]


def test_f2_f5_persons_are_learned_on_one_corpus_and_found_again_in_another(ptbxl: Path, world: World, tmp_path: Path):
    (tmp_path / "OTHER").symlink_to(ptbxl / "STORE")
    (tmp_path / "STORE").symlink_to(world.folder / "store")
    outcome = einthoven(["finetune", "identification", "data=STORE", "split=all", *TINY.split(), "run=RUN"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert saved(tmp_path / "RUN")["margin"] == 1.0 and saved(tmp_path / "RUN")["scale"] == 192.0
    model = json.loads((tmp_path / "RUN" / "model" / "config.json").read_text())
    assert model["kind"] == "identification"

    outcome = einthoven("evaluate RUN data=OTHER split=all bootstrap=20", tmp_path)
    assert outcome.code == 0, outcome.err
    found = json.loads((tmp_path / "RUN" / "evaluation" / "OTHER-all" / "evaluation.json").read_text())
    assert found["about"]["asked"] == "16 probes of 16 persons against 16 recordings enrolled"
    assert {"rank_1", "rank_5", "rank_10", "auroc", "eer", "tar_at_far_0.01"} <= set(found["scores"])
    assert found["scores"]["rank_1"]["low"] <= found["scores"]["rank_1"]["value"] <= found["scores"]["rank_1"]["high"]
    with open(tmp_path / "RUN" / "evaluation" / "OTHER-all" / "matches.csv", newline="") as file:
        matches = list(csv.DictReader(file))
    store = package.Store(ptbxl / "STORE")
    time = dict(zip(store.column("record"), store.column("time"), strict=True))
    later = {str(one["probe"]) for one in matches}
    enrolled = set(time) - later
    assert len(enrolled) == 16 and max(time[one] for one in enrolled) < min(
        time[one] for one in later
    )  # the first in time, not in the table
    assert einthoven("evaluate RUN data=OTHER split=all singles=two_windows bootstrap=0", tmp_path).code == 0


def test_f5_no_person_is_on_two_sides(ptbxl: Path):
    store = package.Store(ptbxl / "STORE")
    split, patient = store.column("split"), store.column("patient")
    assert set(split) == {"train", "valid", "test"}
    assert all(len(set(split[patient == one])) == 1 for one in set(patient))


@pytest.mark.parametrize(
    ("words", "parts", "steps"),
    [
        ("w2v_augs", {"loss_nce"}, ["powerline_noise", "emg_noise", "baseline_shift", "baseline_wander", "random_lead_mask"]),
        (
            'w2v augment="[{name: powerline_noise, share: 0.5}, {name: random_lead_mask, p: 0.3}]"',
            {"loss_nce"},
            ["powerline_noise", "random_lead_mask"],
        ),
        ("cmsc", {"cmsc"}, []),
        ("cmsc_rlm across=visits", {"cmsc"}, ["random_lead_mask"]),
        ("cmlc objective.n_leads=2", {"cmlc"}, []),
        ("cmsmlc objective.n_leads=2", {"cmsmlc"}, []),
        ('3kg augment="{name: vcg, angle: 45, scale: 1.5, mask: 0.5}"', {"3kg"}, ["vcg"]),
        ("simclr_augs objective.temperature=0.1", {"simclr"}, ["powerline_noise", "emg_noise", "baseline_shift", "baseline_wander", "random_lead_mask"]),
        ("simclr_rlm micro_batch=512", {"simclr"}, ["random_lead_mask"]),
    ],
)  # fmt: skip
def test_t2_t4_t5_t6_f6_every_other_pretraining_runs(world: World, tmp_path: Path, words: str, parts: set[str], steps: list[str]):
    (tmp_path / "STORE").symlink_to(world.folder / "store")
    outcome = einthoven(["pretrain", *shlex.split(words), "data=STORE", *TINY.split(), "validate_every=0", "run=run"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert all(parts <= set(line) for line in lines_of(tmp_path / "run"))
    said = saved(tmp_path / "run")
    assert [one["name"] for one in said["augment"]] == steps  # type: ignore[attr-defined]
    if words.startswith("3kg"):
        usual = recipe("3kg", ["augment=vcg"])
        assert said["augment"] == [{"name": "vcg", "angle": 45.0, "scale": 1.5, "mask": 0.5}]  # type: ignore[comparison-overlap]
        options = usual.augment[0].all_options("vcg").model_fields
        assert (options["angle"].default, options["scale"].default, options["mask"].default) == (45, 1.5, 0.5)


def test_t8_identification_begins_from_a_checkpoint_and_an_encoder_is_judged_as_it_is(own: Path):
    legacy_checkpoint(own / "CKPT.pt")
    words = "finetune identification data=store init=CKPT.pt margin=1.0 scale=192 steps=2 batch=8 device=cpu run=RUN"
    outcome = einthoven(words, own)
    assert outcome.code == 0, outcome.err
    assert json.loads((own / "RUN" / "model" / "config.json").read_text())["provenance"]["init"] == "CKPT.pt"
    assert einthoven("evaluate RUN data=store split=all bootstrap=0", own).code == 0
    assert einthoven("evaluate pretrained data=store split=all bootstrap=0 task=identification", own).code == 0
    one = json.loads((own / "pretrained" / "evaluation" / "store-all-identification" / "evaluation.json").read_text())
    assert one["about"]["chance of rank 1"] == "0.0769"


@pytest.mark.parametrize(
    ("name", "encoder", "kind"),
    [
        ("diagnosis_scratch", "tiny", "ecg_transformer"),
        ("nejedly2021", "nejedly2021_tiny", "nejedly2021"),
        ("se_wrn", "se_wrn_small", "se_wrn"),
        ("identification_scratch", "tiny", "ecg_transformer"),
    ],
)
def test_t9_each_network_learns_from_scratch(world: World, tmp_path: Path, name: str, encoder: str, kind: str):
    (tmp_path / "STORE").symlink_to(world.folder / "store")
    outcome = einthoven(f"finetune {name} data=STORE encoder={encoder} steps=2 batch=4 validate_every=0 device=cpu run=run", tmp_path)
    assert outcome.code == 0, outcome.err
    model = package.Model.from_pretrained(tmp_path / "run")
    assert model.config["encoder"]["name"] == kind
    assert model.module.encoder.config().get("extractor_gradient", 1) != 0  # the convolutions learn
    published = recipe(name).encoder
    assert published.kind_of(published.name).__name__ == type(model.module.encoder).__name__


# --------------------------------------------------------------------------------------------------------------- S: ecg-selfsupervised


@pytest.fixture(scope="module")
def contrastive(ptbxl: Path) -> Path:
    """The run of SimCLR on a small xresnet that others begin from."""
    run = ptbxl / "simclr"
    outcome = einthoven(f"pretrain simclr data=STORE100 encoder=xresnet1d18_small {SMALL} run=simclr", ptbxl)
    assert outcome.code == 0, outcome.err
    return run


SMALL = "steps=2 batch=4 validate_every=0 device=cpu"


def test_s2_s3_cpc_is_pretrained_and_fine_tuned(ptbxl: Path, tmp_path: Path):
    (tmp_path / "STORE").symlink_to(ptbxl / "STORE100")
    outcome = einthoven(f"pretrain cpc data=STORE encoder=cpc_tiny objective.steps_ahead=2 {SMALL} run=runs/cpc", tmp_path)
    assert outcome.code == 0, outcome.err
    outcome = einthoven("finetune cpc_finetune data=STORE init=runs/cpc frozen_steps=1 steps=2 batch=4 device=cpu run=RUN", tmp_path)
    assert outcome.code == 0, outcome.err
    before, after = (package.Model.from_pretrained(tmp_path / name) for name in ("runs/cpc", "RUN"))
    assert before.contract.scaling == after.contract.scaling == "corpus" and before.contract.mean == after.contract.mean
    assert einthoven(f"pretrain cpc data=STORE init=runs/cpc objective.steps_ahead=2 {SMALL} run=more", tmp_path).code == 0

    published = recipe("cpc")
    settings = published.settings(100_000)
    assert (settings.epochs, settings.optim.lr, settings.batch) == (1000, 1e-4, 32)
    assert published.seconds * 100 == 1000 and published.scaling == "corpus"
    encoder = published.encoder.all_options("cpc").model_fields
    assert encoder["strides"].default == (1, 1, 1, 1)  # --fc-encoder
    options = published.objective.all_options("cpc").model_fields
    assert options["negatives"].default == "same_sequence" and options["n_negatives"].default == 128


@pytest.mark.parametrize("name", ["byol", "swav", "moco"])
def test_s4_the_other_contrastive_methods_run_on_the_same_views(ptbxl: Path, tmp_path: Path, name: str):
    (tmp_path / "STORE").symlink_to(ptbxl / "STORE100")
    small = {"swav": "objective.prototypes=8 objective.queue=16", "moco": "objective.queue=16"}.get(name, "")
    outcome = einthoven(f"pretrain {name} data=STORE encoder=xresnet1d18_small {small} {SMALL} run=run", tmp_path)
    assert outcome.code == 0, outcome.err
    assert name in lines_of(tmp_path / "run")[0]
    assert [one["name"] for one in saved(tmp_path / "run")["augment"]] == ["random_resized_crop", "time_out"]  # type: ignore[attr-defined]


def test_s4_every_trafo_of_theirs_can_be_named(ptbxl: Path, tmp_path: Path):
    (tmp_path / "STORE").symlink_to(ptbxl / "STORE100")
    theirs = ["GaussianNoise", "GaussianBlur", "RandomResizedCrop", "TimeOut", "ChannelResize", "DynamicTimeWarp", "BaselineWander", "PowerlineNoise", "EMNoise", "BaselineShift"]  # fmt: skip
    ours = [re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=EM)(?=N)", "_", name).lower() for name in theirs]
    assert {name for name in ours if name not in TEXT} == set()
    words = ["pretrain", "simclr", "data=STORE", "encoder=xresnet1d18_small", f"augment=[{', '.join(ours)}]", *SMALL.split(), "run=run"]
    outcome = einthoven(words, tmp_path)
    assert outcome.code == 0, outcome.err


def test_s4_the_recipes_are_the_published_ones():
    for name in ("simclr", "byol", "swav"):
        made = recipe(name, ["batch=4096", "epochs=2000", "precision=bf16"])
        assert made.settings(54_566).batch == recipe(name).settings(54_566).batch == 4096 and recipe(name).epochs == 2000
        assert recipe(name).encoder.name == "xresnet1d50" and recipe(name).seconds == 2.5 and recipe(name).scaling == "none"


def test_s5_linear_evaluation_leaves_the_encoder_as_it_was_and_noise_makes_it_harder(contrastive: Path):
    folder = contrastive.parent
    for name in ("ssl_linear", "ssl_finetune"):
        words = f"finetune {name} data=STORE100 init=simclr label_share=0.9 steps=3 batch=8 device=cpu run={name}"
        outcome = einthoven(words, folder)
        assert outcome.code == 0, outcome.err
    first, linear, whole = (package.Model.from_pretrained(folder / name).module for name in ("simclr", "ssl_linear", "ssl_finetune"))
    own = first.state_dict()
    same, moved = (
        [key for key, value in own.items() if torch.equal(value, module.encoder.state_dict()[key])] for module in (linear, whole)
    )
    assert len(same) == len(own)
    assert len(moved) < len(own)
    for words in ("", " noise=1"):
        assert einthoven(f"evaluate ssl_linear data=STORE100 split=all bootstrap=0{words}", folder).code == 0
    answers = [(folder / "ssl_linear" / "evaluation" / f"STORE100-all{part}" / "predictions.csv").read_text() for part in ("", "-noise1")]
    assert answers[0] != answers[1]
    assert "optim.discriminative=null" in TEXT and recipe("ssl_finetune", ["optim.discriminative=null"]).optim.discriminative is None


def test_s6_a_published_checkpoint_is_converted_or_begun_from(ptbxl: Path, tmp_path: Path):
    from einthoven.convert.ecg_selfsupervised_names import legacy_state
    from einthoven.convert.ecg_selfsupervised_sizes import LEADS
    from einthoven.models import ENCODERS, PRESETS

    (tmp_path / "STORE").symlink_to(ptbxl / "STORE100")
    kind, options = PRESETS["xresnet1d18_small"]
    encoder = ENCODERS[kind](leads=LEADS, fs=100.0, **options)
    state = {f"encoder.features.{key}": value.detach().clone() for key, value in legacy_state(encoder).items()}
    for layer, n_in, n_out in ((1, encoder.dim, 5), (3, 5, 4)):  # SimCLR's projection
        state |= {f"projection.model.{layer}.weight": torch.zeros(n_out, n_in), f"projection.model.{layer}.bias": torch.zeros(n_out)}
    torch.save({"state_dict": state}, tmp_path / "best_model.ckpt")
    outcome = einthoven("convert best_model.ckpt MODEL", tmp_path)
    assert outcome.code == 0, outcome.err
    said = f"leads=[{', '.join(LEADS)}]"
    assert said in TEXT
    learn = ["finetune", "ssl_linear", "data=STORE", said, "steps=2", "batch=4", "device=cpu"]
    for init in ("best_model.ckpt", "MODEL"):
        outcome = einthoven([*learn, f"init={init}", f"run=from_{init}"], tmp_path)
        assert outcome.code == 0, outcome.err
