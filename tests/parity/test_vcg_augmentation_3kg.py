"""3KG's views, from the old draws and the old matrix, are those of fairseq-signals.

Knowingly different: our matrix has the published digits (the old one cut them off), which is what ``VCG`` uses.
"""

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.augment.vcg import mask_time, see_again
from einthoven.leads import INVERSE_DOWER, TWELVE


@pytest.mark.parametrize("case", cases("vcg_augmentation_3kg"))
def test_both_views_are_those_of_the_old_code(case):
    arrays = {name: torch.from_numpy(value) for name, value in case.arrays.items()}
    ecg = arrays["in.x"].double()[None].expand(2, -1, -1)
    n_time = ecg.shape[-1]
    angles, scales = (arrays[name].double().view(2, 3) for name in ("in.angles", "in.scales"))
    turned = torch.einsum("bij,bjt->bit", see_again(angles, scales, TWELVE, case.arrays["in.inverse_dower"]), ecg)
    n_masked, n_valid = torch.full((2,), int(n_time * case.config["mask_ratio"])), torch.full((2,), n_time)
    starts = arrays["in.starts"].view(2, 12) if "in.starts" in arrays else torch.zeros(2, 12, dtype=torch.int64)
    masked = mask_time(turned, starts, n_masked, n_valid)
    for view in (0, 1):
        torch.testing.assert_close(turned[view].float(), arrays[f"out.view{view + 1}_nomask"], rtol=0, atol=1e-5)
        torch.testing.assert_close(masked[view].float(), arrays[f"out.view{view + 1}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", cases("vcg_augmentation_3kg"))
def test_the_old_matrix_is_ours_with_its_digits_cut_off(case):
    old = case.arrays["in.inverse_dower"]
    assert (np.abs(INVERSE_DOWER) >= np.abs(old) - 1e-6).all() and np.abs(INVERSE_DOWER - old).max() < 0.0011
