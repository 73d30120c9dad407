"""The Challenge 2020: the folders that its archives make, under one name for each set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import EinthovenError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import SOURCES, cinc2020
from einthoven.store.read import Store


def write(path: Path, fs: float = 500, dx: str = "426783006") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(list(path.name.encode())).integers(-500, 500, (12, int(4 * fs)))
    path.with_suffix(".mat").write_bytes(bytes(24) + counts.T.astype("<i2").tobytes())
    lines = [f"{path.name} 12 {fs} {counts.shape[1]}"]
    lines += [f"{path.name}.mat 16+24 1000/mV 16 0 {row[0]} 0 0 {lead}" for lead, row in zip(TWELVE, counts)]
    path.with_suffix(".hea").write_text("\n".join([*lines, "#Age: 60", "#Sex: F", f"#Dx: {dx}"]) + "\n")


@pytest.fixture
def challenge(tmp_path) -> Path:
    for place, fs in (
        ("Training_WFDB/A0001", 500),
        ("ICBEB2018_2/Q0001", 500),
        ("INCART/I0001", 257),
        ("WFDB/HR00001", 500),
        ("Mine/X1", 500),
    ):
        write(tmp_path / "raw" / place, fs)
    return tmp_path / "raw"


def test_a_set_has_one_name_whatever_its_folder_is_called(challenge):
    refs = {ref.record: ref for ref in SOURCES["cinc2020"].records(challenge)}
    assert {name: ref.meta["dataset"] for name, ref in refs.items()} == {
        "A0001": "cpsc_2018",
        "Q0001": "cpsc_2018_extra",
        "I0001": "st_petersburg_incart",
        "HR00001": "ptb-xl",
        "X1": "Mine",
    }
    assert refs["A0001"].labels == {"426783006": 1.0} and refs["A0001"].meta["sex"] == "female"
    assert all(name in cinc2020.DATASETS for name in cinc2020.FOLDERS.values())
    assert sum(facts.records for facts in cinc2020.DATASETS.values()) == cinc2020.FACTS.records


def test_sets_are_chosen_by_either_name_and_a_wrong_one_is_refused(challenge):
    for subset in (["cpsc_2018", "INCART"], ["Training_WFDB", "st_petersburg_incart"]):
        assert [ref.record for ref in cinc2020.records(challenge, subset=subset)] == ["I0001", "A0001"]
    with pytest.raises(EinthovenError, match="no set gorgia") as error:
        list(cinc2020.records(challenge, subset=["gorgia"]))
    assert "Mine" in str(error.value) and "\n" not in str(error.value)


def test_it_goes_through_ingest_with_its_sets(challenge, tmp_path):
    summary = ingest(
        "cinc2020", challenge, tmp_path / "store", fs=100, resampling="image", workers=1, source_options={"subset": ("cpsc_2018", "incart")}
    )
    assert (summary.n_records, summary.n_rejected) == (2, 0)
    store = Store(tmp_path / "store")
    assert sorted(store[row]["meta"]["dataset"] for row in range(2)) == ["cpsc_2018", "st_petersburg_incart"]
    with pytest.raises(EinthovenError, match="no set georgia"):
        ingest("cinc2020", challenge, tmp_path / "other", workers=1, source_options={"subset": ("georgia",)})
