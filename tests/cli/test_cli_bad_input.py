"""What a person may get wrong, through the command line: one line that says what to do, and nothing half-written that looks whole."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import FINETUNE, PRETRAIN, RECORDING, World, einthoven, legacy_checkpoint, one_line
from safetensors.torch import load_file, save_file

TINY = "data=store encoder=tiny encoder.depth=1 steps=2 batch=4 device=cpu"
CONV = "data=store encoder=resnet1d_wang_small steps=2 batch=4 device=cpu"
VIT = "data=store encoder=vit_tiny encoder.depth=1 steps=2 batch=4 device=cpu"
S4 = "data=store encoder=s4_tiny steps=2 batch=4 device=cpu"
SCRATCH = f"finetune diagnosis {TINY} encoder.extractor_gradient=1"


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def recording(folder: Path, n_samples: int = 5000, leads: tuple[str, ...] = ("I", "II"), written: int | None = None) -> Path:
    """A WFDB record with a .dat of format 16, of which ``written`` samples per lead are there."""
    folder.mkdir(exist_ok=True)
    seconds = np.arange(n_samples) / 500
    beats = 800 * np.exp(-(((seconds % 0.8) - 0.4) ** 2) / 2e-4)
    counts = np.stack([beats * (0.5 + 0.1 * place) for place in range(len(leads))], axis=1).astype("<i2")
    counts[: n_samples if written is None else written].tofile(folder / "one.dat")
    lines = [f"one {len(leads)} 500 {n_samples}", *(f"one.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in leads)]
    (folder / "one.hea").write_text("\n".join(lines) + "\n")
    return folder / "one.hea"


# ------------------------------------------------------------------------------------------------------------- words that are wrong


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        # keys and values
        (f"pretrain w2v_cmsc_rlm {TINY} bach=3", ["bach: unknown key, did you mean batch?"]),
        (f"pretrain w2v_cmsc_rlm {TINY} optim.rate=3", ["optim.rate: unknown key"]),
        (f"pretrain w2v_cmsc_rlm {TINY} batch=abc", ["batch: ", "integer", "'abc'"]),
        (f"pretrain w2v_cmsc_rlm {TINY} batch", ["expected key=value, got 'batch'"]),
        (f"pretrain w2v_cmsc_rlm {TINY} encoder=huge", ["encoder: expected an encoder, tiny, small, base", "`einthoven methods`", "'huge'"]),
        (f"pretrain w2v_cmsc_rlm {TINY} leads=[II,V9]", ["unknown lead V9", "aVR"]),
        (f"pretrain w2v_cmsc_rlm {TINY} device=gpu", ["device=gpu", "cpu, cuda"]),
        (f"pretrain w2v_cmsc_rlm {TINY} encoder.heads=7", ["encoder: ", "dim=64, heads=7"]),
        (f"pretrain w2v_cmsc_rlm {TINY} metric=lsos", ["metric=lsos", "did you mean loss?"]),
        (f"pretrain w2v_cmsc_rlm {TINY} split=all patience=2", ["patience=2", "nothing to validate on"]),
        (f"pretrain w2v_cmsc_rlm {TINY} bach=3 workers=x", ["did you mean batch?", "workers: "]),  # everything at once
        ("evaluate diagnosis data=store bach=3", ["bach: unknown key, did you mean batch?"]),
        ("evaluate diagnosis data=store split=tets", ["split: ", "'train', 'valid', 'test' or 'all'", "'tets'"]),
        # names
        ("pretrain", ["which recipe? w2v, ", "w2v_cmsc_rlm"]),
        ("pretrain w2v_cmcs data=store", ["no recipe 'w2v_cmcs'", "did you mean w2v_cmsc?"]),
        ("pretrain diagnosis data=store", ["diagnosis is a recipe of `einthoven finetune`"]),
        ("pretrain mine --config-dir .", ["no recipe 'mine'", "mine.yaml"]),
        ("ingest physionet corpus other", ["no source 'physionet'", "did you mean physionet2021?"]),
        ("ingest physionet2021 corpus other --subset georgia", ["has no set georgia", "synthetic"]),
        ("ingest folder corpus other --subset georgia", ["--subset", "folder has no named parts"]),
        ("ingest physionet2021 corpus other --resampling cubic", ["polyphase", "'cubic'"]),
        ("ingest physionet2021 corpus other --shards 3/2", ["--shards", "3/2"]),
        ("ingest physionet2021 corpus store --fs 250", ["store is another store", "fs 500.0 there, 250.0 asked for"]),
        ("split store --fractions a,b,c", ["--fractions", "0.8,0.1,0.1"]),
        ("split store --strategy fold", ["no published fold"]),
        (f"show {RECORDING} --out x.txt", ["x.txt", ".png, .pdf or .svg"]),
        (f"show {RECORDING} --layout 5x5", ["'5x5'", "3x4, 6x2, 12x1"]),
        (f"show {RECORDING} --start 50", ["from 0 to 10 s"]),
        (f"show {RECORDING} --pages --out x.png", ["pages go into one PDF"]),
        (f"predict diagnosis {RECORDING} --out x.txt", ["x.txt", ".json or .csv"]),
        (f"predict diagnosis {RECORDING} --html x.pdf", ["x.pdf", ".html"]),
        (f"predict diagnosis {RECORDING} --device cuda:9", ["cuda:9", "device=cpu"]),
        ("simulate corpus --records 40 --patients 20 --seed 4", ["other settings", "seed=3 there, 4 asked"]),
        ("simulate other --records 2 --patients 3", ["patients=3, records=2"]),
        # data that is not there, or not enough
        ("pretrain w2v", ["add data=STORE"]),
        ("pretrain w2v data=nowhere", ["there is no store at nowhere", "einthoven ingest"]),
        ("evaluate diagnosis", ["add data=STORE"]),
        ("evaluate diagnosis data=nowhere", ["there is no store at nowhere"]),
        ("evaluate diagnosis data=store where=age>300", ["no recordings in split=test where age>300"]),
        ("store corpus", ["corpus is not a store", "einthoven ingest"]),
        ("split nowhere", ["there is no store at nowhere"]),
        (f"pretrain w2v_cmsc_rlm {TINY} batch=1000", ["batch=1000 is more than the", "set batch="]),
        (f"pretrain w2v_cmsc_rlm {TINY} seconds=20", ["shorter than 20 s"]),
        (f"pretrain w2v_cmsc_rlm {TINY} seconds=8", ["needs recordings of at least 16 s", "recipe w2v"]),
        (f"pretrain w2v_cmsc_rlm {TINY} seconds=0.01", ["seconds=0.01 is too short"]),
        (f"pretrain w2v_cmsc_rlm {TINY} where=age>300", ["no recordings in split=train where age>300"]),
        (f"pretrain w2v_cmsc_rlm {TINY} where=agee>3", ["no column agee, did you mean age?"]),
        (f"{SCRATCH} classes=[123456789]", ["none of the 1 classes", "123456789 (0 positive"]),
        (f"{SCRATCH} classes=cinc2022", ["classes: ", "cinc2021", "cinc2022"]),
        # runs and models
        ("resume nowhere", ["nowhere is no run"]),
        ("resume store", ["store is no run"]),
        (f"pretrain w2v_cmsc_rlm {TINY} run=pretrained", ["pretrained already holds a run", "einthoven resume pretrained"]),
        ("evaluate pretrained data=store", ["encoder without a head", "einthoven finetune diagnosis init=pretrained"]),
        (f"predict pretrained {RECORDING}", ["encoder without a head", "einthoven finetune diagnosis init=pretrained"]),
        (f"predict nowhere {RECORDING}", ["nowhere: no such file or folder", "expected a run"]),
        (f"{SCRATCH} init=nowhere", ["nowhere: no such file or folder", "expected a run"]),
        (f"{SCRATCH} init=corpus", ["corpus: holds no model", "expected a run"]),
        (f"{SCRATCH} init=corpus/truth.csv", ["truth.csv: not a PyTorch checkpoint"]),
        (f"{SCRATCH} init=pretrained leads=[II]", ["init=pretrained takes I II III", "this run gives II"]),
        ("finetune diagnosis data=store init=pretrained encoder=base steps=2 batch=4", ["encoder.dim=768 does not fit init=pretrained", "has 64"]),
        ("convert corpus/truth.csv model", ["truth.csv: not a PyTorch checkpoint"]),
        # methods that do not go with the store, the encoder or the batch
        (f"pretrain cmsc {TINY} seconds=8", ["cmsc needs recordings of at least 16 s (two windows)", "objective=w2v"]),
        (f"pretrain cmsmlc {TINY} seconds=8", ["cmsmlc needs recordings of at least 16 s"]),
        (f"pretrain simclr {CONV} augment=none", ["simclr compares augmented views", "augment=[random_resized_crop, time_out]"]),
        (f"pretrain byol {CONV} augment=[]", ["byol compares augmented views"]),
        (f"pretrain w2v {CONV}", ["w2v hides or predicts frames", "no such halves", "ecg_transformer"]),
        (f"pretrain jepa {CONV}", ["jepa hides or predicts frames"]),
        (f"pretrain cpc {CONV}", ["cpc hides or predicts frames"]),
        (f"pretrain ecg_cpc {S4} encoder.bidirectional=true", ["cpc", "bidirectional"]),
        (f"pretrain st_mem {CONV}", ["mae"]),
        (f"pretrain st_mem {TINY}", ["mae hides patches", "encoder=st_mem, vit_s"]),
        (f"pretrain swav {CONV} objective.prototypes=8 objective.queue=0", ["prototypes=8", "set prototypes=4 or less"]),
        *((f"pretrain {name} {CONV} batch=1", [f"{name} ", "at least 2", "got 1"]) for name in ("simclr", "byol")),
        *((f"pretrain {name} {TINY} batch=1", [f"{name} ", "2 or more", "got 1"]) for name in ("cmsc", "3kg", "cmlc", "cmsmlc")),
        (f"pretrain simclr {VIT} seconds=0.04", ["seconds=0.04 is too short for the encoder"]),
        (f"pretrain simclr {CONV} objective.temperature=-1", ["objective: expected temperature above 0"]),
        (f"pretrain simclr {CONV} augment=[gausian_noise]", ["augment.0: ", "did you mean gaussian_noise?"]),
        (["pretrain", "simclr", *CONV.split(), "augment=[{name: time_out, largest: 3}]"], ["augment", "largest"]),
        (["pretrain", "simclr", *CONV.split(), "augment=[{name: time_out, size: 3}]"], ["augment.0.size: time_out does not use it"]),
        (f"pretrain w2v {TINY} mask_prob=0.3", ["mask_prob: unknown key, it is objective.mask.prob now"]),
        (f"pretrain w2v_cmsc {TINY} cmsc_weight=0.3", ["cmsc_weight: unknown key, it is objective.cmsc_weight now"]),
        (f"pretrain w2v {TINY} across=visits", ["across: objective=w2v does not use it"]),
        (f"pretrain simclr {TINY} objective=cmsc", ["crop=random", "set crop=windows"]),
        (f"finetune age {TINY} init=pretrained targets=[height]", ["targets: store has no number called height; it has age"]),
        (f"finetune age {TINY} init=pretrained margin=0.3", ["margin: task=regression does not use it"]),
        (f"{SCRATCH} pooling=foo", ["task=diagnosis", "mean, max, max_mean", "'foo'"]),
        (f"{SCRATCH} pos_weight=[1,2]", ["pos_weight: expected "]),
        (f"finetune diagnosis {CONV} protocol=lora", ["protocol=lora: ", "take another protocol"]),
        (f"{SCRATCH} protocol=linear optim.layer_decay=0.5", ["optim.layer_decay: with protocol=linear"]),
        (f"{SCRATCH} optim.discriminative=[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1]", ["optim.discriminative has 10 factors"]),
        ("evaluate diagnosis data=store noise=7", ["noise: ", "less than or equal to 6, got 7"]),
        ("evaluate diagnosis data=store shown=[X]", ["shown: unknown lead X"]),
        ("evaluate diagnosis data=store singles=distractors", ["singles=distractors is of identification"]),
        ("methods simcrl", ["no method called simcrl", "did you mean simclr?"]),
    ],
)  # fmt: skip
def test_wrong_words_are_refused_in_one_line_and_nothing_is_written(own: Path, words: str | list[str], parts: list[str]):
    before = tree(own)
    outcome = einthoven(words, own)
    one_line(outcome, *parts)
    assert outcome.code == 2 and tree(own) == before


def test_who_nobody_knows_cannot_be_told_apart(own: Path):
    (own / "nameless").mkdir()
    for number in range(4):
        path = recording(own / "mine")
        for suffix in (".hea", ".dat"):
            (own / "mine" / f"one{suffix}").rename(own / "nameless" / f"r{number}{suffix}")
        made = own / "nameless" / f"r{number}{path.suffix}"
        made.write_text(made.read_text().replace("one", f"r{number}"))
    assert einthoven("ingest folder nameless plain -j 1", own).code == 0
    words = TINY.replace("data=store", "data=plain")
    one_line(einthoven(f"finetune identification {words} split=all", own), "plain names 0 in its all rows", "patient")
    one_line(einthoven("evaluate pretrained data=plain split=all task=identification", own), "identification needs two persons")


@pytest.mark.parametrize(
    "words",
    [
        "ingest physionet2021 corpus taken/store -j 1",
        "simulate taken --records 2 -j 1",
        f"pretrain w2v_cmsc_rlm {TINY} run=taken/run",
        "evaluate diagnosis data=store run=taken bootstrap=0",
        f"predict diagnosis {RECORDING} --out taken/a.json",
        f"predict diagnosis {RECORDING} --html taken/a.html",
        f"show {RECORDING} --out taken/a.png",
    ],
)
def test_a_place_that_cannot_be_written_is_named(own: Path, words: str):
    (own / "taken").write_text("a file where a folder is asked for")
    before = tree(own)
    one_line(einthoven(words, own), "taken")
    assert tree(own) == before and (own / "taken").read_text() == "a file where a folder is asked for"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(own: Path):
    (own / "locked").mkdir(mode=0o500)
    one_line(einthoven("ingest physionet2021 corpus locked/store -j 1", own), "locked", "Permission denied")


def test_the_traceback_is_there_for_who_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EINTHOVEN_TRACEBACK", "1")
    with pytest.raises(Exception, match="there is no store at nowhere"):
        einthoven("store nowhere", tmp_path)


# ------------------------------------------------------------------------------------------------------------------ recordings


def test_a_folder_without_an_ecg_becomes_no_store(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")
    one_line(einthoven("ingest folder empty s -j 1", tmp_path), "empty: is empty")
    one_line(einthoven("ingest physionet2021 texts s -j 1", tmp_path), "no WFDB header")
    one_line(einthoven("ingest ptbxl texts s -j 1", tmp_path), "ptbxl_database.csv is not in it")
    one_line(einthoven("ingest folder texts s -j 1", tmp_path), "none of the 1 recordings", "a.txt", "text")
    assert not list(tmp_path.rglob("store.json"))
    assert "a.txt" in (tmp_path / "s" / "rejected.csv").read_text()  # the reason stays, but nothing that opens as a store
    one_line(einthoven("store s", tmp_path), "is not a store")


def truncated_dat(folder: Path, world: World) -> Path:
    return recording(folder, written=3000)


def truncated_mat(folder: Path, world: World) -> Path:
    folder.mkdir()
    for suffix in (".hea", ".mat"):
        shutil.copy((world.folder / RECORDING).with_suffix(suffix), folder)
    path = folder / "S00001.mat"
    path.write_bytes(path.read_bytes()[:5000])
    return path.with_suffix(".hea")


def missing_signal(folder: Path, world: World) -> Path:
    path = recording(folder)
    path.with_suffix(".dat").unlink()
    return path


def nonsense_header(folder: Path, world: World) -> Path:
    path = recording(folder)
    path.write_text("one twelve 500\n")
    return path


def flat(folder: Path, world: World) -> Path:
    path = recording(folder)
    np.zeros(10_000, "<i2").tofile(path.with_suffix(".dat"))
    return path


@pytest.mark.parametrize(
    ("make", "part"),
    [(truncated_dat, "one.dat"), (truncated_mat, "S00001.mat"), (missing_signal, "one.dat"), (nonsense_header, "one.hea"), (flat, "")],
)
def test_a_damaged_recording_is_rejected_with_its_reason_by_every_command(
    world: World, tmp_path: Path, make: Callable[[Path, World], Path], part: str
):
    path = make(tmp_path / "mine", world)
    outcome = einthoven(["predict", str(world.folder / "diagnosis"), f"mine/{path.name}", "--out", "a.json"], tmp_path)
    assert outcome.code == 1 and outcome.err == ""
    (answer,) = json.loads((tmp_path / "a.json").read_text())
    assert "findings" not in answer and answer["reason"] and "\n" not in answer["reason"]
    assert part.split(".")[0] in answer["reason"] or part == path.name, answer
    if make is not flat:
        one_line(einthoven(f"show mine/{path.name}", tmp_path), path.stem)
    one_line(einthoven("ingest folder mine store -j 1", tmp_path), "none of the 1 recordings", path.name)
    rejected = (tmp_path / "store" / "rejected.csv").read_text().splitlines()
    assert len(rejected) == 2 and rejected[1].startswith(path.name) and not (tmp_path / "store" / "store.json").exists()
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("leads", [("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5"), ("II",), ("V9",)])
def test_fewer_leads_than_the_model_takes_are_answered_and_that_is_said(world: World, tmp_path: Path, leads: tuple[str, ...]):
    path = recording(tmp_path / "mine", leads=leads)
    outcome = einthoven(["predict", str(world.folder / "diagnosis"), str(path), "--out", "a.json", "--html", "a.html"], tmp_path)
    (answer,) = json.loads((tmp_path / "a.json").read_text())
    if leads == ("V9",):
        assert outcome.code == 1 and "findings" not in answer and "V9" in answer["reason"] + outcome.out
        return
    assert outcome.code == 0, outcome
    missing = "V6" if len(leads) == 11 else "V1 V2 V3 V4 V5 V6"
    said = [note for note in answer["notes"] if note.startswith("answered without")]
    assert len(said) == 1 and missing in said[0]
    assert "answered without" in " ".join(outcome.out.split())
    assert "answered without" in (tmp_path / "a.html").read_text()


# ---------------------------------------------------------------------------------------------------------------------- stores


@pytest.mark.parametrize(
    "words",
    [
        "store store",
        "evaluate diagnosis data=store",
        f"{PRETRAIN} run=new",
        f"{FINETUNE} run=new",
        "ingest physionet2021 corpus store -j 1",
    ],
)
def test_a_store_of_another_version_is_refused_by_every_command(own: Path, words: str):
    path = own / "store" / "store.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "version": 99}))
    one_line(einthoven(words, own), "store of version 99", "this einthoven reads version 1", "einthoven ingest")
    assert not (own / "new").exists()


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda store: (store / "store.json").write_text("{"), "store.json is damaged"),
        (lambda store: (store / "records.parquet").unlink(), "lacks its records.parquet"),
        (lambda store: (store / "records.parquet").write_bytes(b"PAR1 and no more"), "records.parquet"),
        (lambda store: (store / "shards" / "00000.npy").write_bytes(b""), "00000.npy has 0 bytes"),
        (lambda store: (store / "shards" / "00000.npy").unlink(), "lacks its shard 00000.npy"),
    ],
)
def test_a_damaged_store_is_refused(own: Path, damage: Callable[[Path], object], part: str):
    damage(own / "store")
    one_line(einthoven(f"{PRETRAIN} run=new", own), part)
    assert not (own / "new").exists()


def test_a_store_without_labels_cannot_be_fine_tuned_or_evaluated_on(own: Path):
    for number in range(8):
        recording(own / "mine")
        for suffix in (".hea", ".dat"):
            (own / "mine" / f"one{suffix}").rename(own / "mine" / f"r{number}{suffix}")
        path = own / "mine" / f"r{number}.hea"
        path.write_text(path.read_text().replace("one", f"r{number}"))
    assert einthoven("ingest folder mine plain -j 1", own).code == 0
    one_line(einthoven(SCRATCH.replace("data=store", "data=plain") + " batch=1", own), "plain has no labels", "labels.csv")
    one_line(einthoven("evaluate diagnosis data=plain split=all", own), "plain says nothing of the model's classes")
    assert not (own / "runs").exists()


# ---------------------------------------------------------------------------------------------------------------------- models


def rewrite(model: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change a model's tensors and make its SHA-256 right again."""
    state = load_file(model / "model.safetensors")
    change(state)
    save_file(state, model / "model.safetensors", {"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    config["files"]["model.safetensors"] = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    (model / "config.json").write_text(json.dumps(config))


def ask(run: str) -> list[str]:
    """The commands that read a model."""
    return [
        f"{SCRATCH} init={run} encoder=tiny",
        *([f"predict {run} {RECORDING} --out a.json", f"evaluate {run} data=store"] if run == "diagnosis" else []),
    ]


@pytest.mark.parametrize("run", ["pretrained", "diagnosis"])
@pytest.mark.parametrize("how", ["missing", "extra", "shape"])
def test_a_model_with_a_tensor_too_few_or_too_many_is_refused(own: Path, run: str, how: str):
    before = tree(own)
    name = ("encoder." if run == "diagnosis" else "") + "post_extract_proj.weight"

    def change(state: dict[str, torch.Tensor]) -> None:
        if how == "missing":
            del state[name]
        elif how == "shape":
            state[name] = torch.zeros(3, 3)
        else:
            state[("encoder." if run == "diagnosis" else "") + "stray"] = torch.zeros(3)

    rewrite(own / run / "model", change)
    said = {"missing": "1 missing", "extra": "1 unexpected", "shape": "1 of another shape"}[how]
    for words in ask(run):
        one_line(einthoven(words, own), run, said, "stray" if how == "extra" else "post_extract_proj.weight")
    assert tree(own) == before


@pytest.mark.parametrize("run", ["pretrained", "diagnosis"])
def test_a_flipped_bit_in_a_models_weights_is_noticed(own: Path, run: str):
    path = own / run / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    for words in ask(run):
        one_line(einthoven(words, own), "model.safetensors", "SHA-256")


def test_a_model_of_a_later_version_or_without_its_configuration_is_refused(own: Path):
    path = own / "diagnosis" / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "version": 99}))
    one_line(einthoven(f"predict diagnosis {RECORDING}", own), "version 99")
    path.write_text("{")
    one_line(einthoven(f"predict diagnosis {RECORDING}", own), "config.json", "JSON")
    shutil.rmtree(own / "diagnosis" / "model")
    one_line(einthoven(f"predict diagnosis {RECORDING}", own), "this run has no model yet", "einthoven resume diagnosis")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda state: state.pop("encoder.post_extract_proj.weight"), "post_extract_proj"),
        (lambda state: state.update(stray=torch.zeros(3)), "stray"),
    ],
)
def test_a_checkpoint_of_fairseq_signals_with_a_tensor_too_few_or_too_many_is_refused(own: Path, change: Callable, part: str):
    legacy_checkpoint(own / "old.pt", change)
    before = tree(own)
    for words in ("finetune diagnosis data=store init=old.pt steps=2 batch=4", f"predict old.pt {RECORDING}", "convert old.pt model"):
        one_line(einthoven(words, own), "old.pt", part)
    assert tree(own) == before


