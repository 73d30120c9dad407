"""Masked autoencoding: the paper's loop over records, leads and patches; what is hidden stays hidden, and is all that counts."""

from types import SimpleNamespace

import pytest
import torch

from einthoven.errors import RecipeError
from einthoven.layers.sincos import sincos
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.vit1d import PRESETS, ViT1D
from einthoven.objectives.mae import MAE, normalise_patches
from einthoven.objectives.step import Moment


def built(name="st_mem_tiny", patch=20, leads=("I", "V1", "V5"), encoder=None, **options):
    torch.manual_seed(0)
    vit = ViT1D(leads, **{**PRESETS[name], "dim": 16, "depth": 1, "heads": 2, "patch": patch, **(encoder or {})})
    objective = MAE(vit, **{"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, **options})
    with torch.no_grad():  # so that positions, attention and separators all matter
        for weight in objective.parameters():
            weight += 0.2 * torch.randn(weight.shape)
    return objective.double()


def batch_of(n_rows=3, n_leads=3, n_time=160, **more):
    return {"ecg": torch.randn(n_rows, n_leads, n_time, dtype=torch.float64), "padded": False, **more}


def in_leads(hidden, n_leads):
    return hidden.unflatten(1, (n_leads, -1))


def test_the_loss_is_the_papers_loop():
    objective, batch = built(), batch_of()
    encoder, ecg = objective.encoder, batch["ecg"]
    step = objective(batch, Moment(seed=3))
    hidden = in_leads(objective.hide(3, 24, Moment(seed=3)), 3)
    assert hidden.sum(2).eq(6).all()
    errors = []
    for row in range(3):
        tokens, where = [], []
        for lead in range(3):
            for place in range(8):
                if not hidden[row, lead, place]:
                    x = encoder.norm_in(ecg[row, lead, 20 * place : 20 * place + 20])
                    x = encoder.norm_out(encoder.patch_embedding(x)) + sincos(torch.tensor(place + 1), 16, "halves")
                    tokens.append(x + encoder.lead_embedding[encoder.leads[lead]])
                    where.append((lead, place))
        ends = [encoder.separator + encoder.lead_embedding[name] for name in encoder.leads]
        x = torch.stack([*tokens, *ends, *ends])[None]
        for layer in encoder.layers:
            x = layer(x)
        x = objective.enter(encoder.norm(x)[0])
        for lead in range(3):  # each alone: separator, patches in order, separator
            places = sincos(torch.arange(1, 9), 16, "halves").double()
            line = [objective.hidden_token + places[place] for place in range(8)]
            for number, (at, place) in enumerate(where):
                if at == lead:
                    line[place] = x[number] + places[place]
            line = torch.stack([x[len(tokens) + lead], *line, x[len(tokens) + 3 + lead]])[None]
            for block in objective.blocks:
                line = block(line)
            drawn = objective.draw(objective.norm(line))[0, 1:-1]
            for place in range(8):
                if hidden[row, lead, place]:
                    patch = ecg[row, lead, 20 * place : 20 * place + 20]
                    wanted = (patch - patch.mean()) / (patch.var(unbiased=True) + 1e-6).sqrt()
                    errors.append((drawn[place] - wanted).square().mean())
    torch.testing.assert_close(step.loss, torch.stack(errors).mean())
    assert len(errors) == 3 * 3 * 6 and step.weight == 3


@pytest.mark.parametrize("name, options", [("st_mem_tiny", {}), ("mtae", {}), ("st_mem_tiny", {"mask": "leads", "norm_target": False})])
def test_the_gradient_is_the_slope(name, options):
    objective, batch = built(name, **options), batch_of()
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    direction = [torch.randn_like(weight) for weight in weights]
    gradient = torch.autograd.grad(objective(batch, Moment()).loss, weights)
    slope = sum((one * other).sum() for one, other in zip(gradient, direction))
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, step in zip(weights, direction):
                weight += sign * 1e-6 * step
            values.append(objective(batch, Moment()).loss)
            for weight, step in zip(weights, direction):
                weight -= sign * 1e-6 * step
    torch.testing.assert_close((values[0] - values[1]) / 2e-6, slope, rtol=1e-5, atol=1e-7)


def test_of_thirty_patches_twenty_three_are_hidden_in_every_lead():
    objective = built(patch=75)
    hidden = in_leads(objective.hide(50, 3 * 30, Moment()), 3)
    assert hidden.sum(2).eq(23).all()
    assert not torch.equal(hidden[:, 0], hidden[:, 1]) and not torch.equal(hidden[0], hidden[1])
    share = in_leads(objective.hide(3000, 3 * 30, Moment()), 3).double().mean((0, 1))
    assert (share - 23 / 30).abs().max() < 0.02  # every patch as often as the others: 4 standard errors


def test_the_encoder_gets_what_is_seen_and_every_separator():
    objective, seen = built(patch=20), []
    objective.encoder.layers[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    objective(batch_of(), Moment())
    assert seen == [3 * (2 + 2)]  # of 8 patches 2 are seen; 2 separators


def test_with_patches_of_all_leads_tokens_are_hidden_for_all_of_them():
    objective = built("mtae", leads=("I", "II"), encoder={"patch": 10})
    hidden = objective.hide(20, 30, Moment())
    assert hidden.shape == (20, 30) and hidden.sum(1).eq(23).all()
    assert objective.reconstruct(torch.randn(1, 2, 300).double(), hidden[:1]).shape == (1, 30, 20)


def test_with_whole_leads_hidden_and_one_patch_each_it_is_mlae():
    twelve = tuple(f"lead{number}" for number in range(12))
    objective = built(patch=60, leads=twelve, mask="leads")
    hidden = objective.hide(40, 12, Moment())
    assert (~hidden).sum(1).eq(3).all()  # published: 3 of 12
    several = in_leads(objective.hide(4, 36, Moment()), 12)
    assert several.all(2).sum(1).eq(9).all() and several.any(2).sum(1).eq(9).all()
    assert objective(batch_of(n_leads=12), Moment()).loss.requires_grad


@pytest.mark.parametrize("name, options", [("st_mem_tiny", {}), ("mtae", {}), ("st_mem_tiny", {"mask": "leads"})])
def test_what_is_hidden_cannot_be_seen(name, options):
    objective, batch = built(name, **options), batch_of()
    n_frames = objective.encoder.n_frames(160)
    hidden = objective.hide(3, n_frames, Moment())
    drawn = objective.reconstruct(batch["ecg"], hidden)
    ecg = batch["ecg"].clone().unflatten(2, (8, 20))
    of_leads = in_leads(hidden, 3) if objective.encoder.n_rows == 3 else hidden[:, None].expand(-1, 3, -1)
    ecg[of_leads] += 5.0
    assert torch.equal(objective.reconstruct(ecg.flatten(2), hidden), drawn)
    ecg[~of_leads] += torch.randn(20, dtype=torch.float64)
    assert not torch.equal(objective.reconstruct(ecg.flatten(2), hidden), drawn)


def test_the_loss_asks_for_hidden_patches_alone(monkeypatch):
    objective, batch = built(), batch_of()
    hidden = objective.hide(3, 24, Moment())
    drawn = torch.randn(3, 24, 20, dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr(objective, "reconstruct", lambda *args: drawn)
    (gradient,) = torch.autograd.grad(objective(batch, Moment()).loss, drawn)
    assert (gradient[~hidden] == 0).all() and (gradient[hidden] != 0).all()
    perfect = batch["ecg"].unflatten(2, (8, 20)).flatten(1, 2)
    perfect = (perfect - perfect.mean(2, keepdim=True)) / (perfect.var(2, keepdim=True) + 1e-6).sqrt()
    monkeypatch.setattr(objective, "reconstruct", lambda *args: perfect)
    assert objective(batch, Moment()).loss < 1e-24


def test_a_flat_patch_is_zero_and_the_loss_stays_finite():
    flat = torch.full((2, 3, 160), 0.7, dtype=torch.float64)
    assert normalise_patches(flat.unflatten(2, (8, 20))).abs().max() < 1e-9
    objective = built()
    loss = objective({"ecg": flat.requires_grad_(), "padded": False}, Moment()).loss
    loss.backward()
    assert loss.isfinite() and all(weight.grad.isfinite().all() for weight in objective.parameters())


def test_leads_that_were_not_recorded_and_padding_are_not_asked_for():
    objective, batch = built(), batch_of()
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
    valid = torch.arange(160) < torch.tensor([[160], [110], [160]])
    batch["ecg"] = batch["ecg"] * present[:, :, None] * valid[:, None]
    batch |= {"lead_present": present, "valid": valid, "padded": True}
    hidden = in_leads(objective.hide(3, 24, Moment()), 3)
    drawn = in_leads(objective.reconstruct(batch["ecg"], hidden.flatten(1), valid), 3)
    rows = []
    for row in range(3):
        errors = []
        for lead in range(3):
            for place in range(8):
                if hidden[row, lead, place] and present[row, lead] and valid[row, 20 * place + 19]:
                    wanted = normalise_patches(batch["ecg"][row, lead, 20 * place : 20 * place + 20])
                    errors.append((drawn[row, lead, place] - wanted).square().mean())
        rows.append(torch.stack(errors).mean())
    torch.testing.assert_close(objective(batch, Moment()).loss, torch.stack(rows).mean())


def test_a_token_of_all_leads_is_normalised_over_those_that_were_recorded():
    objective, batch = built("mtae"), batch_of()
    present = torch.tensor([[True, False, True]]).expand(3, -1)
    batch["ecg"] = batch["ecg"] * present[:, :, None]
    target, recorded = objective.target({**batch, "lead_present": present})
    assert target.shape == recorded.shape == (3, 8, 60)
    assert torch.equal(recorded[0, 0], torch.tensor([True] * 20 + [False] * 20 + [True] * 20))
    torch.testing.assert_close(target[recorded].view(3, 8, 40).mean(2), torch.zeros(3, 8, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(target[recorded].view(3, 8, 40).var(2), torch.ones(3, 8, dtype=torch.float64), atol=1e-4, rtol=0)
    assert (target[~recorded] == 0).all()


@pytest.mark.parametrize("options", [{}, {"mask": "leads"}])
def test_a_rows_mask_does_not_depend_on_who_draws_it(options):
    objective = built(**options)
    whole = objective.hide(6, 24, Moment(seed=2, step=5, n_rows=6))
    parts = [objective.hide(n, 24, Moment(seed=2, step=5, first_row=first, n_rows=6)) for first, n in ((0, 1), (1, 3), (4, 2))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, objective.hide(6, 24, Moment(seed=2, step=6, n_rows=6)))


@pytest.mark.parametrize("name, options", [("st_mem_tiny", {}), ("mtae", {}), ("st_mem_tiny", {"mask": "leads"})])
def test_the_loss_of_a_batch_is_the_mean_over_its_rows_whoever_has_them(name, options):
    objective = built(name, **options)
    valid = torch.arange(160) < torch.tensor([[160], [110], [160], [75]])
    present = torch.tensor([[True, True, True], [True, False, True], [True, True, True], [True, True, False]])
    batch = batch_of(n_rows=4, valid=valid, lead_present=present)
    batch |= {"ecg": batch["ecg"] * valid[:, None] * present[:, :, None], "padded": True}
    whole = objective(batch, Moment(n_rows=4)).loss
    rows = []
    for row in range(4):
        one = {key: value[row : row + 1] if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        rows.append(objective(one, Moment(first_row=row, n_rows=4)).loss)
    torch.testing.assert_close(torch.stack(rows).mean(), whole)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="ECGTransformer has none; take encoder=st_mem"):
        MAE(ECGTransformer(**SIZES["tiny"]))
    with pytest.raises(ValueError, match="mask_ratio between 0 and 1; got 1"):
        built(mask_ratio=1.0)
    with pytest.raises(ValueError, match="patching=lead_time"):
        built("mtae", mask="leads")
    with pytest.raises(RecipeError, match="patches and shows others, but there is 1: lengthen seconds"):
        built().check(SimpleNamespace(n_window=39), 8)
    built().check(SimpleNamespace(n_window=40), 8)
