"""SwAV's assignment, queue and loss are the old ECG code's, gradients included, where its divisor is put in."""

import numpy as np
import pytest
import torch
from parity_cases import ssl_cases
from torch import nn
from torch.nn import functional as F

from einthoven.models.encoder import Encoder
from einthoven.objectives.step import Moment
from einthoven.objectives.swav import SwAV, sinkhorn, swav_loss


class Given(Encoder):
    """Stands for an encoder where the vectors are given."""

    def __init__(self, dim):
        super().__init__(("I",), 100.0, dim=dim, samples_per_frame=1)


def objective_for(case):
    """Our objective with the case's prototypes and queue."""
    config, arrays = case.config, case.arrays
    queue = config["queue_length"] or 0
    swav = SwAV(
        Given(config["D"]),
        crops=config["nmb_crops"] - 1,
        small=0,
        assigned=len(config["crops_for_assign"]),
        prototypes=config["K"],
        projection=(),
        temperature=config["temperature"],
        epsilon=config["epsilon"],
        iterations=config["sinkhorn_iterations"],
        queue=queue,
    )
    with torch.no_grad():
        swav.prototypes.copy_(F.normalize(torch.from_numpy(arrays["prototypes_before"]), dim=1))
        if queue:
            before = torch.from_numpy(arrays["queue_before"])
            swav.queue.copy_(before)
            # The old code takes a queue for full when its last row is not zero.
            swav.filled.fill_(queue if before[:, -1].any() else 0)
    return swav


@pytest.mark.parametrize("case", ssl_cases("swav"))
def test_an_assignment_is_the_old_code_s(case):
    config, arrays = case.config, case.arrays
    for view in config["crops_for_assign"]:
        scores = torch.from_numpy(arrays[f"sinkhorn_in_{view}"]).T.log() * config["epsilon"]
        given = sinkhorn(scores, config["epsilon"], config["sinkhorn_iterations"])
        torch.testing.assert_close(given, torch.from_numpy(arrays[f"sinkhorn_out_{view}"]), rtol=config["rtol"], atol=config["atol"])


@pytest.mark.parametrize("case", ssl_cases("swav"))
def test_loss_gradients_prototypes_and_queue_are_the_old_code_s(case):
    config, arrays = case.config, case.arrays
    tolerance = {"rtol": config["rtol"], "atol": config["atol"]}
    swav = objective_for(case).train()
    torch.testing.assert_close(swav.prototypes.detach(), torch.from_numpy(arrays["prototypes_after"]), **tolerance)
    rows = torch.from_numpy(arrays["embedding"]).requires_grad_()
    views = rows.unflatten(0, (config["nmb_crops"] - 1, config["B"]))
    codes = swav.assign(views[: swav.n_assigned].detach(), Moment())
    for view in config["crops_for_assign"]:
        expected = torch.from_numpy(arrays[f"sinkhorn_out_{view}"])[-config["B"] :]
        torch.testing.assert_close(codes[view], expected, **tolerance)
    loss = swav_loss(views @ swav.prototypes.T, codes, swav.temperature, divisor=config["nmb_crops"] - 1)
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.from_numpy(arrays["loss"]), **tolerance)
    torch.testing.assert_close(rows.grad, torch.from_numpy(arrays["grad_embedding"]), **tolerance)
    torch.testing.assert_close(swav.prototypes.grad, torch.from_numpy(arrays["grad_prototypes"]), **tolerance)
    if "queue_after" in arrays:
        torch.testing.assert_close(swav.queue, torch.from_numpy(arrays["queue_after"]), **tolerance)


@pytest.mark.parametrize("case", ssl_cases("swav"))
def test_the_right_divisor_makes_the_loss_larger_by_the_view_that_was_not_there(case):
    config, arrays = case.config, case.arrays
    swav = objective_for(case).train()
    views = torch.from_numpy(arrays["embedding"]).unflatten(0, (config["nmb_crops"] - 1, config["B"]))
    codes = swav.assign(views[: swav.n_assigned], Moment())
    loss = swav_loss(views @ swav.prototypes.T, codes, swav.temperature)
    n_views = config["nmb_crops"] - 1
    np.testing.assert_allclose(loss.item(), arrays["loss"] * n_views / (n_views - 1), rtol=config["rtol"])


def test_normalising_after_the_update_is_normalising_before_the_pass():
    """Six steps of gradient descent both ways: the published one divides rows by their length first, ours last."""
    torch.manual_seed(0)
    swav = SwAV(Given(4), crops=2, small=0, prototypes=5, projection=(), queue=0).double()
    published = nn.Parameter(swav.prototypes.detach().clone())
    for number in range(6):
        views = F.normalize(torch.randn(2, 8, 4, dtype=torch.float64), dim=2)
        with torch.no_grad():
            published.copy_(F.normalize(published, dim=1))
        torch.testing.assert_close(swav.prototypes, published)
        for weight in (swav.prototypes, published):
            codes = torch.stack([sinkhorn(rows @ weight.T).detach() for rows in views])
            (gradient,) = torch.autograd.grad(swav_loss(views @ weight.T, codes), weight)
            with torch.no_grad():
                weight -= 0.3 * gradient
        swav.after_update(number + 1, 6)
