"""Record-wise preprocessing of fairseq-signals (mV, linear resampling, windows) from the raw files, through LEGACY_MV."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from parity_cases import ROOT

from einthoven import sources
from einthoven.leads import TWELVE
from einthoven.signal.contract import LEGACY_MV
from einthoven.sources.vocabulary import CLASSES, targets

CASE = ROOT / "fairseq_signals" / "preprocess_physionet2021_old"


def variants() -> list:
    """(variant, options) from the README's list and the folders that are there."""
    if not (CASE / "expected").is_dir():
        return [
            pytest.param(
                "",
                "",
                id="preprocess_physionet2021_old",
                marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")],
            )
        ]
    options = dict(re.findall(r"^- `(\w+)`: options `([^`]*)`", (CASE / "README.md").read_text(), flags=re.MULTILINE))
    folders = sorted(path.name for path in (CASE / "expected").iterdir() if path.is_dir() and path.name != "as_written")
    return [pytest.param(name, options.get(name, ""), id=name, marks=pytest.mark.parity) for name in folders]


def option(text: str, name: str, default: str) -> str:
    found = re.search(rf"--{name} (\S+)", text)
    return found[1] if found else default


@pytest.mark.parametrize(("variant", "options"), variants())
def test_segments_and_labels_are_those_of_the_old_preprocessing(variant, options):
    leads = [TWELVE[int(index)] for index in option(options, "leads", ",".join(map(str, range(12)))).split(",")]
    contract = replace(
        LEGACY_MV, leads=tuple(leads), fs=float(option(options, "sample-rate", "500")), seconds=float(option(options, "sec", "5"))
    )
    refs = {ref.record: ref for ref in sources.SOURCES["physionet2021"].records(CASE / "raw")}
    expected = sorted((CASE / "expected" / variant).rglob("*.npz"))
    assert expected
    for path in expected:
        name, _, segment = path.stem.rpartition("_")
        ref = refs[name]
        assert ref.meta["dataset"] == path.parent.name
        with np.load(path, allow_pickle=False) as golden:
            windows = contract.windows(contract.apply(sources.read(ref)))
            np.testing.assert_allclose(windows.signal[int(segment)], golden["feats_float32"], atol=1e-6)
            assert contract.fs == golden["curr_sample_rate"].item()
            np.testing.assert_array_equal(targets(ref.labels, ref.label_system, CLASSES["cinc2021"]), golden["label"].reshape(-1))


@pytest.mark.parity
def test_the_file_as_it_was_written_is_read_as_the_window_of_the_record(parity_root):
    paths = sorted(Path(CASE / "expected" / "as_written").glob("*.mat"))
    if not paths:
        pytest.skip("no file as written here")
    refs = {ref.record: ref for ref in sources.SOURCES["physionet2021"].records(CASE / "raw")}
    for path in paths:
        name, _, segment = path.stem.rpartition("_")
        written = sources.read(sources.RecordRef(path, path.stem))
        windows = LEGACY_MV.windows(LEGACY_MV.apply(sources.read(refs[name])))
        np.testing.assert_allclose(written.signal, windows.signal[int(segment)], atol=1e-6)
        assert written.fs == 500 and written.leads == TWELVE
