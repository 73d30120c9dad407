"""The whole path by its commands: what each prints, writes and returns; stopped and gone on with, the same bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from command_line import INGEST, PRETRAIN, RECORDING, World, einthoven, end, start
from safetensors import safe_open

import einthoven as package


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---------------------------------------------------------------------------------------------------- what each command does


def test_simulate_writes_a_wfdb_corpus_and_says_what_comes_next(world: World):
    outcome = world.outcomes["simulate"]
    assert outcome.out.splitlines() == ["40 recordings in corpus", "next: einthoven ingest physionet2021 corpus STORE"]
    assert outcome.err == ""
    assert len(list((world.folder / "corpus").rglob("*.hea"))) == 40
    with open(world.folder / "corpus" / "truth.csv", newline="") as file:
        assert len({row["patient"] for row in csv.DictReader(file)}) == 20


def test_ingest_counts_what_it_stored_and_lists_what_it_rejected(world: World):
    said = world.outcomes["ingest"].out
    assert said.startswith("40 recordings: 40 stored, none rejected; 20 patients, ") and "in store" in said
    assert (world.folder / "store" / "rejected.csv").read_text() == "file,record,reason\n"
    facts = json.loads((world.folder / "store" / "store.json").read_text())
    assert facts["counts"] == {"listed": 40, "records": 40, "rejected": 0, "patients": 20}


def test_ingesting_again_leaves_the_store_as_it_is(world: World):
    before = digests(world.folder / "store")
    outcome = einthoven(INGEST, world.folder)
    assert outcome.code == 0 and "was there already, left as it is" in outcome.out
    assert digests(world.folder / "store") == before


def test_store_and_split_say_what_is_inside(own: Path):
    table = " ".join(einthoven("store store", own).out.split())
    assert "recordings 40" in table and "patients 20" in table and "SNOMED CT" in table
    outcome = einthoven("split store --fractions 0.5,0.25,0.25 --seed 7", own)
    counts = {name: int(n) for name, n in (part.split() for part in outcome.out.strip().split(", "))}
    assert sum(counts.values()) == 40 and list(counts) == ["train", "valid", "test"]
    store = package.Store(own / "store")
    split, patient = store.column("split"), store.column("patient")
    assert {name: int((split == name).sum()) for name in counts} == counts
    assert all(len(set(split[patient == who])) == 1 for who in set(patient))


@pytest.mark.parametrize(("run", "kind"), [("pretrained", "encoder"), ("diagnosis", "diagnosis")])
def test_a_run_has_its_model_recipe_log_and_environment(world: World, run: str, kind: str):
    folder = world.folder / run
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["kind"] == kind
    assert config["files"]["model.safetensors"] == hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()
    with safe_open(folder / "model" / "model.safetensors", "pt") as file:
        assert any(name.removeprefix("encoder.").startswith("feature_extractor.") for name in file.keys())
    recipe = json.loads((folder / "recipe.json").read_text())["recipe"]
    assert (recipe["steps"], recipe["batch"], recipe["data"]) == (4, 4, "store")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"train", "valid"} and lines[-1]["step"] == 4
    assert json.loads((folder / "environment.json").read_text())["einthoven"] == package.__version__


def test_training_says_how_far_it_is_and_where_the_model_lies(world: World):
    outcome = world.outcomes["pretrain"]
    assert outcome.out == "pretrained: 4 updates; model in pretrained/model\n"
    lines = outcome.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["train 1/4", "train 2/4", "train 3/4", "train 4/4", "valid 4/4"]
    assert all(" loss " in line for line in lines) and all("segments/s" in line and "ETA" in line for line in lines[:4])


def test_fine_tuning_says_which_classes_it_leaves_out_and_warns_of_nothing_that_was_asked_for(world: World):
    outcome = world.outcomes["finetune"]
    assert "classes left out, too few training recordings: " in outcome.out
    assert "warning" not in outcome.err  # the convolutions are frozen on purpose


def test_evaluate_writes_a_table_json_csv_per_class_and_a_report(own: Path):
    outcome = einthoven("evaluate diagnosis data=store split=test bootstrap=50", own)
    folder = own / "diagnosis" / "evaluation" / "store-test"
    assert outcome.code == 0 and outcome.err == ""
    assert "AUROC" in outcome.out and outcome.out.rstrip().endswith("report: diagnosis/evaluation/store-test/report.html")
    classes = json.loads((own / "diagnosis" / "model" / "config.json").read_text())["classes"]
    with open(folder / "per_class.csv", newline="") as file:
        assert {row["name"] for row in csv.DictReader(file)} >= {one["name"] for one in classes}
    assert "macro_auroc" in json.loads((folder / "evaluation.json").read_text())["summary"]
    n_test = int((package.Store(own / "store").column("split") == "test").sum())
    with open(folder / "predictions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == n_test
    assert "<img" in (folder / "report.html").read_text() or "<svg" in (folder / "report.html").read_text()


def test_predict_gives_for_each_file_named_findings_or_the_reason(own: Path):
    (own / "notes.txt").write_text("not an ECG\n")
    outcome = einthoven(f"predict diagnosis {RECORDING} notes.txt --out out/answers.json --html out/answers.html --device cpu", own)
    assert outcome.code == 1  # one of the two has no answer
    assert "written: out/answers.json" in outcome.out and "written: out/answers.html" in outcome.out
    answer, none = json.loads((own / "out" / "answers.json").read_text())
    assert (answer["file"], answer["model"]) == (RECORDING, "diagnosis")
    classes = json.loads((own / "diagnosis" / "model" / "config.json").read_text())["classes"]
    assert [(one["name"], one["code"]) for one in answer["findings"]] == [(one["name"], "|".join(one["codes"])) for one in classes]
    for one in answer["findings"]:
        assert 0 <= one["probability"] <= 1 and 0 <= one["threshold"] <= 1
        assert one["positive"] == (one["probability"] > one["threshold"])
    assert (none["file"], none["model"]) == ("notes.txt", "diagnosis") and "text" in none["reason"] and "findings" not in none
    assert "notes.txt" in outcome.out and none["reason"][:40] in " ".join(outcome.out.split())
    assert "<svg" in (own / "out" / "answers.html").read_text()


def test_predict_as_csv_has_a_row_per_finding(own: Path):
    assert einthoven(f"predict diagnosis {RECORDING} --out answers.csv --device cpu", own).code == 0
    with open(own / "answers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    answers = einthoven(f"predict diagnosis {RECORDING} --out answers.json --device cpu", own)
    findings = json.loads((own / "answers.json").read_text())[0]["findings"]
    assert answers.code == 0
    assert [(row["name"], row["code"]) for row in rows] == [(one["name"], one["code"]) for one in findings]
    assert [float(row["probability"]) for row in rows] == pytest.approx([one["probability"] for one in findings], abs=1e-5)


def test_the_python_face_gives_the_answer_of_the_command(world: World, tmp_path: Path):
    assert einthoven(["predict", str(world.folder / "diagnosis"), str(world.folder / RECORDING), "--out", "a.json"], tmp_path).code == 0
    findings = json.loads((tmp_path / "a.json").read_text())[0]["findings"]
    prediction = package.Model.from_pretrained(world.folder / "diagnosis").predict(package.read(world.folder / RECORDING))
    assert [one.probability for one in prediction.findings] == pytest.approx([one["probability"] for one in findings], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "name", "beginning"),
    [
        ("", "S00001.png", b"\x89PNG"),
        ("--out t.pdf --layout 6x2", "t.pdf", b"%PDF"),
        ("--out t.svg --start 1 --seconds 2.5 --layout 12x1", "t.svg", b"<?xml"),
        ("--pages --seconds 4", "S00001.pdf", b"%PDF"),
    ],
)
def test_show_draws_the_tracing(world: World, tmp_path: Path, words: str, name: str, beginning: bytes):
    outcome = einthoven(f"show {world.folder / RECORDING} {words}", tmp_path)
    assert outcome.code == 0, outcome.err
    assert f"written: {name}" in outcome.out
    assert (tmp_path / name).read_bytes().startswith(beginning)


def test_pages_hold_the_whole_recording(world: World, tmp_path: Path):
    einthoven(f"show {world.folder / RECORDING} --pages --seconds 4", tmp_path)
    assert (tmp_path / "S00001.pdf").read_bytes().count(b"/Type /Page ") == 3  # 10 s, 4 s to a page


# --------------------------------------------------------------------------------------------------------------- the recipes


def test_print_config_shows_a_recipe_that_is_valid_as_ones_own(tmp_path: Path):
    shown = einthoven("pretrain w2v_cmsc_rlm encoder=tiny batch=7 --print-config", tmp_path)
    assert shown.code == 0 and list(tmp_path.iterdir()) == []
    values = yaml.safe_load(shown.out)
    assert (values["base"], values["batch"], values["encoder"]["name"]) == ("w2v_cmsc_rlm", 7, "tiny")
    (tmp_path / "mine.yaml").write_text(shown.out)
    for words in ("pretrain mine --config-dir .", "pretrain --config-dir . --config-name mine"):
        again = einthoven(f"{words} --print-config", tmp_path)
        assert again.code == 0, again.err
        assert again.out == shown.out


def test_the_command_line_wins_over_a_recipe_of_ones_own(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("base: diagnosis\nbatch: 7\noptim:\n  lr: 0.5\n")
    values = yaml.safe_load(einthoven("finetune --config-dir . --config-name mine batch=9 --print-config", tmp_path).out)
    assert (values["batch"], values["optim"]["lr"]) == (9, 0.5)


# ----------------------------------------------------------------------------------------------------------- in its own process


def test_both_ways_to_call_it_give_the_version(tmp_path: Path):
    said = f"einthoven {package.__version__}\n"
    assert einthoven("--version", tmp_path).out == said
    assert end(start("--version", tmp_path)).out == said
    script = Path(sys.executable).with_name("einthoven")
    if script.exists():
        assert subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout == said


@pytest.mark.parametrize(
    ("words", "part"), [("predict", "Missing argument"), ("show --wrong x", "No such option"), ("whatever", "No such command")]
)
def test_a_wrong_call_is_told_how_to_call(tmp_path: Path, words: str, part: str):
    outcome = einthoven(words, tmp_path)
    assert outcome.code == 2
    assert part in outcome.err and "Usage:" in outcome.err and "Traceback" not in outcome.err


def test_resuming_a_finished_run_says_so_and_changes_nothing(own: Path):
    before = digests(own / "pretrained")
    outcome = einthoven("resume pretrained", own)
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out == "pretrained is finished; its model is in pretrained/model\n"
    assert digests(own / "pretrained") == before


STEPS = 10
LONGER = f"{PRETRAIN} steps={STEPS} save_every=3"


@pytest.fixture(scope="module")
def undisturbed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of LONGER that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "store").symlink_to(world.folder / "store")
    assert einthoven(f"{LONGER} run=run", folder).code == 0
    return folder / "run"


def wait_for(there, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Until something is there, or the process has ended."""
    until = time.monotonic() + seconds
    while not there() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def n_lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bytes(undisturbed: Path, world: World, tmp_path: Path):
    (tmp_path / "store").symlink_to(world.folder / "store")
    run, chance, killed = tmp_path / "run", random.Random(11), 0
    words = f"{LONGER} run=run"
    for at_line in (0, 4, 7):  # while it begins, and twice on the way; a step takes hundredths of a second or more
        process = start(words, tmp_path)
        begun = n_lines(run / "environment.json")
        wait_for(lambda begun=begun, n=at_line: n_lines(run / "environment.json") > begun and n_lines(run / "metrics.jsonl") >= n, process)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        end(process)
        killed += process.returncode == -signal.SIGKILL
        words = "resume run" if (run / "recipe.json").exists() else words
    last = end(start("resume run", tmp_path))
    assert last.code == 0, last.err
    assert killed >= 2
    for name in (
        "model/model.safetensors",
        f"checkpoints/step-{STEPS:08d}/optimiser.safetensors",
        f"checkpoints/step-{STEPS:08d}/state.json",
    ):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_saves_says_how_to_go_on_and_the_resumed_run_ends_the_same(undisturbed: Path, world: World, tmp_path: Path):
    (tmp_path / "store").symlink_to(world.folder / "store")
    process = start(f"{LONGER} run=run", tmp_path)
    wait_for(lambda: n_lines(tmp_path / "run" / "metrics.jsonl") >= 2, process)
    process.send_signal(signal.SIGINT)
    outcome = end(process)
    assert outcome.code == 130, outcome
    assert outcome.err.splitlines()[-1].endswith("checkpoint saved; go on with: einthoven resume run")
    assert not (tmp_path / "run" / "model").exists()
    assert einthoven("resume run", tmp_path).code == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == (undisturbed / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "workers"), [(signal.SIGINT, 130, 1), (signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 2)])
