"""Operations on time are what their definitions, written as plain loops over one record, say they are."""

import numpy as np
import pytest
import torch

from einthoven.augment import (
    ConditionalLeadMask,
    DownSample,
    DynamicTimeWarp,
    GaussianBlur,
    Negation,
    RandomResizedCrop,
    Stretch,
    TimeOut,
    TimeWarp,
)
from einthoven.augment.conditional_lead_mask import lose_leads
from einthoven.augment.down_sample import interpolated
from einthoven.augment.dynamic_time_warp import squeezed
from einthoven.augment.gaussian_blur import blurred, kernel
from einthoven.augment.random_resized_crop import stretched
from einthoven.augment.stretch import slowed
from einthoven.augment.time_map import choose
from einthoven.augment.time_warp import paced
from einthoven.leads import LIMB, TWELVE
from einthoven.objectives.step import Moment

RNG = np.random.default_rng(5)


def ecg_of(n_rows=4, n_samples=120, n_leads=3):
    steps = np.random.default_rng(0).normal(size=(n_rows, n_leads, n_samples))
    return torch.from_numpy(np.cumsum(steps, axis=2).astype(np.float32)) * 0.1


def ramp(n_rows=200, n_samples=100):
    """A signal that says which sample it is, in every row: its value is its time."""
    return {"ecg": torch.arange(n_samples, dtype=torch.float32).expand(n_rows, 12, -1)}


def padded(lengths, n_samples):
    valid = torch.arange(n_samples) < torch.tensor(lengths)[:, None]
    return {"ecg": ramp(len(lengths), n_samples)["ecg"] * valid[:, None], "valid": valid, "padded": True}


def loop(function, ecg, *arguments):
    """A function of (lead's samples, the row's arguments), for every lead of every row."""
    rows = zip(ecg.numpy(), *[it.numpy() for it in arguments])
    return np.array([[function(lead, *own) for lead in record] for record, *own in rows])


def test_every_choice_of_places_has_the_number_that_was_asked_for_and_no_favourites():
    among = torch.ones(3000, 10, dtype=torch.bool)
    among[:, [0, 9]] = False
    count = torch.arange(3000) % 10 - 1
    chosen = choose(Moment(seed=1), "it", among, count)
    assert torch.equal(chosen.sum(dim=1), count.clamp(min=0))
    assert not chosen[:, [0, 9]].any()
    three = choose(Moment(seed=2), "it", among, torch.full((3000,), 3))[:, 1:9].float()
    torch.testing.assert_close(three.mean(dim=0), torch.full((8,), 3 / 8), atol=0.04, rtol=0)
    both = three.mT @ three / 3000  # two places of eight together: 3/8 · 2/7
    off = both[~torch.eye(8, dtype=torch.bool)]
    torch.testing.assert_close(off, torch.full((56,), 3 / 28), atol=0.03, rtol=0)


def test_a_resized_crop_puts_the_crops_samples_at_its_places_and_lines_between():
    ecg, start = ecg_of(), torch.tensor([0, 7, 20, 50])
    kept = torch.from_numpy(RNG.uniform(size=(4, 120)) < 0.5)
    kept[:, [0, -1]] = True

    def plain(lead, begin, places):
        at = np.flatnonzero(places)
        return np.interp(np.arange(120), at, lead[begin : begin + len(at)])

    np.testing.assert_allclose(stretched(ecg, start, kept), loop(plain, ecg, start, kept), atol=1e-6)


def test_crops_are_as_long_as_asked_for_and_may_begin_at_the_last_place():
    new = RandomResizedCrop(smallest=0.6, largest=0.8)(ramp(500), Moment())["ecg"][:, 0]
    first, last = new[:, 0], new[:, -1]
    length = last - first + 1
    assert length.min() == 60 and length.max() == 79
    assert first.min() == 0 and last.max() == 99  # the original never took the last one
    assert (new.diff(dim=1) >= 0).all() and (new.diff(dim=1) <= 1).all()
    whole = RandomResizedCrop(smallest=1.0, largest=1.0)(ramp(5), Moment())["ecg"]
    assert torch.equal(whole, ramp(5)["ecg"])


