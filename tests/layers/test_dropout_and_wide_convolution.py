"""The faster dropout drops at its rate; the convolution by spectra is the plain one, in values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from einthoven.layers.conv_frontend import WIDE, ConvPositions
from einthoven.layers.dropout import dropout
from einthoven.layers.wide_convolution import convolve_by_spectra


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_values_are_dropped_at_the_rate_and_the_mean_is_kept(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(400_003, dtype=dtype)
    y = dropout(x, p, True)
    assert y.dtype == dtype
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.004)  # standard error below 0.0008
    assert y.double().mean().item() == pytest.approx(1.0, abs=0.02)
    torch.testing.assert_close(y[y != 0], (x / (1 - p))[y != 0], rtol=1e-2 if dtype == torch.bfloat16 else 1e-3, atol=0)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(400_000), 0.5, True) == 0).float() - 0.5
    for lag in (1, 2, 3, 4, 8):
        assert abs((dropped[lag:] * dropped[:-lag]).mean().item()) < 0.002  # standard error 0.0004


def test_the_gradient_goes_where_the_value_went():
    torch.manual_seed(0)
    x = torch.randn(3, 50, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.3, True)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, (y / x).detach())


def test_the_global_generator_decides_and_evaluation_drops_nothing():
    x = torch.randn(100)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(x, 0.5, True))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert dropout(x, 0.5, False) is x and dropout(x, 0.0, True) is x
    assert not dropout(x, 1.0, True).any()


@pytest.mark.parametrize("kernel, n_frames", [(8, 21), (9, 21), (8, 22), (9, 22), (16, 5), (1, 4), (2, 1)])
def test_a_convolution_by_spectra_is_the_plain_one(kernel, n_frames):
    torch.manual_seed(0)
    x = torch.randn(3, n_frames, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 4, kernel, dtype=torch.float64, requires_grad=True)
    plain = F.conv1d(x.transpose(1, 2), weight, padding=kernel // 2, groups=3)[:, :, :n_frames].transpose(1, 2)
    ours = convolve_by_spectra(x, weight, groups=3)
    torch.testing.assert_close(ours, plain)
    direction = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), (x, weight)), torch.autograd.grad((plain * direction).sum(), (x, weight))
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kernel", [WIDE, WIDE + 1, 128])
def test_in_float32_its_rounding_is_that_of_the_plain_one(kernel):
    torch.manual_seed(0)
    positions = ConvPositions(64, kernel, 16)
    x = torch.randn(2, 156, 64)
    ours = positions(x)
    conv = positions.pos_conv[0]

    def plain(x, weight, bias):
        return F.gelu(F.conv1d(x.transpose(1, 2), weight, bias, padding=kernel // 2, groups=16)[:, :, :156].transpose(1, 2))

    exact = plain(x.double(), conv.weight.double(), conv.bias.double())
    error, plain_error = (ours - exact).abs().max(), (plain(x, conv.weight, conv.bias) - exact).abs().max()
    assert error < 4 * plain_error + 1e-7


def test_under_autocast_positions_come_in_the_type_they_went_in():
    positions = ConvPositions(64, 32, 4)
    x = torch.randn(1, 20, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = positions(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), positions(x), atol=0.02, rtol=0.02)