def test_an_ingest_that_is_stopped_says_so_in_one_line_and_a_second_one_ends_with_the_same_bytes(
    world: World, tmp_path: Path, number: int, code: int, workers: int
):
    (tmp_path / "corpus").symlink_to((world.folder / "corpus").resolve())
    words = f"ingest physionet2021 {world.folder / 'corpus'} store -j {workers}"
    process = start(words, tmp_path)
    wait_for((tmp_path / "store" / "unfinished" / "plan.json").exists, process)
    process.send_signal(number)
    outcome = end(process)
    assert outcome.code == code, outcome
    assert outcome.err.splitlines() == ["einthoven: stopped; what is done is kept, and the same command goes on from there"]
    assert not (tmp_path / "store" / "store.json").exists()
    again = einthoven(words, tmp_path)
    assert again.code == 0, again.err
    assert einthoven(words.replace(" store ", " straight "), tmp_path).code == 0
    assert digests(tmp_path / "store") == digests(tmp_path / "straight")


def test_a_run_goes_on_from_another_folder_too(world: World, tmp_path: Path):
    (tmp_path / "store").symlink_to(world.folder / "store")
    (tmp_path / "elsewhere").mkdir()
    assert einthoven(f"{LONGER} steps=2 run=run", tmp_path).code == 0
    shutil.rmtree(tmp_path / "run" / "model")
    done = einthoven("resume ../run", tmp_path / "elsewhere")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
