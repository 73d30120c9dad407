"""The quantiser gives the codes, vectors, perplexities, gradients and temperatures of the old code."""

import pytest
import torch
from legacy_models import CLOSE, tensors
from parity_cases import cases

from einthoven.layers.gumbel_quantiser import GumbelQuantiser, temperature_at


@pytest.mark.parametrize("case", cases("gumbel_vector_quantizer"))
def test_the_quantiser_is_that_of_the_old_code(case):
    config, arrays, groups = case.config, tensors(case), case.config["groups"]
    quantiser = GumbelQuantiser(
        config["dim"], config["vq_dim"], config["num_vars"], groups, shared=config["combine_groups"], temperature=tuple(config["temp"])
    )
    quantiser.load_state_dict(case.state)
    assert quantiser.n_vars == case.expect["num_vars"]
    for step, expected in case.expect["curr_temp"].items():
        assert temperature_at(int(step), quantiser.temperature) == pytest.approx(expected, rel=1e-9)

    x = arrays["in.x"] if config["time_first"] else arrays["in.x"].transpose(1, 2)
    result = quantiser(x)
    torch.testing.assert_close(result.vectors, arrays["out.x"], **CLOSE)
    torch.testing.assert_close(result.code_perplexity, arrays["out.code_perplexity"], **CLOSE)
    torch.testing.assert_close(result.prob_perplexity, arrays["out.prob_perplexity"], **CLOSE)
    assert torch.equal(result.codes, arrays["out.targets"])
    assert torch.equal(quantiser.flat_codes(result.codes), arrays["out.to_codebook_index"])

    x = x.clone().requires_grad_()
    noise = arrays["in.gumbels"].view(*x.shape[:2], groups, config["num_vars"])
    trained = quantiser(x, noise, temperature_at(case.expect["train_num_updates"], quantiser.temperature))
    torch.testing.assert_close(trained.vectors, arrays["out.train.x"], **CLOSE)
    assert torch.equal(trained.codes, arrays["out.train.targets"])
    (trained.vectors * arrays["in.v"]).sum().backward()
    torch.testing.assert_close(x.grad, arrays["out.train.grad_x"], **CLOSE)
    torch.testing.assert_close(quantiser.weight_proj.bias.grad, arrays["out.train.grad_weight_proj_bias"], **CLOSE)
    torch.testing.assert_close(quantiser.vars.grad, arrays["out.train.grad_vars"], **CLOSE)
    if "out.sampled" in arrays:
        torch.testing.assert_close(quantiser.look_up(arrays["in.codebook_choice"]), arrays["out.sampled"], **CLOSE)
