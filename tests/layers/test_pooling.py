"""The pooled mean is that of the valid frames alone."""

import torch

from einthoven.layers.pool import pool


def test_padding_does_not_count_whatever_stands_in_it():
    frames = torch.randn(3, 7, 4, dtype=torch.float64)
    lengths = [7, 3, 1]
    valid = torch.arange(7) < torch.tensor(lengths)[:, None]
    padded = frames.clone()
    padded[~valid] = float("nan")
    expected = torch.stack([frames[row, :length].mean(dim=0) for row, length in enumerate(lengths)])
    torch.testing.assert_close(pool(padded, valid), expected)
    torch.testing.assert_close(pool(frames), frames.mean(dim=1))


def test_a_row_without_a_frame_is_zero():
    assert torch.equal(pool(torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool)), torch.zeros(1, 2))


def test_it_is_the_old_code_s_count_of_non_zero_frames_once_padding_is_zero():
    frames = torch.nn.functional.layer_norm(torch.randn(4, 9, 5), (5,))
    valid = torch.arange(9) < torch.tensor([9, 8, 4, 1])[:, None]
    zeroed = frames * valid[:, :, None]
    torch.testing.assert_close(pool(frames, valid), zeroed.sum(dim=1) / (zeroed != 0).sum(dim=1))