def test_a_crop_of_a_padded_row_takes_up_its_real_part():
    new = RandomResizedCrop()(padded([60, 3, 2, 1], 100), Moment())["ecg"][:, 0]
    assert new[0, 59] > new[0, 0] and not new[0, 60:].any()
    assert new[0].max() <= 59
    assert not new[3].any()


def test_silence_is_as_long_as_asked_for_and_may_be_anywhere():
    batch = {"ecg": torch.ones(2000, 12, 50)}
    silent = TimeOut(smallest=0.2, largest=0.4)(batch, Moment())["ecg"] == 0
    assert torch.equal(silent, silent[:, :1].expand_as(silent))
    length = silent[:, 0].sum(dim=1)
    assert length.min() == 10 and length.max() == 19
    assert ((silent[:, 0].int().diff(dim=1) != 0).sum(dim=1) <= 2).all()  # one piece
    assert silent[:, 0, 0].any() and silent[:, 0, -1].any()  # the original never took the last place
    of_padded = TimeOut(smallest=0.5, largest=0.5)({**padded([40] * 50, 100), "ecg": torch.ones(50, 12, 100)}, Moment())["ecg"]
    assert (of_padded[:, :, :40].sum(dim=2) == 20).all()


def test_lost_samples_lie_on_lines_between_those_that_are_kept():
    ecg, kept = ecg_of(), torch.from_numpy(RNG.uniform(size=(4, 120)) < 0.3)
    kept[:, [0, -1]] = True

    def plain(lead, places):
        return np.interp(np.arange(120), np.flatnonzero(places), lead[places])

    np.testing.assert_allclose(interpolated(ecg, kept), loop(plain, ecg, kept), atol=1e-6)


@pytest.mark.parametrize("lost", [0.0, 0.2, 0.75, 1.0])
def test_the_share_that_is_lost_is_the_share_that_was_asked_for(lost):
    ecg = torch.randn(20, 12, 200, generator=torch.Generator().manual_seed(0))
    new = DownSample(lost=lost)({"ecg": ecg}, Moment())["ecg"]
    assert ((new != ecg).all(dim=1).sum(dim=1) == min(200 * lost, 198)).all()


def test_a_time_warp_is_the_interpolation_of_its_definition():
    ecg, epsilon = ecg_of(), 2.0
    steps, lengths = torch.from_numpy(RNG.normal(size=(4, 120))), torch.tensor([120, 119, 60, 2])

    def plain(lead, step, n):
        walk = np.cumsum(step[:n])
        spread = np.cumsum(walk - walk.min() + epsilon)
        to = (spread - spread[0]) / (spread[-1] - spread[0]) * (n - 1)
        return np.concatenate([np.interp(np.arange(n), to, lead[:n]), lead[n:]])

    got = paced(ecg, steps, lengths, epsilon)
    expected = loop(plain, ecg, steps, lengths)
    for row, n in enumerate(lengths.tolist()):
        np.testing.assert_allclose(got[row, :, :n], expected[row, :, :n], atol=2e-6)


def test_time_is_warped_as_much_at_any_sampling_frequency_and_less_for_a_larger_epsilon():
    def bent(fs, epsilon):
        n = round(5 * fs)
        new = TimeWarp(fs=fs, epsilon=epsilon)(ramp(300, n), Moment(seed=2))["ecg"][:, 0]
        assert not new[:, 0].any() and (new[:, -1] == n - 1).all()
        return ((new - torch.arange(n)) / fs).square().mean().sqrt().item()

    assert bent(500.0, 10.0) == pytest.approx(bent(100.0, 10.0), rel=0.15)
    assert bent(100.0, 1.0) > 1.2 * bent(100.0, 10.0) > 3 * bent(100.0, 1000.0)


