"""3KG's augmentation turns the dipole: physical laws hold, units do not matter, leads and padding stay what they are."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from einthoven.augment import VCG
from einthoven.augment.vcg import mask_time, rotation, see_again
from einthoven.leads import DOWER, INVERSE_DOWER, TWELVE, from_vcg, limb_law_residual, to_vcg
from einthoven.objectives.step import Moment

STILL = {"angle": 0.0, "scale": 1.0, "mask": 0.0}


def batch(n=3, time=400, **more):
    """ECGs in mV that a dipole made."""
    vcg = np.random.default_rng(0).normal(size=(n, 3, time))
    return {"ecg": torch.from_numpy(from_vcg(vcg)), **more}


def test_the_rotation_is_scipys_about_fixed_axes_z_y_x():
    angles = torch.tensor([[10.0, -33.0, 71.0], [180.0, 5.0, -90.0]], dtype=torch.float64)
    expected = Rotation.from_euler("zyx", angles.numpy(), degrees=True).as_matrix()
    np.testing.assert_allclose(rotation(angles).numpy(), expected, atol=1e-12)


def test_a_dipole_that_is_neither_turned_nor_stretched_gives_its_ecg_again():
    given = batch()
    ecg = VCG(**STILL)(given, Moment())["ecg"]
    torch.testing.assert_close(ecg, given["ecg"], rtol=0, atol=0.02)  # Dower's matrix is the pseudo-inverse's to its three digits
    vcg = to_vcg(ecg.numpy(), TWELVE, INVERSE_DOWER)
    np.testing.assert_allclose(vcg, to_vcg(given["ecg"].numpy(), TWELVE, INVERSE_DOWER), atol=1e-5)


def test_the_vectorcardiogram_of_a_view_is_the_turned_and_stretched_one():
    given, angles, scales = batch(), torch.tensor([[20.0, -40, 5]] * 3).double(), torch.tensor([[1.1, 1.4, 1.3]] * 3).double()
    mix = see_again(angles, scales, TWELVE)
    view = torch.einsum("bij,bjt->bit", mix, given["ecg"]).numpy()
    before, after = (to_vcg(one, TWELVE, INVERSE_DOWER) for one in (given["ecg"].numpy(), view))
    turned = Rotation.from_euler("zyx", angles[0].numpy(), degrees=True).as_matrix() @ before
    np.testing.assert_allclose(after, scales[0].numpy()[:, None] * turned, atol=1e-9)
    assert max(limb_law_residual(view, TWELVE).values()) < 1e-12
    np.testing.assert_allclose(view, from_vcg(after, np.linalg.pinv(INVERSE_DOWER)), atol=1e-9)
    assert np.abs(np.linalg.pinv(INVERSE_DOWER) - DOWER).max() < 0.01


def test_leads_in_another_order_and_without_derived_ones_are_the_same_leads():
    given, leads = batch(), ("V6", "V1", "II", "V2", "V3", "aVL", "V4", "V5", "I")
    rows = [TWELVE.index(lead) for lead in leads]
    some = VCG(leads=leads, mask=0.0)({"ecg": given["ecg"][:, rows]}, Moment(seed=2))["ecg"]
    torch.testing.assert_close(some, VCG(mask=0.0)(given, Moment(seed=2))["ecg"][:, rows], rtol=1e-5, atol=1e-5)


def test_a_z_scored_ecg_is_turned_in_millivolts():
    given = batch()
    scale = 0.1 + torch.rand(3, 12, generator=torch.Generator().manual_seed(1)).double()
    mean = given["ecg"].mean(dim=2, keepdim=True)
    augment, moment = VCG(mask=0.2), Moment(seed=4)
    view = augment({"ecg": (given["ecg"] - mean) / scale[:, :, None], "scale": scale}, moment)["ecg"]
    expected = augment({"ecg": given["ecg"] - mean}, moment)["ecg"]
    torch.testing.assert_close(view * scale[:, :, None], expected)


def test_each_lead_loses_its_share_in_one_stretch_that_goes_round():
    signal = torch.ones(2, 3, 10)
    starts = torch.tensor([[0, 8, 5], [3, 5, 0]])
    masked = mask_time(signal, starts, torch.tensor([4, 3]), torch.tensor([10, 6]))
    zeros = [[(row == 0).nonzero().flatten().tolist() for row in lead] for lead in masked]
    assert zeros == [[[0, 1, 2, 3], [0, 1, 8, 9], [5, 6, 7, 8]], [[3, 4, 5], [0, 1, 5], [0, 1, 2]]]
    assert signal.all()


def test_the_mask_keeps_to_valid_samples_and_differs_between_leads():
    valid = torch.arange(400) < torch.tensor([400, 200, 100])[:, None]
    given = {"ecg": batch()["ecg"] * valid[:, None], "valid": valid, "padded": True}
    ecg = VCG(angle=0, mask=0.5)(given, Moment())["ecg"]
    n_zeros = (ecg == 0).sum(dim=2)
    assert (n_zeros == torch.tensor([[200], [300], [350]])).all()
    assert len({tuple((lead == 0).tolist()) for lead in ecg[0]}) > 6


def test_draws_reach_the_angles_and_scales_that_are_asked_for_and_no_further():
    vcg = np.zeros((400, 3, 3))
    vcg[:] = np.eye(3)  # sample k is a dipole along axis k
    ecg = torch.from_numpy(from_vcg(vcg, np.linalg.pinv(INVERSE_DOWER)))
    turned = to_vcg(VCG(angle=0.0, scale=1.5, mask=0.0)({"ecg": ecg}, Moment())["ecg"].numpy(), TWELVE, INVERSE_DOWER)
    factors = np.diagonal(turned, axis1=1, axis2=2)
    assert 1 <= factors.min() + 1e-5 < 1.02 and 1.48 < factors.max() < 1.5 + 1e-5
    turned = to_vcg(VCG(angle=30.0, scale=1.0, mask=0.0)({"ecg": ecg}, Moment())["ecg"].numpy(), TWELVE, INVERSE_DOWER)
    np.testing.assert_allclose(turned @ turned.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (400, 3, 3)), atol=1e-5)
    angles = Rotation.from_matrix(turned).as_euler("zyx", degrees=True)
    assert 29 < np.abs(angles).max() < 30.01 and (angles.min(axis=0) < -29).all() and (angles.max(axis=0) > 29).all()


def test_a_row_without_one_of_the_eight_leads_is_not_turned_and_absent_leads_stay_absent():
    present = torch.ones(3, 12, dtype=torch.bool)
    present[0, TWELVE.index("V3")] = present[1, TWELVE.index("aVR")] = False
    given = batch(lead_present=present)
    given["ecg"] = given["ecg"] * present[:, :, None]
    before = given["ecg"].clone()
    out = VCG(mask=0.0)(given, Moment())
    assert torch.equal(out["ecg"][0], before[0]) and (out["ecg"][1, TWELVE.index("aVR")] == 0).all()
    assert not torch.allclose(out["ecg"][1], before[1]) and torch.equal(given["ecg"], before)
    assert torch.equal(out["lead_present"], present)


def test_processes_draw_for_their_rows_what_one_draws_for_all():
    given, augment = batch(4), VCG()
    whole = augment(given, Moment(seed=1))["ecg"]
    half = augment({"ecg": given["ecg"][2:]}, Moment(seed=1, first_row=2, n_rows=4))["ecg"]
    torch.testing.assert_close(half, whole[2:])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"leads": ("I", "II", "V1", "V2")}, "missing: V3 V4 V5 V6"),
        ({"leads": (*TWELVE, "V7")}, "got V7 too"),
        ({"angle": 200.0}, "expected an angle"),
        ({"scale": 0.0}, "a scale above 0"),
        ({"mask": 1.0}, "below 1"),
    ],
)
def test_what_cannot_be_done_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        VCG(**options)


def test_the_angle_is_in_degrees():
    turn = rotation(torch.tensor([[90.0, 0.0, 0.0]]))[0]
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    assert math.isclose(float(torch.det(turn)), 1.0, rel_tol=1e-6)
