"""The examples run as they stand, and say what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "read_a_recording.py": ["Record(S00001", "(12, 5000) float32", "drawn"],
    "look_into_a_store.py": ["60 recordings: 59 stored, 1 rejected", "shared: 0", "a batch is (4, 12, 2500)", "windows: [0, 1, 0, 1]"],
    "pretrain_and_finetune.py": ["w2v_cmsc tiny ['random_lead_mask']", "is finished; its model is in", "macro AUROC"],
    "compare_methods.py": ["simclr", "random encoder", "from scratch", "report: ", "the same table: True"],
    "identify_persons.py": [
        "40 probes of 25 persons against 25 recordings enrolled",
        "is enrolled",
        "rank_1",
        "by chance rank 1 is 0.0400",
    ],
    "ask_a_model.py": ["Model(", "one lead: answered without", "refused: ", "'answered', 'answered', 'answered', 'no such file"],
}


def run(words: list[str], tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def test_every_example_is_tried():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_runs_by_itself(name: str, tmp_path: Path):
    done = run([sys.executable, "-W", "error::RuntimeWarning", str(EXAMPLES / name)], tmp_path)
    assert done.returncode == 0, done.stderr
    for part in SAID[name]:
        assert part in done.stdout, (part, done.stdout)


@pytest.mark.data
@pytest.mark.long
def test_the_whole_path_on_real_recordings(data_root: Path, tmp_path: Path):
    script = Path(sys.executable).with_name("einthoven")
    environment = {"EINTHOVEN": str(script), "STEPS": "4", "EPOCHS": "1"}
    done = run(["bash", str(EXAMPLES / "real_data.sh"), str(data_root), "out"], tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    for part in ("ptb-xl", "cinc2021"):
        assert (tmp_path / "out" / f"diagnosis-{part}" / "model" / "config.json").exists()
        assert (tmp_path / "out" / f"{part}.json").exists() and (tmp_path / "out" / f"{part}.html").exists()
    rejected = (tmp_path / "out" / "store-code15-wfdb" / "rejected.csv").read_text()
    assert "9190_all_data_is_zero" in rejected and "9190_low_sample_rate" in rejected

    again = run(["bash", str(EXAMPLES / "real_data.sh"), str(data_root), "out"], tmp_path, **environment)
    assert again.returncode == 0 and "was there already" in again.stdout and again.stdout.count(" is there") == 4
