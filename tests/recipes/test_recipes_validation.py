"""What fine-tuning's validation is made of, against plain sums over all windows."""

from __future__ import annotations

import numpy as np
import torch

from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives.step import Moment
from einthoven.recipes.run import mean_parts
from einthoven.tasks import Diagnosis
from einthoven.train.data import in_order

N = 5


class Windows:
    """Five windows of noise with labels of two classes, some unknown."""

    def __len__(self):
        return N

    def __getitems__(self, indices):
        draw, n = np.random.default_rng(5), len(indices)
        counts = draw.integers(-900, 900, size=(N, 12, 320)).astype(np.int16)[indices]
        label = np.array([[0, 1], [1, np.nan], [0, 0], [np.nan, 1], [1, 0]], dtype=np.float32)[indices]
        whole = {"n_valid": np.full(n, 320), "lead_present": np.ones((n, 12), bool), "record": np.array(indices), "label": label}
        return {"counts": counts, "gain": np.full((n, 12), 0.001, np.float32), "offset": np.zeros((n, 12), np.float32), **whole}


def test_the_validation_loss_counts_every_known_label_however_the_windows_fall_into_batches():
    torch.manual_seed(0)
    task = Diagnosis(ECGTransformer(**SIZES["tiny"]), ["a", "b"]).eval()
    torch.nn.init.normal_(task.proj.weight, std=1.0)
    with torch.no_grad():
        everything = float(task(next(in_order(Windows(), N)), Moment()).loss)
        # In batches of 2 the last one is a single window.
        found = [mean_parts(task, Windows(), batch, seed=1)["loss"] for batch in (1, 2, 4, 5)]
    np.testing.assert_allclose(found, everything, rtol=1e-5)
