"""Convolutions, pools and norms over records of different lengths do what they would do with each record alone."""

import pytest
import torch
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import Convolution, average, max_pool, normalise, windows, within

LENGTHS = [20, 13, 1]


def padded():
    """Three records of LENGTHS in one array with something else behind their ends, and alone."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 20, dtype=torch.float64) - 3  # below 0, so that a zero in a maximum would be seen
    alone = [x[row : row + 1, :, :n].clone() for row, n in enumerate(LENGTHS)]
    return within(x, torch.tensor(LENGTHS), float("nan")), torch.tensor(LENGTHS), alone


@pytest.mark.parametrize("kernel, stride", [(5, 1), (5, 2), (3, 3), (8, 1), (1, 2)])
def test_a_convolution_of_a_padded_batch_is_that_of_each_record(kernel, stride):
    x, n, alone = padded()
    layer = Convolution(4, 6, kernel, stride).double().eval()
    y, after = layer(x, n)
    for row, one in enumerate(alone):
        if layer.n_after(one.shape[2]) < 1:
            assert int(after[row]) == 0
            continue
        expected, none = layer(one)
        assert none is None and int(after[row]) == expected.shape[2] == layer.n_after(one.shape[2])
        torch.testing.assert_close(y[row, :, : int(after[row])], expected[0])


@pytest.mark.parametrize("kernel, stride, padding", [(3, 2, 1), (3, 1, 1), (2, 2, 0)])
def test_a_maximum_does_not_see_what_stands_behind_the_end(kernel, stride, padding):
    x, n, alone = padded()
    y, after = max_pool(x, n, kernel, stride, padding)
    for row, one in enumerate(alone):
        if windows(one.shape[2], kernel, stride, padding):
            torch.testing.assert_close(y[row, :, : int(after[row])], F.max_pool1d(one, kernel, stride, padding)[0])
        assert not y[row, :, int(after[row]) :].any()


def test_a_mean_of_pairs_takes_the_last_sample_of_an_odd_record_as_it_is():
    x, n, alone = padded()
    y, after = average(x, n)
    for row, one in enumerate(alone):
        expected = [one[0, :, i : i + 2].mean(dim=1) for i in range(0, one.shape[2], 2)]
        torch.testing.assert_close(y[row, :, : int(after[row])], torch.stack(expected, dim=1))
        torch.testing.assert_close(average(one, None)[0][0], torch.stack(expected, dim=1))


def test_statistics_of_a_batch_are_those_of_its_real_samples():
    x, n, alone = padded()
    norm, plain = BatchNorm(4).double(), torch.nn.BatchNorm1d(4).double()
    y = normalise(x, n, norm)
    expected = plain(torch.cat([one[0].T for one in alone]))
    torch.testing.assert_close(torch.cat([y[row, :, :count].T for row, count in enumerate(LENGTHS)]), expected)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    assert not within(y, n).sub(y).any()


def test_places_of_a_window_are_counted_for_numbers_and_tensors_alike():
    for kernel, stride, padding in ((3, 2, 1), (8, 1, 3), (10, 3, 4), (1, 1, 0)):
        counts = windows(torch.arange(30), kernel, stride, padding)
        assert counts.tolist() == [windows(n, kernel, stride, padding) for n in range(30)]
        for n in range(max(1, kernel - 2 * padding), 30):
            assert F.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, kernel), stride=stride, padding=padding).shape[2] == counts[n]
