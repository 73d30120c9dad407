"""The stages org, preprocessed and segmented of fairseq-signals from the raw files, through LEGACY_ZSCORE."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from parity_cases import ROOT

from einthoven import sources
from einthoven.leads import TWELVE, select
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.signal.resample import resample
from einthoven.signal.scale import moments

CASE = ROOT / "fairseq_signals" / "preprocess_pipeline"
RAW = ROOT / "fairseq_signals" / "preprocess_physionet2021_old" / "raw"


def variants() -> list:
    if not (CASE / "expected").is_dir():
        return [
            pytest.param(
                "",
                "",
                id="preprocess_pipeline",
                marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")],
            )
        ]
    options = dict(re.findall(r"^- `(\w+)`: options `([^`]*)`", (CASE / "README.md").read_text(), flags=re.MULTILINE))
    return [
        pytest.param(path.name, options.get(path.name, ""), id=path.name, marks=pytest.mark.parity)
        for path in sorted((CASE / "expected").iterdir())
    ]


def option(text: str, name: str, default: str) -> str:
    found = re.search(rf"--{name} (\S+)", text)
    return found[1] if found else default


@pytest.mark.parametrize(("variant", "options"), variants())
def test_every_stage_is_that_of_the_old_pipeline(variant, options):
    leads = tuple(
        TWELVE[index] for index in sorted(int(text) for text in option(options, "leads", ",".join(map(str, range(12)))).split(","))
    )
    fs, seconds = float(option(options, "desired_sample_rate", "500")), float(option(options, "segment_seconds", "5"))
    contract = replace(LEGACY_ZSCORE, leads=leads, fs=fs, seconds=seconds)
    root = CASE / "expected" / variant
    records = {
        "_".join(ref.path.relative_to(RAW).with_suffix("").parts): sources.read(ref)
        for ref in sources.SOURCES["physionet2021"].records(RAW)
    }
    compared = 0
    for path in sorted(root.rglob("*.npz")):
        stage, name = path.parent.name, path.stem.removeprefix("physionet2021_")
        with np.load(path, allow_pickle=False) as golden:
            segment = int(golden["segment_i"].item()) if stage == "segmented" else None
            record = records[name if segment is None else name.removesuffix(f"_{segment}")]
            signal = select(record.signal, record.leads, leads, derive=False)
            if stage == "org":
                np.testing.assert_allclose(signal, golden["feats_float32"], atol=1e-6)
                assert golden["org_sample_rate"].item() == record.fs and golden["org_sample_size"].item() == record.signal.shape[1]
            elif stage in ("preprocessed", "segmented"):
                prepared = contract.apply(record)
                ours = prepared.signal if segment is None else contract.windows(prepared).signal[segment]
                np.testing.assert_allclose(ours, golden["feats_float32"], atol=1e-5)
                mean, sd = moments(resample(signal, record.fs, fs, contract.resampling))
                np.testing.assert_allclose(
                    np.stack([mean, sd]), np.stack([golden["mean"].reshape(-1), golden["std"].reshape(-1)]), rtol=1e-5, atol=1e-6
                )
                assert golden["curr_sample_rate"].item() == fs and golden["curr_sample_size"].item() == ours.shape[1]
            else:
                pytest.xfail(f"a stage that no test knows: {stage}")
        compared += 1
    assert compared