class Malice:
    """What a forged checkpoint would have executed."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_a_malicious_pickle_is_refused_and_nothing_of_it_is_executed(own: Path):
    command = f"touch {own / 'executed'}"
    forged = {
        "system": Malice(os.system, command),
        "exec": Malice(exec, f"open({str(own / 'executed')!r}, 'w')"),
        "eval": Malice(eval, f"open({str(own / 'executed')!r}, 'w')"),
        "deep": {"model": {"weight": torch.zeros(2)}, "cfg": [{"x": Malice(os.system, command)}]},
    }
    for name, content in forged.items():
        path = own / f"{name}.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/data.pkl", pickle.dumps({"model": content}, protocol=2))
        (own / f"{name}.pkl").write_bytes(pickle.dumps({"model": content}, protocol=4))
        for file in (f"{name}.pt", f"{name}.pkl"):
            for words in (f"{SCRATCH} init={file}", f"predict {file} {RECORDING}", f"evaluate {file} data=store", f"convert {file} model"):
                one_line(einthoven(words, own), file)
    assert not (own / "executed").exists() and not (own / "model").exists() and not (own / "runs").exists()
    pickle.loads(pickle.dumps(Malice(os.system, command)))  # the same bytes, believed, would have done it
    assert (own / "executed").exists()


# ----------------------------------------------------------------------------------------------------------------- checkpoints


def unfinished(own: Path) -> Path:
    """The pretraining run as it was before its last checkpoint became a model."""
    run = own / "pretrained"
    shutil.rmtree(run / "model")
    return run


FILES = ["weights.safetensors", "optimiser.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_the_last_checkpoint_is_passed_over_for_the_one_before(own: Path, world: World, name: str):
    run = unfinished(own)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-00000002", "step-00000004"}
    flip(run / "checkpoints" / "step-00000004" / name)
    outcome = einthoven("resume pretrained", own)
    assert outcome.code == 0, outcome.err
    assert "passing over a damaged checkpoint" in outcome.err and name in outcome.err
    whole = world.folder / "pretrained" / "model" / "model.safetensors"
    assert (run / "model" / "model.safetensors").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("how", ["missing", "extra"])
@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.safetensors"])
def test_a_checkpoint_with_a_tensor_too_few_or_too_many_does_not_become_a_model(own: Path, name: str, how: str):
    run = unfinished(own)
    folder = run / "checkpoints" / "step-00000002"
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    tensors = load_file(folder / name)
    if how == "missing":
        del tensors[next(key for key in tensors if "post_extract_proj.weight" in key)]
    else:
        tensors["stray"] = torch.zeros(3)
    save_file(tensors, folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())  # somebody who knows what he does has made the sums right again
    content = (folder / name).read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    one_line(einthoven("resume pretrained", own), "stray" if how == "extra" else "post_extract_proj.weight")
    assert not (run / "model").exists()


def test_where_no_checkpoint_is_left_whole_resume_says_so_and_makes_no_model(own: Path):
    run = unfinished(own)
    for name, step in zip(FILES, (2, 4), strict=False):
        flip(run / "checkpoints" / f"step-{step:08d}" / name)
    one_line(einthoven("resume pretrained", own), "every checkpoint in", "is damaged", "remove that folder to begin anew")
    assert not (run / "model").exists()


def test_a_run_that_begins_on_another_store_or_with_a_damaged_recipe_is_refused(own: Path):
    run = unfinished(own)
    assert einthoven("split store --seed 99", own).code == 0
    one_line(einthoven("resume pretrained", own), "not the store that pretrained began with")
    (run / "recipe.json").write_text("{")
    one_line(einthoven("resume pretrained", own), "recipe.json is damaged")
    assert not (run / "model").exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_full_disk_is_told_in_words_and_not_as_a_number():
    from einthoven.cli import explain

    assert explain(OSError(28, "No space left on device")) == "No space left on device; make room or mend it, and run the same again."
