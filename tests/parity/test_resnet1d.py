"""The vision networks in one dimension against the old ones: weights by the recipe of the golden values, the record's vector."""

import json
import zlib

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.layers.pool import pool
from einthoven.leads import TWELVE
from einthoven.models.folder import load_weights
from einthoven.models.vanilla_resnet1d import VanillaResNet1d

PREFIX = "featuare_extractor."


def by_recipe(key: str, shape: list[int], seed: int) -> torch.Tensor:
    """One entry of a state dict by the weight recipe of the golden values' README."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    random = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    if key.endswith("running_var"):
        made = random.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        made = 0.1 * random.standard_normal(shape)
    elif len(shape) <= 1:
        made = 0.1 * random.standard_normal(shape) + (1 if key.endswith("weight") else 0)
    else:
        made = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(made, dtype=np.float32))


@pytest.mark.parametrize("case", cases("resnet1d"))
def test_a_records_vector_is_the_old_one(case):
    recipe, n_leads = json.loads(case.path("recipe.json").read_text()), case.config["in_d"]
    encoder = VanillaResNet1d(
        TWELVE if n_leads == len(TWELVE) else tuple(f"lead{i}" for i in range(n_leads)), layout=case.config["configuration"]
    )
    state = {key.removeprefix(PREFIX): by_recipe(key, shape, recipe["seed"]) for key, shape in recipe["keys"].items()}
    load_weights(encoder, state, case.name).eval()
    with torch.no_grad():
        vector = pool(encoder(torch.from_numpy(case.arrays["in.source"])), how=encoder.pooling)
    expected = case.arrays["out.x"]
    np.testing.assert_allclose(vector.numpy(), expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    unit = torch.nn.functional.normalize(vector, dim=1).numpy()
    np.testing.assert_allclose(unit, case.arrays["out.x_normalized"], rtol=0, atol=1e-3 * np.abs(case.arrays["out.x_normalized"]).max())
