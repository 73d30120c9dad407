"""scaling=corpus: one mean and SD per lead, the same in pretraining, fine-tuning and when a file is asked about."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import einthoven

from einthoven.infer.model import Model
from einthoven.ingest.run import ingest
from einthoven.recipes.build import corpus_statistics
from einthoven.simulate.corpus import write_corpus
from einthoven.store.read import Store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two small stores of different persons."""
    folder = tmp_path_factory.mktemp("scaling")
    for seed in (1, 2):
        write_corpus(folder / f"corpus{seed}", records=12, patients=8, seed=seed)
        ingest("physionet2021", folder / f"corpus{seed}", folder / f"store{seed}", workers=1)
    return folder


def test_the_statistics_are_those_of_all_samples_of_the_rows(stores):
    store = Store(stores / "store1")
    rows = np.array([0, 3, 5])
    mean, sd = corpus_statistics(store, rows, ("II", "V2"))
    for lead, m, s in zip(("II", "V2"), mean, sd, strict=True):
        samples = np.concatenate([store.record(row).signal[store.record(row).leads.index(lead)].astype(np.float64) for row in rows])
        assert m == pytest.approx(samples.mean(), abs=1e-5)
        assert s == pytest.approx(samples.std(), rel=1e-5)


def test_fine_tuning_takes_the_statistics_that_its_encoder_was_trained_with(stores):
    common = "encoder=tiny steps=2 scaling=corpus split=all"
    assert einthoven(f"pretrain w2v data=store1 run=pre {common} batch=4", stores).code == 0
    assert einthoven("finetune diagnosis data=store2 init=pre run=fine steps=2 scaling=corpus split=all batch=4", stores).code == 0
    first, second = (json.loads((stores / run / "model" / "config.json").read_text())["contract"] for run in ("pre", "fine"))
    assert (first["mean"], first["std"]) == (second["mean"], second["std"])
    own, _ = corpus_statistics(Store(stores / "store2"), np.arange(12), tuple(first["leads"]))
    assert first["mean"] != list(own)
    record = Store(stores / "store2").record(0)
    prepared = Model.from_pretrained(stores / "fine").contract.apply(record)
    expected = (record.signal[0] - first["mean"][0]) / first["std"][0]
    np.testing.assert_allclose(prepared.signal[0], expected, atol=1e-5)
