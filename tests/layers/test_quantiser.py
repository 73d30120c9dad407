"""The quantiser: a code per group, its perplexities, and a straight-through gradient."""

import pytest
import torch

from einthoven.layers.gumbel_quantiser import GumbelQuantiser, gumbel_noise, perplexity, temperature_at


def test_vectors_are_the_chosen_codes_one_after_the_other():
    torch.manual_seed(0)
    quantiser = GumbelQuantiser(6, 8, n_codes=5, groups=2).double()
    result = quantiser(torch.randn(3, 4, 6, dtype=torch.float64))
    book = quantiser.vars.view(2, 5, 4)
    for row in range(3):
        for frame in range(4):
            plain = torch.cat([book[group, result.codes[row, frame, group]] for group in range(2)])
            torch.testing.assert_close(result.vectors[row, frame], plain)
    torch.testing.assert_close(quantiser.look_up(quantiser.flat_codes(result.codes)), result.vectors)


def test_perplexity_counts_the_codes_that_are_used():
    even = torch.full((2, 8), 1 / 8)
    one = torch.eye(8)[:2]
    assert perplexity(even).item() == pytest.approx(16, rel=1e-4)
    assert perplexity(one).item() == pytest.approx(2, rel=1e-4)


def test_noise_is_gumbel():
    drawn = gumbel_noise((200_000,), torch.Generator().manual_seed(0)).double()
    assert drawn.mean().item() == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert drawn.var().item() == pytest.approx(torch.pi**2 / 6, abs=0.03)


def test_with_noise_a_code_is_drawn_as_often_as_the_softmax_says():
    torch.manual_seed(0)
    quantiser = GumbelQuantiser(3, 2, n_codes=4, groups=1)
    quantiser.weight_proj.weight.data.mul_(0.3)
    x = torch.randn(1, 1, 3).expand(1, 20_000, 3)
    codes = quantiser(x, gumbel_noise((1, 20_000, 1, 4), torch.Generator().manual_seed(1)), temperature=0.7).codes
    shares = torch.bincount(codes.flatten(), minlength=4) / 20_000
    torch.testing.assert_close(shares, quantiser.weight_proj(x[0, 0]).softmax(dim=0).detach(), atol=0.015, rtol=0)


def test_the_gradient_is_that_of_the_soft_choice():
    torch.manual_seed(0)
    quantiser = GumbelQuantiser(4, 6, n_codes=3, groups=2).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    noise = gumbel_noise((2, 5, 2, 3), torch.Generator().manual_seed(1)).double()
    direction = torch.randn(2, 5, 6, dtype=torch.float64)
    (grad,) = torch.autograd.grad((quantiser(x, noise, 0.8).vectors * direction).sum(), x)

    def soft(x):
        weights = ((quantiser.weight_proj(x).view(2, 5, 2, 3) + noise) / 0.8).softmax(dim=-1)
        return (torch.einsum("btgv,gvd->btgd", weights, quantiser.codebook()).flatten(-2) * direction).sum()

    torch.testing.assert_close(grad, torch.autograd.grad(soft(x), x)[0])
    assert torch.autograd.gradcheck(soft, (x,))


def test_the_temperature_falls_to_its_end_and_stays():
    schedule = (2.0, 0.5, 0.9)
    values = [temperature_at(step, schedule) for step in range(40)]
    assert values[0] == 2.0 and values[1] == pytest.approx(1.8) and values[-1] == 0.5
    assert values == sorted(values, reverse=True)


def test_a_dimension_that_the_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of the groups"):
        GumbelQuantiser(4, 7, groups=2)
