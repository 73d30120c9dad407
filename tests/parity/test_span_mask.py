"""Masks are those of the old code bit for bit where its random numbers are given, and like them where ours are drawn."""

import numpy as np
import pytest
from parity_cases import cases

from einthoven.layers.span_mask import Spans, span_mask


def arguments(case):
    config = case.config
    spans = Spans(
        prob=config["mask_prob"],
        length=config["mask_length"],
        kind=config["mask_type"],
        other=config["mask_other"],
        overlap=not config.get("no_overlap", False),
        min_space=config.get("min_space", 0),
    )
    rows, frames = config["shape"]
    valid = (~case.arrays["in.padding_mask"]).sum(axis=1) if "in.padding_mask" in case.arrays else None
    return rows, frames, spans, {"valid_frames": valid, "min_spans": config["min_masks"]}


@pytest.mark.parametrize("case", cases("span_mask"))
def test_masks_are_the_old_ones_bit_for_bit(case):
    rows, frames, spans, more = arguments(case)
    rng = np.random.RandomState(case.config["seed"])
    for expected in case.arrays["out.exact.masks"]:
        np.testing.assert_array_equal(span_mask(rows, frames, spans, rng, **more), expected)


@pytest.mark.parametrize("case", cases("span_mask"))
def test_masks_of_a_generator_have_the_statistics_of_the_old_ones(case):
    rows, frames, spans, more = arguments(case)
    rng = np.random.default_rng(0)
    expected = case.expect["stats"]
    # The golden mean has a sampling error of its own, and so has ours: 1 percent holds beside three standard errors of their difference.
    draws = 1500
    masks = np.stack([span_mask(rows, frames, spans, rng, **more) for _ in range(draws)])
    standard_error = expected["masked_fraction_std"] * (1 / draws + 1 / expected["draws"]) ** 0.5
    assert masks.mean() == pytest.approx(expected["masked_fraction_mean"], abs=0.01 * expected["masked_fraction_mean"] + 3 * standard_error)
    assert (masks.sum(axis=2) == masks.sum(axis=2)[:, :1]).all()
    profile = [part.mean() for part in np.array_split(masks.mean(axis=(0, 1)), 10)]
    np.testing.assert_allclose(profile, expected["position_profile"], atol=0.02)
