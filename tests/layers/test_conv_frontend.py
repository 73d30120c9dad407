"""Convolutions as matrix products, norms over time, and frame counts, against torch's own."""

import pytest
import torch
from torch import nn

from einthoven.layers.conv_frontend import ConvFeatureExtractor, ConvPositions, convolve_frames, frames_of, norm_over_time


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("n_samples", [40, 41, 42])
@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 3), (5, 2), (1, 1)])
def test_a_convolution_over_frames_is_torch_s(kernel, stride, n_samples, bias):
    torch.manual_seed(0)
    conv = nn.Conv1d(3, 5, kernel, stride, bias=bias).double()
    x = torch.randn(2, 3, n_samples, dtype=torch.float64, requires_grad=True)
    ours, theirs = convolve_frames(x.transpose(1, 2), conv), conv(x).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(theirs)
    inputs = (x, *conv.parameters())
    for a, b in zip(torch.autograd.grad((ours * direction).sum(), inputs), torch.autograd.grad((theirs * direction).sum(), inputs)):
        torch.testing.assert_close(a, b)


def test_the_norm_over_time_is_group_norm_with_a_group_per_channel():
    torch.manual_seed(0)
    norm = nn.GroupNorm(6, 6).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 6, 11, dtype=torch.float64, requires_grad=True)
    ours, theirs = norm_over_time(x.transpose(1, 2), norm), norm(x).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(theirs)
    inputs = (x, norm.weight, norm.bias)
    for a, b in zip(torch.autograd.grad((ours * direction).sum(), inputs), torch.autograd.grad((theirs * direction).sum(), inputs)):
        torch.testing.assert_close(a, b)


def test_the_norm_over_time_can_leave_padding_out():
    norm = nn.GroupNorm(4, 4).double()
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    valid = torch.arange(9) < torch.tensor([9, 5])[:, None]
    ours = norm_over_time(x, norm, valid)
    torch.testing.assert_close(ours[1, :5], norm_over_time(x[1:, :5], norm)[0])
    torch.testing.assert_close(ours[0], norm_over_time(x[:1], norm)[0])


@pytest.mark.parametrize("n_samples, n_frames", [(1250, 78), (2500, 156), (5000, 312), (15, 0), (16, 1), (0, 0)])
def test_four_halvings_make_a_frame_of_16_samples(n_samples, n_frames):
    layers = [(256, 2, 2)] * 4
    assert frames_of(n_samples, layers) == n_frames
    assert int(frames_of(torch.tensor(n_samples), layers)) == n_frames


@pytest.mark.parametrize("layers", [[(4, 2, 2)] * 3, [(4, 7, 3), (6, 3, 2), (5, 2, 1)]])
def test_as_many_frames_come_out_as_are_counted(layers):
    extractor = ConvFeatureExtractor(2, layers)
    for n_samples in range(30, 60):
        assert extractor(torch.randn(1, 2, n_samples)).shape[1] == frames_of(n_samples, layers)


def test_a_frame_is_made_of_its_own_samples_but_for_the_norm():
    torch.manual_seed(0)
    extractor = ConvFeatureExtractor(2, [(4, 2, 2)] * 3, mode="layer_norm", bias=True).eval()
    ecg = torch.randn(1, 2, 64)
    changed = ecg.clone()
    changed[:, :, 24:32] += 1
    differs = (extractor(ecg) != extractor(changed)).any(dim=2)[0]
    assert differs.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("kernel", [8, 9])
def test_positions_keep_the_number_of_frames(kernel):
    assert ConvPositions(8, kernel, 4)(torch.randn(2, 13, 8)).shape == (2, 13, 8)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="default or layer_norm"):
        ConvFeatureExtractor(12, [(4, 2, 2)], mode="batch_norm")
