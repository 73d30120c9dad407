"""The real method, tiny: W2V+CMSC with random lead masking crashes and goes on bit for bit, and runs in two processes as in one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_processes import losses
from test_resume import Crash, same_run
from toy_run import export, settings

from einthoven.augment.random_lead_mask import RandomLeadMask
from einthoven.models.ecg_transformer import ECGTransformer
from einthoven.objectives.w2v_cmsc import W2VCMSC
from einthoven.train.checkpoint import folder_name
from einthoven.train.loop import fit

SETTINGS = {"steps": 6, "batch": 4, "save_every": 2, "log_every": 1, "optim": {"lr": 1e-3}, "clip": 1.0}


class PairView:
    """Pairs of one-second, 12-lead segments, as the store's ``Pairs`` gives them; one crashes when told to."""

    def __init__(self, crash_at: int = -1):
        draw = np.random.default_rng(5)
        self.counts = draw.integers(-1000, 1000, (16, 2, 12, 500)).astype(np.int16)
        self.crash_at, self.n_asked = crash_at, 0

    def __len__(self):
        return 16

    def __getitems__(self, indices):
        if self.n_asked == self.crash_at:
            raise Crash
        self.n_asked += 1
        rows, n = np.asarray(indices), 2 * len(indices)
        return {
            "counts": self.counts[rows].reshape(n, 12, 500),
            "gain": np.full((n, 12), 0.001, np.float32),
            "offset": np.zeros((n, 12), np.float32),
            "n_valid": np.full(n, 500),
            "lead_present": np.ones((n, 12), bool),
            "patient": np.repeat(rows, 2),
            "record": np.repeat(rows, 2),
            "segment": np.tile([0, 1], len(rows)),
        }


def pretrain(folder: Path, view: PairView, resume: bool = False, dropout: float = 0.1, **changes) -> None:
    torch.manual_seed(2)
    encoder = ECGTransformer(
        dim=16, depth=1, heads=2, ffn=32, dropout=dropout, attention_dropout=0.0, activation_dropout=0.0, input_dropout=dropout
    )
    objective = W2VCMSC(encoder, latent_vars=8, final_dim=8, n_negatives=10, dropout_features=dropout)
    options = {"augment": (RandomLeadMask(p=0.5),), "export": export, "progress": False, "describe": {"name": "tiny"}, "resume": resume}
    fit(objective, view, settings(**SETTINGS, **changes), folder, **options)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_w2v_cmsc_rlm_that_crashed_goes_on_bit_for_bit(accumulate, tmp_path):
    pretrain(tmp_path / "straight", PairView(), accumulate=accumulate)
    with pytest.raises(Crash):
        pretrain(tmp_path / "cut", PairView(crash_at=5 * accumulate), accumulate=accumulate)
    assert not (tmp_path / "cut" / "checkpoints" / folder_name(6)).exists()
    pretrain(tmp_path / "cut", PairView(), resume=True, accumulate=accumulate)
    same_run(tmp_path / "straight", tmp_path / "cut", step=6)


@pytest.mark.slow
def test_w2v_cmsc_rlm_in_two_processes_has_the_loss_curve_of_one(tmp_path):
    pretrain(tmp_path / "one", PairView(), dropout=0.0)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=None)
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 6
    np.testing.assert_allclose(two, one, rtol=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    pretrain(Path(sys.argv[1]), PairView(), dropout=0.0)
