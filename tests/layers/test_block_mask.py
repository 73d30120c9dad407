"""Block masks hide exactly what was asked for, in blocks, everywhere alike; sines and cosines are those of the formula."""

import math

import numpy as np
import pytest
import torch

from einthoven.layers.block_mask import block_size, blocks, context_mask, interval_luck, interval_mask, mark, random_mask
from einthoven.layers.sincos import sincos, sincos_grid


def intervals(n_places, n_hidden, least, seed):
    return interval_mask(n_places, n_hidden, least, np.random.default_rng(seed).random(interval_luck(n_hidden, least)).tolist())


def runs(mask):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize("n_places, n_hidden, least", [(200, 170, 10), (200, 150, 10), (200, 11, 10), (50, 45, 7), (20, 7, 10), (9, 9, 2)])
def test_intervals_hide_the_exact_number_and_never_in_short_runs(n_places, n_hidden, least):
    for seed in range(200):
        mask = intervals(n_places, n_hidden, least, seed)
        assert mask.shape == (n_places,) and mask.sum() == n_hidden
        assert runs(mask).min() >= min(least, n_hidden)


@pytest.mark.parametrize("n_places, n_hidden, least", [(40, 33, 3), (40, 40, 1), (41, 30, 7), (12, 5, 9)])
def test_however_unlucky_the_random_numbers_there_are_enough(n_places, n_hidden, least):
    rng = np.random.default_rng(0)
    for _ in range(2000):
        luck = rng.choice([0.0, 0.001, 0.5, 0.999, 1 - 2**-53], interval_luck(n_hidden, least)).tolist()
        mask = interval_mask(n_places, n_hidden, least, luck)
        assert mask.sum() == n_hidden and runs(mask).min() >= min(least, n_hidden)


def test_what_is_seen_is_few_pieces_spread_over_the_whole_signal():
    masks = np.stack([intervals(200, 160, 10, seed) for seed in range(2000)])
    assert np.median([len(runs(~mask)) for mask in masks]) <= 5  # a random mask has about 32
    seen = 1 - masks.mean(axis=0)
    assert abs(seen.mean() - 0.2) < 1e-12
    assert 0.05 < seen.min() and seen.max() < 0.85  # the ends are seen most: few places of a block reach them
    assert np.abs(seen - seen[::-1]).max() < 0.06  # neither end is preferred: 5 standard errors


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="0 to 20 hidden places"):
        interval_mask(20, 21, 2, [])
    with pytest.raises(ValueError, match="1 to 20 places"):
        blocks(1, 20, 4, 21, np.random.default_rng(0))


def test_blocks_are_contiguous_and_their_starts_uniform():
    index = blocks(4000, 30, 4, 6, np.random.default_rng(0))
    assert index.shape == (4000, 4, 6) and index.min() == 0 and index.max() == 29
    assert (np.diff(index, axis=2) == 1).all()
    counts = np.bincount(index[:, :, 0].ravel(), minlength=25)
    expected = 16000 / 25
    assert len(counts) == 25 and ((counts - expected) ** 2 / expected).sum() < 52  # chi-squared, 24 degrees: p = 0.001


def test_a_blocks_size_is_in_its_range_and_leaves_something_to_see():
    rng = np.random.default_rng(0)
    sizes = [block_size(100, 4, (0.175, 0.225), 1, rng) for _ in range(300)]
    assert {17, 22} == {min(sizes), max(sizes)}
    assert block_size(300, 4, (0.15, 0.2), 64, rng) == 64  # published: 2.5 s at 120 tokens a second
    assert block_size(20, 4, (0.15, 0.2), 64, rng) == 4
    assert block_size(2, 4, (0.15, 0.2), 1, rng) == 1


def test_what_is_seen_is_never_what_is_predicted_and_never_too_little():
    rng = np.random.default_rng(1)
    predicted = mark(blocks(500, 60, 4, 12, rng), 60)
    seen = context_mask(predicted, 54, 20, rng)
    assert not (seen & predicted).any()
    left = (~predicted).sum(axis=1)
    assert (seen.sum(axis=1) >= np.minimum(20, left)).all()
    # Where enough is left, what is seen is one block without the predicted ones: beyond its two ends nothing is seen.
    many = seen.sum(axis=1) > 20
    assert many.any()
    for row in np.flatnonzero(many):
        ends = np.flatnonzero(seen[row])[[0, -1]]
        inside = np.arange(60)[ends[0] : ends[1] + 1]
        assert (seen[row, inside] | predicted[row, inside]).all()


def test_random_masks_hide_the_smallest_numbers():
    luck = np.array([[0.3, 0.1, 0.2, 0.9], [0.5, 0.6, 0.4, 0.4]])
    assert random_mask(luck, 2).tolist() == [[False, True, True, False], [False, False, True, True]]


def test_sines_and_cosines_are_those_of_the_formula():
    place, dim = torch.tensor([0, 1, 7, 199]), 8
    expected = torch.empty(4, dim)
    for row, p in enumerate(place.tolist()):
        for i in range(dim // 2):
            expected[row, 2 * i], expected[row, 2 * i + 1] = math.sin(p / 10000 ** (2 * i / dim)), math.cos(p / 10000 ** (2 * i / dim))
    torch.testing.assert_close(sincos(place, dim), expected)
    torch.testing.assert_close(sincos(place, dim, "halves"), torch.cat([expected[:, 0::2], expected[:, 1::2]], dim=1))
    grid = sincos_grid(torch.tensor([3, 3, 5]), torch.tensor([0, 9, 9]), 16)
    assert torch.equal(grid[0, :8], grid[1, :8]) and torch.equal(grid[1, 8:], grid[2, 8:]) and not torch.equal(grid[1, :8], grid[2, :8])
    with pytest.raises(ValueError, match="even width"):
        sincos(place, 7)
    with pytest.raises(ValueError, match="four divides"):
        sincos_grid(place, place, 6)
