"""What every augmentation promises, whichever it is: of its input, its randomness, its padding, its leads, its unit."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from einthoven.augment import AUGMENTS, Pipeline
from einthoven.augment.augment import obey_limb_laws
from einthoven.leads import TWELVE
from einthoven.objectives.step import Moment
from einthoven.recipes.options import options_of

LEADS_GO = {"random_lead_mask", "conditional_lead_mask"}
BREAKS_THE_LIMB_LAWS = {"channel_resize", *LEADS_GO, "vcg"}  # an amplifier's gain, leads that go, leads that are masked one by one
WITHOUT_CHANCE = {"gaussian_blur"}
READS_PADDING = {"gaussian_blur"}  # zeros lie beyond an end, whether the end is the window's or the record's
OFTEN = {"baseline_shift": {"per_second": 2.0}}  # one is rare in 2.5 s
LARGER_BY_MUCH = 1e3

every = pytest.mark.parametrize("name", sorted(AUGMENTS))


def batch_of(n_rows=7, leads=TWELVE, n_samples=250, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(n_rows, len(leads), n_samples, generator=generator)
    ecg = obey_limb_laws(torch.nn.functional.avg_pool1d(steps, 5, 1, 2), leads)
    return {
        "ecg": ecg,
        "valid": torch.ones(n_rows, n_samples, dtype=torch.bool),
        "padded": False,
        "lead_present": torch.ones(n_rows, len(leads), dtype=torch.bool),
        "scale": torch.ones(n_rows, len(leads)),
        "patient": torch.arange(n_rows),
        **more,
    }


def padded_batch(n_samples=250, **kwargs):
    batch = batch_of(n_samples=n_samples, **kwargs)
    length = torch.tensor([n_samples, n_samples - 1, 200, 131, 90, 77, 1])
    valid = torch.arange(n_samples) < length[:, None]
    return {**batch, "ecg": batch["ecg"] * valid[:, None], "valid": valid, "padded": True}


def made(name, **options):
    return AUGMENTS[name](**{"fs": 100.0, **OFTEN.get(name, {}), **options})


@every
def test_the_input_stays_as_it_was(name):
    batch = padded_batch()
    before = {key: value.clone() if torch.is_tensor(value) else value for key, value in batch.items()}
    new = made(name)(batch, Moment(seed=1))
    assert not torch.equal(new["ecg"], batch["ecg"])
    for key, value in batch.items():
        assert torch.equal(value, before[key]) if torch.is_tensor(value) else value == before[key]
    assert new["ecg"].dtype == torch.float32 and new["ecg"].shape == batch["ecg"].shape
    assert new["ecg"].isfinite().all()
    assert not new["ecg"].requires_grad


@every
@pytest.mark.parametrize("cuts", [(0, 3, 7), (0, 1, 2, 3, 4, 5, 6, 7)])
def test_a_batch_that_is_spread_over_processes_becomes_what_it_becomes_in_one(name, cuts):
    batch, whole = padded_batch(), Moment(seed=1, step=5, n_rows=7)
    together = made(name)(batch, whole)
    parts = [
        made(name)({key: value[a:b] if torch.is_tensor(value) else value for key, value in batch.items()}, replace(whole, first_row=a))
        for a, b in pairwise(cuts)
    ]
    for key in ("ecg", "lead_present"):
        assert torch.equal(torch.cat([part[key] for part in parts]), together[key])


@every
def test_a_moment_is_always_the_same_and_another_one_is_another(name):
    batch = batch_of()
    first, again = (made(name)(batch, Moment(seed=1, step=2))["ecg"] for _ in range(2))
    assert torch.equal(first, again)
    others = [Moment(seed=2, step=2), Moment(seed=1, step=3), Moment(seed=1, step=2, micro=1), Moment(seed=1, step=2).within("view1")]
    for moment in others:
        assert torch.equal(first, made(name)(batch, moment)["ecg"]) == (name in WITHOUT_CHANCE)


@every
def test_two_rows_with_the_same_ecg_become_different(name):
    batch = batch_of()
    batch["ecg"] = batch["ecg"][:1].expand(7, -1, -1)
    new = made(name)(batch, Moment(seed=1))["ecg"]
    assert (new == new[:1]).all() == (name in WITHOUT_CHANCE)


@every
def test_leads_that_are_not_there_and_padding_stay_zero(name):
    batch = padded_batch()
    batch["lead_present"][:, 4] = False
    batch["lead_present"][2, 7:] = False
    batch["ecg"] = batch["ecg"] * batch["lead_present"][:, :, None]
    new = made(name)(batch, Moment(seed=1))
    assert not (new["lead_present"] & ~batch["lead_present"]).any()
    assert torch.equal(new["lead_present"], batch["lead_present"]) or name in LEADS_GO
    assert not new["ecg"][~new["lead_present"]].any()
    assert not new["ecg"].mT[~batch["valid"]].any()


@every
def test_what_lies_behind_the_real_part_is_not_read(name):
    if name in READS_PADDING:
        pytest.skip("zeros beyond an end are its definition")
    batch = padded_batch()
    dirty = {**batch, "ecg": torch.where(batch["valid"][:, None], batch["ecg"], LARGER_BY_MUCH)}
    clean, other = (made(name)(it, Moment(seed=1))["ecg"] for it in (batch, dirty))
    torch.testing.assert_close(clean, other, atol=1e-5, rtol=0)


@every
def test_the_unit_of_the_signal_does_not_matter(name):
    batch = batch_of()
    scale = 0.1 + torch.rand(7, 12, generator=torch.Generator().manual_seed(3))
    in_units = {**batch, "ecg": batch["ecg"] / scale[:, :, None], "scale": scale}
    options = {"share": 1.0} if name == "negation" else {}
    first, second = (made(name, **options)(it, Moment(seed=1))["ecg"] for it in (batch, in_units))
    torch.testing.assert_close(second * scale[:, :, None], first, atol=2e-5, rtol=1e-4)


@every
def test_the_laws_of_the_limb_leads_hold_as_before(name):
    if name in BREAKS_THE_LIMB_LAWS:
        pytest.skip("its physics has nothing to do with electrodes")
    batch = padded_batch()
    new = made(name)(batch, Moment(seed=1))["ecg"]
    torch.testing.assert_close(obey_limb_laws(new, TWELVE), new, atol=2e-5, rtol=0)


@every
def test_what_it_does_in_half_precision_is_what_it_does(name):
    if name == "vcg":
        pytest.skip("its product with a matrix is taken in half precision")
    batch = batch_of()
    outside = made(name)(batch, Moment(seed=1))["ecg"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(made(name)(batch, Moment(seed=1))["ecg"], outside)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@every
def test_on_a_gpu_it_draws_the_same_numbers(name):
    batch = padded_batch()
    there = {key: value.cuda() if torch.is_tensor(value) else value for key, value in batch.items()}
    here, new = made(name)(batch, Moment(seed=1)), made(name)(there, Moment(seed=1))
    assert new["ecg"].is_cuda
    torch.testing.assert_close(new["ecg"].cpu(), here["ecg"], atol=1e-4, rtol=1e-4)
    assert torch.equal(new["lead_present"].cpu(), here["lead_present"])


@every
def test_every_option_says_what_it_means(name):
    for option, field in options_of(AUGMENTS[name]).model_fields.items():
        assert field.description, f"{name}.{option}"


@every
def test_rows_outside_its_share_stay_as_they_are(name):
    batch = batch_of(40)
    new = made(name, share=0.5)(batch, Moment(seed=1))["ecg"]
    same = (new == batch["ecg"]).all(dim=2).all(dim=1)
    assert 8 <= same.sum() <= 32
    assert torch.equal(made(name, share=0.0)(batch, Moment(seed=1))["ecg"], batch["ecg"])


@every
@pytest.mark.parametrize("leads", [("II",), ("I", "II", "V2"), ("V6", "aVF", "II", "I", "III"), ("V1", "V4")])
@pytest.mark.parametrize("fs", [100.0, 500.0])
def test_any_leads_will_do_or_it_says_which_it_needs(name, leads, fs):
    batch = batch_of(leads=leads, n_samples=round(2.5 * fs))
    try:
        augment = made(name, leads=leads, fs=fs)
    except ValueError as error:
        assert name == "vcg" and "lead" in str(error)
        return
    new = augment(batch, Moment(seed=1))
    assert new["ecg"].shape == batch["ecg"].shape and new["ecg"].isfinite().all()
    assert not torch.equal(new["ecg"], batch["ecg"]) or (name == "conditional_lead_mask" and len(leads) == 1)  # of each kind one stays


@every
@pytest.mark.parametrize("n_samples", [251, 40])
def test_odd_and_short_windows_will_do_or_it_says_how_long_they_must_be(name, n_samples):
    batch = batch_of(n_samples=n_samples)
    try:
        new = made(name)(batch, Moment(seed=1))
    except ValueError as error:
        assert name == "dynamic_time_warp" and n_samples == 40
        assert "0.63 s" in str(error) and "0.4 s" in str(error)
        return
    assert new["ecg"].shape == batch["ecg"].shape and new["ecg"].isfinite().all()
    assert not torch.equal(new["ecg"], batch["ecg"])


def test_a_pipeline_of_all_is_what_they_are_one_after_the_other():
    steps = [made(name) for name in sorted(AUGMENTS)] * 2
    batch, moment = padded_batch(), Moment(seed=4)
    expected = batch
    for number, step in enumerate(steps):
        expected = step(expected, moment.within(f"augment{number}"))
    new = Pipeline(steps)(batch, moment)
    assert torch.equal(new["ecg"], expected["ecg"]) and new["ecg"].isfinite().all()