def plain_warp(lead, centre, radius, step):
    """Where each sample goes, as the original tells it, and lines between."""
    moved = {centre - radius + i: centre - step * radius + step * i for i in range(2 * radius + 1)}
    for j in range(radius):
        moved[centre - radius * (step + 1) + step * j] = centre - step * radius - radius + j
        moved[centre + radius + step + step * j] = centre + step * radius + 1 + j
    out = lead.copy()
    places = np.array(sorted(moved))
    inside = np.arange(centre - radius * (step + 1), centre + radius * (step + 1) + 1)
    out[inside] = np.interp(inside, places, lead[[moved[place] for place in places]])
    return out


@pytest.mark.parametrize("radius, step", [(10, 2), (1, 2), (5, 3), (7, 1)])
def test_a_dynamic_time_warp_is_the_plain_loop(radius, step):
    ecg, span = ecg_of(), radius * (step + 1)
    centres = torch.from_numpy(RNG.integers(span, 120 - span, size=(4, 3)))

    def plain(lead, own):
        for centre in own:
            lead = plain_warp(lead, centre, radius, step)
        return lead

    np.testing.assert_allclose(squeezed(ecg, centres, radius, step), loop(plain, ecg, centres), atol=1e-6)


def test_dynamic_time_warps_are_as_many_and_as_wide_as_asked_for():
    batch = ramp(300, 400)

    def changed(**options):
        return (DynamicTimeWarp(fs=100.0, **options)(batch, Moment())["ecg"][:, 0] != batch["ecg"][:, 0]).sum(dim=1)

    assert not changed(warps=0).any()
    assert 40 < changed(warps=1).min() and changed(warps=1).max() < 61
    assert 20 < changed(warps=1, radius=0.05).min() and changed(warps=1, radius=0.05).max() < 31
    assert 50 < changed(warps=1, step=3).min() and changed(warps=1, step=3).max() < 81
    assert changed(warps=3).max() > 120
    short = DynamicTimeWarp(fs=100.0)(padded([62, 63, 200], 200), Moment())["ecg"]
    same = (short == padded([62, 63, 200], 200)["ecg"]).all(dim=2).all(dim=1)
    assert same.tolist() == [True, False, False]
    new = DynamicTimeWarp(fs=100.0, warps=20)(batch, Moment())["ecg"][:, 0]
    assert (new[:, 1:30] != batch["ecg"][:, 0, 1:30]).any() and (new[:, -30:-1] != batch["ecg"][:, 0, -30:-1]).any()


def test_a_stretched_sine_is_a_slower_sine():
    t, pace, begin = np.arange(1000) / 100.0, torch.tensor([1.0, 0.9, 0.7]), torch.tensor([0.5, 0.0, 1.0])
    ecg = torch.from_numpy(np.sin(2 * np.pi * 1.5 * t)).float().expand(3, 2, -1)
    got = slowed(ecg, pace, begin, torch.full((3,), 1000))
    for row in range(3):
        start = begin[row].item() * 9.99 * (1 - pace[row].item())
        np.testing.assert_allclose(got[row, 0], np.sin(2 * np.pi * 1.5 * (start + pace[row].item() * t)), atol=0.002)
    new = Stretch(largest=1.25)(ramp(400), Moment())["ecg"][:, 0]
    pace = (new[:, 50] - new[:, 0]) / 50
    assert 0.8 <= pace.min() < 0.81 and 0.99 < pace.max() <= 1.0
    assert pace.median().item() == pytest.approx(1.25**-0.5, abs=0.015)
    assert new.max() <= 99 and new[:, 0].min() >= 0
    assert torch.equal(Stretch(largest=1.0)(ramp(3), Moment())["ecg"], ramp(3)["ecg"])


