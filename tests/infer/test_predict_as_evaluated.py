"""A file is answered as the same recording in a store: training, evaluation and use see one signal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import wfdb

from einthoven.errors import ContractError, EinthovenError
from einthoven.infer.evaluate import answers, otherwise
from einthoven.infer.model import Model
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.folder import describe
from einthoven.record import Record
from einthoven.signal.contract import SignalContract
from einthoven.store.read import Store
from einthoven.tasks import Diagnosis

LEADS = {"one_lead": ["II"], "four_leads": ["I", "II", "V1", "V2"]}


def recordings() -> dict[str, tuple[np.ndarray, float]]:
    """(time, lead) in mV and rate: lengths, rates, leads and gaps as they are met."""
    draw = np.random.default_rng(0)

    def beats(seconds, fs=500.0, n_leads=12):
        time = np.arange(round(seconds * fs)) / fs
        one = np.exp(-(((time % 0.8) - 0.3) ** 2) / 0.0004) + 0.2 * np.sin(2 * np.pi * 1.1 * time)
        return (draw.normal(size=(n_leads, 1)) * one + 0.02 * draw.normal(size=(n_leads, len(time)))).T, fs

    made = {"ten": beats(10), "seven": beats(7), "twenty_three": beats(23), "at_400": beats(10, 400.0), "at_257": beats(12, 257.0)}
    made |= {"one_lead": beats(10, n_leads=1), "four_leads": beats(10, n_leads=4), "flat": beats(10)}
    made["flat"][0][:, 3] = 0.1
    for name, lead, start, stop in (("long_gap", 7, 1000, 1500), ("limb_gap", 5, 1000, 1500), ("short_gap", 7, 1000, 1040)):
        made[name] = beats(10)
        made[name][0][start:stop, lead] = np.nan
    made["nothing_at_first"] = beats(12)
    made["nothing_at_first"][0][:700] = np.nan
    made["gap_at_400"] = beats(10, 400.0)
    made["gap_at_400"][0][500:530, 8] = np.nan
    return made


@pytest.mark.parametrize("scaling", ["record_zscore", "none"])
def test_a_file_is_answered_as_the_same_recording_in_a_store(scaling, tmp_path):
    (tmp_path / "files").mkdir()
    for name, (signal, fs) in recordings().items():
        leads = LEADS.get(name, list(TWELVE))
        # Fine steps, so that the two differ by the store's rounding alone.
        wfdb.wrsamp(name, fs=fs, units=["mV"] * len(leads), sig_name=leads, p_signal=signal, fmt=["32"] * len(leads),
                    adc_gain=[1e5] * len(leads), baseline=[0] * len(leads), write_dir=str(tmp_path / "files"))  # fmt: skip
    ingest("folder", tmp_path / "files", tmp_path / "store", workers=1)
    store = Store(tmp_path / "store")
    assert len(store) == len(recordings())
    torch.manual_seed(0)
    task = Diagnosis(ECGTransformer(**SIZES["tiny"]), ["a", "b", "c"])
    torch.nn.init.normal_(task.proj.weight, std=1.0)
    classes = [{"name": name, "codes": [name], "system": "SNOMED CT"} for name in "abc"]
    model = Model(task, describe(task.encoder, SignalContract(scaling=scaling), task=task, classes=classes))
    probability, _, rows = answers(model, store, np.arange(len(store)), batch=5)
    for row, expected in zip(rows, probability, strict=True):
        name = store.column("record")[row]
        found = [finding.probability for finding in model.predict(tmp_path / "files" / f"{name}.hea").findings]
        np.testing.assert_allclose(found, expected, atol=0.01, err_msg=name)


def test_a_store_that_was_prepared_otherwise_than_the_model_would_is_said_or_refused(tmp_path):
    (tmp_path / "files").mkdir()
    for name, fs in (("one", 500), ("other", 400)):
        wfdb.wrsamp(name, fs=fs, units=["mV"], sig_name=["II"], p_signal=recordings()["one_lead"][0], fmt=["16"],
                    write_dir=str(tmp_path / "files"))  # fmt: skip
    ingest("folder", tmp_path / "files", tmp_path / "store", workers=1)
    store, task = Store(tmp_path / "store"), Diagnosis(ECGTransformer(**SIZES["tiny"]), ["a"])

    def model(**changes):
        classes = [{"name": "a", "codes": ["1"], "system": "SNOMED CT"}]
        return Model(task, describe(task.encoder, SignalContract(**changes), task=task, classes=classes))

    assert otherwise(model(), store, np.arange(2)) == {}
    assert otherwise(model(resampling="linear"), store, np.arange(2))["resampling"].startswith("1 recordings were resampled by polyphase")
    with pytest.raises(EinthovenError, match="takes signals in uV, a store gives mV"):
        answers(model(unit="uV"), store, np.arange(2))


def test_what_was_missing_is_said_and_a_record_of_gaps_alone_is_refused():
    signal, fs = recordings()["long_gap"]
    model = Model(ECGTransformer(**SIZES["tiny"]), describe(ECGTransformer(**SIZES["tiny"]), SignalContract()))
    ready = model.prepare(Record(signal.T, fs, TWELVE, record="r"))
    assert ready.steps[0] == "left out V2: a gap longer than 0.2 s" and ready.lead_present.tolist() == [lead != "V2" for lead in TWELVE]
    assert any("answered without V2" in note for note in ready.notes)
    signal[1000:1500] = np.nan
    with pytest.raises(ContractError, match=r"r: no lead without a gap longer than 0.2 s"):
        model.prepare(Record(signal.T, fs, TWELVE, record="r"))
