"""A model answers what its module answers, by the laws of its contract; and one bad file does not stop the others."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from einthoven.errors import CheckpointError, ContractError, FormatError, RecipeError
from einthoven.infer.files import predict_files, write_csv, write_json
from einthoven.infer.model import Model
from einthoven.infer.prediction import aggregate
from einthoven.leads import TWELVE, from_vcg
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.folder import describe, save_model
from einthoven.record import Record
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.tasks import Diagnosis
from einthoven.train.distributed import choose_device

CLASSES = [
    {"name": "atrial fibrillation", "codes": ["164889003"], "system": "SNOMED CT"},
    {"name": "left bundle branch block", "codes": ["733534002", "164909002"], "system": "SNOMED CT"},
    {"name": "own finding", "codes": []},
]
CONTRACT = replace(LEGACY_ZSCORE, seconds=1.0)


def heart(seconds=3.0, fs=500.0, seed=0, **changes):
    """A smooth, beating dipole: twelve leads in mV that obey the limb-lead laws."""
    time = np.arange(round(seconds * fs)) / fs
    generator = np.random.default_rng(seed)
    vcg = np.zeros((3, len(time)))
    for beat in np.arange(0.3, seconds + 1, 0.8 + 0.05 * seed):
        for centre, width, size in ((-0.16, 0.03, 0.15), (0.0, 0.015, 1.2), (0.25, 0.06, 0.3)):
            vcg += size * generator.normal(1, 0.2, size=(3, 1)) * np.exp(-(((time - beat - centre) / width) ** 2))
    return Record(**{"signal": from_vcg(vcg), "fs": fs, "leads": TWELVE, "record": f"r{seed}", **changes})


def tiny(tmp_path, name="model", thresholds=(0.4, 0.5, 0.6), aggregation=("mean", "max", "mean"), contract=CONTRACT, **sizes):
    torch.manual_seed(0)
    task = Diagnosis(ECGTransformer(**{**SIZES["tiny"], **sizes}), [one["name"] for one in CLASSES])
    torch.nn.init.normal_(task.proj.weight, std=1.0)
    config = describe(task.encoder, contract, task=task, classes=CLASSES, thresholds=thresholds, aggregation=aggregation)
    save_model(tmp_path / name, task.state_dict(), config)
    return Model.from_pretrained(tmp_path / name), task.eval()


def test_the_answer_is_the_modules_for_the_windows_put_together_as_the_configuration_says(tmp_path):
    model, task = tiny(tmp_path)
    record = heart()
    scaled = (record.signal - record.signal.mean(axis=1, keepdims=True)) / record.signal.std(axis=1, keepdims=True)
    windows = torch.from_numpy(np.stack(np.split(scaled, 3, axis=1)))
    expected = task.predict({"ecg": windows}).numpy()
    found = model.predict(record)
    np.testing.assert_allclose(found.window_probability, expected, atol=2e-6)
    whole = [one.probability for one in found.findings]
    np.testing.assert_allclose(whole, [expected[:, 0].mean(), expected[:, 1].max(), expected[:, 2].mean()], atol=2e-6)
    assert [one.threshold for one in found.findings] == [0.4, 0.5, 0.6]
    assert [one.positive for one in found.findings] == [p > t for p, t in zip(whole, (0.4, 0.5, 0.6))]
    assert found["164909002"] is found["left bundle branch block"] and found.n_windows == 3
    assert [one.probability for one in found.positive] == sorted((one.probability for one in found.positive), reverse=True)
    with pytest.raises(KeyError, match="own finding"):
        found["sinus"]


def test_lead_order_amplitude_and_rate_do_not_change_the_answer(tmp_path):
    model, _ = tiny(tmp_path)
    record = heart()
    plain = model.predict(record).window_probability
    order = np.random.default_rng(0).permutation(12)
    turned = Record(record.signal[order], record.fs, tuple(TWELVE[i] for i in order))
    np.testing.assert_array_equal(model.predict(turned).window_probability, plain)
    np.testing.assert_allclose(model.predict(replace(record, signal=3 * record.signal)).window_probability, plain, atol=1e-4)
    fast = model.predict(heart(fs=1000.0))
    np.testing.assert_allclose(fast.window_probability, plain, atol=0.02)
    assert any("1000 to 500 Hz" in step for step in fast.steps)


def test_eight_leads_answer_as_twelve_since_the_other_four_follow_and_that_is_said(tmp_path):
    model, _ = tiny(tmp_path)
    record = heart()
    keep = [TWELVE.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
    eight = model.predict(Record(record.signal[keep], 500, [TWELVE[i] for i in keep]))
    np.testing.assert_allclose(eight.window_probability, model.predict(record).window_probability, atol=1e-4)
    assert any("derived III aVR aVL aVF" in step for step in eight.steps)


def test_missing_leads_are_answered_and_said_or_refused_by_the_contracts_rule(tmp_path):
    model, _ = tiny(tmp_path)
    record = heart()
    one = Record(record.signal[1:2], 500, ["II"])
    found = model.predict(one)
    assert any("answered without I III aVR" in note for note in found.notes)
    strict, _ = tiny(tmp_path, "strict", contract=replace(CONTRACT, missing="refuse"))
    with pytest.raises(ContractError, match="lacks"):
        strict.predict(one)
    with pytest.raises(ContractError, match="none of the leads"):
        model.predict(Record(record.signal[:1], 500, ["MLII"]))


def test_what_cannot_be_an_ecg_is_refused_with_the_reason(tmp_path):
    model, _ = tiny(tmp_path)
    record = heart()
    for signal in (0 * record.signal, record.signal[:, :50], np.full_like(record.signal, np.nan)):
        with pytest.raises(ContractError, match="r0: "):
            model.predict(replace(record, signal=signal))
    (tmp_path / "x.txt").write_text("no ECG")
    with pytest.raises(FormatError):
        model.predict(tmp_path / "x.txt")


def test_doubts_about_the_recording_stand_beside_the_answer(tmp_path):
    model, _ = tiny(tmp_path)
    record = heart(2.5)
    assert any("last 0.5 s were not used" in note for note in model.predict(record).notes)
    swapped = record.signal.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert any("limb leads contradict" in note for note in model.predict(replace(record, signal=swapped)).notes)
    flat = record.signal.copy()
    flat[7] = 0.25
    assert any("flat: V2" in note for note in model.predict(replace(record, signal=flat)).notes)
    long, _ = tiny(tmp_path, "long", contract=replace(CONTRACT, seconds=5.0))
    short = long.predict(record)
    assert any("only 2.5 s long, padded to the 5 s" in note for note in short.notes) and short.n_windows == 1


def test_a_padded_record_answers_as_the_same_record_alone_where_the_encoder_keeps_padding_out(tmp_path):
    long, task = tiny(tmp_path, contract=replace(CONTRACT, seconds=5.0), ignore_padding=True)
    record = heart(2.56)
    scaled = (record.signal - record.signal.mean(axis=1, keepdims=True)) / record.signal.std(axis=1, keepdims=True)
    expected = task.predict({"ecg": torch.from_numpy(scaled)[None]}).numpy()
    np.testing.assert_allclose(long.predict(record).window_probability, expected, atol=1e-4)
    frames = long.frames(record)
    assert frames.shape == (1, 156, 64) and np.isnan(frames[0, 80:]).all() and np.isfinite(frames[0, :80]).all()


def test_many_recordings_answer_as_each_alone_whatever_the_batch(tmp_path):
    model, _ = tiny(tmp_path)
    records = [heart(1.0 + i, seed=i) for i in range(4)]
    alone = [model.predict(record).window_probability for record in records]
    for batch in (1, 3, 64):
        for ours, theirs in zip(model.predict_many(records, batch), alone, strict=True):
            np.testing.assert_allclose(ours.window_probability, theirs, atol=1e-5)


def test_a_model_without_thresholds_says_that_half_is_not_calibrated(tmp_path):
    model, _ = tiny(tmp_path, thresholds=None)
    found = model.predict(heart())
    assert {one.threshold for one in found.findings} == {0.5} and any("not calibrated" in note for note in found.notes)
    assert not any("calibrated" in note for note in tiny(tmp_path, "other")[0].predict(heart()).notes)


def test_embeddings_are_the_mean_over_frames_and_windows(tmp_path):
    model, _ = tiny(tmp_path)
    record = heart()
    frames = model.frames(record)
    assert frames.shape == (3, 31, 64) and model.embed(record).shape == (64,)
    np.testing.assert_allclose(model.embed(record), frames.mean(axis=(0, 1)), atol=1e-5)
    assert np.linalg.norm(model.embed(record) - model.embed(heart(seed=3))) > 1e-3


def test_an_encoder_embeds_and_says_that_it_must_be_fine_tuned_to_answer(tmp_path):
    encoder = ECGTransformer(**SIZES["tiny"]).eval()
    save_model(tmp_path / "e", encoder.state_dict(), describe(encoder, CONTRACT))
    model = Model.from_pretrained(tmp_path / "e")
    np.testing.assert_allclose(model.embed(heart()), model.frames(heart()).mean(axis=(0, 1)), atol=1e-5)
    for ask in (lambda: model.predict(heart()), lambda: predict_files(model, [])):
        with pytest.raises(CheckpointError, match="fine-tune it first: einthoven finetune diagnosis init="):
            ask()


def test_aggregation_is_per_class():
    windows = np.array([[0.1, 0.2], [0.3, 0.8]])
    np.testing.assert_allclose(aggregate(windows, ["mean", "max"]), [0.2, 0.8])


def test_a_device_that_is_not_there_is_named():
    assert choose_device("cpu").type == "cpu" and choose_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "toaster"):
        with pytest.raises(RecipeError, match=f"device={name}"):
            choose_device(name)


def write_wfdb(folder, record):
    import wfdb

    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        record.record, fs=record.fs, units=["mV"] * 12, sig_name=list(record.leads), p_signal=record.signal.T.astype(float),
        fmt=["16"] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
    )  # fmt: skip
    return folder / f"{record.record}.hea"


@pytest.fixture
def corpus(tmp_path):
    """Three recordings, of which one is cut short, and a file that is none."""
    folder = tmp_path / "ecgs"
    for seed in range(3):
        write_wfdb(folder, heart(seed=seed))
    signal = folder / "r1.dat"
    signal.write_bytes(signal.read_bytes()[:1000])
    (folder / "notes.txt").write_text("not an ECG")
    return folder


def test_a_bad_file_gets_its_reason_and_the_others_their_answers(tmp_path, corpus):
    model, _ = tiny(tmp_path)
    calls = []
    paths = [corpus / "r0.hea", corpus / "r1.hea", corpus / "r2", corpus / "none.hea"]
    answers = predict_files(model, paths, lambda done, total: calls.append((done, total)))
    assert [answer["file"] for answer in answers] == [str(path) for path in paths]
    assert ["reason" in answer for answer in answers] == [False, True, False, True]
    assert calls[-1] == (4, 4) and [done for done, _ in calls] == sorted(done for done, _ in calls)
    expected = model.predict(corpus / "r0.hea").to_dict()
    assert answers[0]["record"] == expected["record"]
    for ours, theirs in zip(answers[0]["findings"], expected["findings"], strict=True):
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


def test_a_folder_stands_for_every_recording_in_it(tmp_path, corpus):
    model, _ = tiny(tmp_path)
    answers = predict_files(model, [corpus])
    assert sum("findings" in answer for answer in answers) == 2
    reasons = {answer["file"].rsplit("/", 1)[-1]: answer["reason"] for answer in answers if "reason" in answer}
    assert set(reasons) == {"r1.hea", "notes.txt"} and all(reasons.values())
    (tmp_path / "empty").mkdir()
    assert "empty" in predict_files(model, [tmp_path / "empty"])[0]["reason"]


def test_answers_are_written_as_json_and_csv_with_name_code_probability_and_threshold(tmp_path, corpus):
    model, _ = tiny(tmp_path)
    answers = predict_files(model, [corpus / "r0.hea", corpus / "r1.hea"])
    write_json(tmp_path / "out" / "a.json", answers)
    good, bad = json.loads((tmp_path / "out" / "a.json").read_text())
    assert {"file", "model", "findings"} <= set(good) and good["model"] == str(tmp_path / "model")
    assert [one["code"] for one in good["findings"]] == ["164889003", "733534002|164909002", None]
    assert all({"name", "code", "probability", "threshold"} <= set(one) for one in good["findings"])
    assert set(bad) == {"file", "model", "reason"}
    write_csv(tmp_path / "out" / "a.csv", answers)
    rows = list(csv.DictReader((tmp_path / "out" / "a.csv").open()))
    assert [row["name"] for row in rows] == [*(one["name"] for one in CLASSES), ""] and rows[3]["reason"] == bad["reason"]
    assert float(rows[0]["probability"]) == pytest.approx(good["findings"][0]["probability"], rel=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.csv", "a.json"]


def test_a_fairseq_signals_file_answers_without_being_converted_on_disk(tmp_path):
    from collections import OrderedDict

    task = Diagnosis(ECGTransformer(**SIZES["tiny"]), ["a", "b", "c"])
    cfg = {
        "_name": "ecg_transformer_classifier", "encoder_attention_heads": 4, "conv_feature_layers": "[(32, 2, 2)] * 4", "conv_pos": 16, "conv_pos_groups": 4,
    }  # fmt: skip
    torch.save({"cfg": {"model": cfg}, "model": OrderedDict(task.state_dict())}, tmp_path / "a.pt")
    model = Model.from_pretrained(tmp_path / "a.pt")
    assert model.contract == LEGACY_ZSCORE and [one.name for one in model.predict(heart(10.0)).findings] == [
        "class_00",
        "class_01",
        "class_02",
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.pt"]


def test_weights_that_are_not_finite_are_no_answer(tmp_path):
    model, _ = tiny(tmp_path)
    model.module.proj.bias.data[0] = torch.nan
    with pytest.raises(CheckpointError, match="answers NaN to r0"):
        model.predict(heart())


def test_a_file_of_many_recordings_is_answered_for_each_of_them(tmp_path):
    import h5py

    model, _ = tiny(tmp_path)
    hearts = [heart(seconds=10.24, fs=400.0, seed=seed) for seed in (1, 2)]
    (tmp_path / "many").mkdir()
    with h5py.File(tmp_path / "many" / "all.hdf5", "w") as file:  # as CODE-15 % has them: 4,096 samples at 400 Hz, mV
        file["tracings"] = np.stack([one.signal.T for one in hearts])
        file["exam_id"] = [70, 80]
    named, found = predict_files(model, [tmp_path / "many" / "all.hdf5"]), predict_files(model, [tmp_path / "many"])
    assert [answer["which"] for answer in named] == [answer["which"] for answer in found] and len(named) == 2
    for answer, one in zip(named, hearts):
        alone = [finding.probability for finding in model.predict(one).findings]
        np.testing.assert_allclose([finding["probability"] for finding in answer["findings"]], alone, atol=1e-5)