@pytest.mark.parametrize("n_samples", [1, 7, 64, 65, 250])
@pytest.mark.parametrize("spacing", [1.0, 5.0, 0.3, 2.56])
def test_a_blur_is_the_convolution_with_its_kernel(n_samples, spacing):
    weights = kernel(spacing)
    assert sum(weights) == pytest.approx(1)
    ecg = torch.from_numpy(RNG.normal(size=(2, 3, n_samples)))

    def plain(lead):
        return [sum(weights[k] * lead[t + k - len(weights) // 2] for k in range(len(weights)) if 0 <= t + k - len(weights) // 2 < n_samples)
                for t in range(n_samples)]  # fmt: skip

    np.testing.assert_allclose(blurred(ecg, weights), loop(plain, ecg), atol=1e-7)


def test_the_kernel_is_the_published_one_at_100_hz_and_blurs_a_second_alike_at_any_rate():
    assert kernel(1.0) == pytest.approx((0.1, 0.2, 0.4, 0.2, 0.1))

    def left(fs, hz, **options):
        wave = torch.sin(2 * np.pi * hz * torch.arange(round(2 * fs)) / fs).expand(1, 12, -1)
        new = GaussianBlur(fs=fs, **options)({"ecg": wave}, Moment())["ecg"][0, 0]
        return (new[round(0.5 * fs) : round(1.5 * fs)].std() / wave.std()).item()

    for hz in (2.0, 10.0):
        assert left(500.0, hz) == pytest.approx(left(100.0, hz), abs=0.03)
    assert left(500.0, 10.0, seconds=0.03) < 0.6 * left(500.0, 10.0)


def test_negation_turns_every_lead_round_in_half_of_the_rows():
    ecg = ecg_of(400, 20, 12)
    new = Negation()({"ecg": ecg}, Moment())["ecg"]
    turned = (new == -ecg).all(dim=2).all(dim=1)
    assert ((new == ecg).all(dim=2).all(dim=1) ^ turned).all()
    assert turned.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_fixed_number_of_limb_and_of_chest_leads_goes_and_each_lead_as_often():
    batch = {"ecg": torch.ones(3000, 12, 2)}
    kept = ConditionalLeadMask()(batch, Moment())["lead_present"]
    assert (kept[:, :6].sum(dim=1) == 2).all() and (kept[:, 6:].sum(dim=1) == 1).all()
    torch.testing.assert_close(kept.float().mean(dim=0), torch.tensor([1 / 3] * 6 + [1 / 6] * 6), atol=0.04, rtol=0)
    other = ConditionalLeadMask(n_limb=0, n_chest=2)(batch, Moment())["lead_present"]
    assert other[:, :6].all() and (other[:, 6:].sum(dim=1) == 4).all()
    assert (ConditionalLeadMask(n_limb=9, n_chest=9)(batch, Moment())["lead_present"].sum(dim=1) == 2).all()


def test_absent_leads_count_as_gone_and_one_of_either_kind_stays():
    limb = torch.tensor([lead in LIMB for lead in TWELVE])
    present = torch.zeros(50, 12, dtype=torch.bool)
    present[:, [0, 1, 2, 7]] = True
    drawn = torch.rand(50, 12, generator=torch.Generator().manual_seed(0))
    kept = lose_leads(drawn, present, limb, 4, 5)
    assert (kept[:, :6].sum(dim=1) == 2).all() and kept[:, 7].all() and (kept.sum(dim=1) == 3).all()
    assert torch.equal(lose_leads(drawn, None, limb, 0, 0), torch.ones(50, 12, dtype=torch.bool))


@pytest.mark.parametrize(
    "kind, options",
    [
        (RandomResizedCrop, {"largest": 1.1}),
        (RandomResizedCrop, {"smallest": 0.9, "largest": 0.5}),
        (TimeOut, {"smallest": -0.1}),
        (TimeOut, {"largest": 1.1}),
        (DownSample, {"lost": 1.5}),
        (TimeWarp, {"epsilon": 0.0}),
        (DynamicTimeWarp, {"warps": -1}),
        (DynamicTimeWarp, {"step": 0}),
        (DynamicTimeWarp, {"radius": 0.001}),
        (Stretch, {"largest": 0.9}),
        (GaussianBlur, {"seconds": 0.0}),
        (ConditionalLeadMask, {"n_limb": -1}),
        (ConditionalLeadMask, {"n_chest": -1}),
    ],
)
def test_an_impossible_option_of_an_operation_on_time_is_refused(kind, options):
    with pytest.raises(ValueError, match="expected"):
        kind(**options)
