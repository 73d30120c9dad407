"""JEPA: the paper's loop, both forms; what is hidden stays hidden; the copy follows and never learns; collapse ends the run."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.sincos import sincos
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.vit1d import PRESETS, ViT1D
from einthoven.objectives.collapse import Collapsed
from einthoven.objectives.jepa import JEPA, Hidden
from einthoven.objectives.step import Moment

LEADS = ("I", "V1", "V5")
SH = {"mask": "blocks", "block_share": (0.175, 0.225), "loss": "smooth_l1", "target_norm": "layer_norm"}
FORMS = [("vit_tiny", {}), ("st_mem_tiny", SH), ("cross_pattern", SH), ("tiny", {}), ("tiny", {"mask": "interval", "loss": "l1"})]


def encoder_of(name):
    small = {"dim": 16, "depth": 2, "heads": 2}
    if name in PRESETS:
        return ViT1D(LEADS, **{**PRESETS[name], **small, "patch": 20, "drop_path": 0.0})
    return ECGTransformer(LEADS, **{**SIZES["tiny"], **small, "ffn": 32, "conv_layers": ((16, 4, 4), (16, 4, 4))})


def built(name="vit_tiny", **options):
    torch.manual_seed(0)
    objective = JEPA(encoder_of(name), **{"least_seconds": 0.1, "predictor_heads": 2, "predictor_depth": 1, **options})
    with torch.no_grad():  # so that positions and attention matter, and the copy is another than the encoder
        for weight in objective.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return objective.double()


def batch_of(n_rows=3, n_time=400, **more):
    draw = torch.Generator().manual_seed(7)
    return {"ecg": torch.randn(n_rows, 3, n_time, generator=draw, dtype=torch.float64), "padded": False, **more}


# ---------------------------------------------------------------------------------------------------- definition


def test_the_loss_is_the_papers_loop_where_patches_are_left_out():
    objective, batch = built(), batch_of()
    hidden = objective.hide(3, 20, Moment(seed=3))
    errors = []
    for row in range(3):
        seen, asked = hidden.seen[row].tolist(), hidden.predicted[row].tolist()
        assert sorted(seen + asked) == list(range(20))
        ecg = batch["ecg"][row : row + 1]
        target = objective.average(ecg)[0].detach()
        known = objective.encoder.context(objective.encoder.frames(ecg).tokens[:, seen])[0]
        predictor = objective.predictor
        line = [predictor.enter(one) + sincos(torch.tensor(at), 8) for one, at in zip(known, seen)]
        line += [objective.hidden_token + sincos(torch.tensor(at), 8) for at in asked]
        x = torch.stack(line)[None]
        for block in predictor.blocks:
            x = block(x)
        answer = predictor.leave(predictor.norm(x[0, len(seen) :]))
        errors += [(one - target[at]).abs().mean() for one, at in zip(answer, asked)]
    step = objective(batch, Moment(seed=3))
    torch.testing.assert_close(step.loss, torch.stack(errors).mean())
    assert step.weight == 3


def test_with_patches_of_each_lead_the_predictor_answers_for_each_lead_alone():
    objective, batch = built("st_mem_tiny", **SH), batch_of()
    hidden = objective.hide(3, 20, Moment(seed=3))
    assert all(torch.equal(hidden.seen[0], row) for row in hidden.seen)  # one draw for the batch and all leads
    seen, asked = hidden.seen[0], hidden.predicted[0]
    errors = []
    for row in range(3):
        ecg = batch["ecg"][row : row + 1]
        target = F.layer_norm(objective.average(ecg)[0].detach(), (16,)).view(3, 20, 16)
        tokens = objective.encoder.frames(ecg).tokens.view(1, 3, 20, 16)[:, :, seen].flatten(1, 2)
        known = objective.encoder.context(tokens)[0].view(3, len(seen), 16)
        for lead in range(3):
            answer = objective.predictor(known[lead][None], seen[None], asked[None], objective.hidden_token)[0]
            difference = (answer - target[lead, asked]).abs()
            errors.append(torch.where(difference < 1, 0.5 * difference**2, difference - 0.5).mean())
    torch.testing.assert_close(objective(batch, Moment(seed=3)).loss, torch.stack(errors).mean())


def test_the_loss_is_the_papers_loop_where_frames_are_covered():
    objective, batch = built("tiny"), batch_of()
    hidden = objective.hide(3, 25, Moment(seed=4))
    errors = []
    for row in range(3):
        ecg = batch["ecg"][row : row + 1]
        target = objective.average(ecg)[0].detach()
        tokens = objective.encoder.frames(ecg).tokens.clone()
        for at in range(25):
            if not hidden.seen[row, at]:
                tokens[0, at] = objective.hidden_token
        answer = objective.predictor(objective.encoder.context(tokens), torch.arange(25))[0]
        for at in hidden.predicted[row].tolist():  # a frame in two blocks counts twice
            wanted = (target[at] - target[at].mean()) / (target[at].var(unbiased=False) + 1e-5).sqrt()
            errors.append(F.smooth_l1_loss(answer[at], wanted))
    torch.testing.assert_close(objective(batch, Moment(seed=4)).loss, torch.stack(errors).mean())


@pytest.mark.parametrize("name, options", FORMS)
def test_the_gradient_is_the_slope_and_none_goes_into_the_copy(name, options):
    objective, batch = built(name, **options), batch_of()
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    assert not any(weight.requires_grad for weight in objective.average.parameters())
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
    torch.testing.assert_close((values[0] - values[1]) / 2e-6, slope, rtol=1e-4, atol=1e-6)
    objective(batch, Moment()).loss.backward()
    assert all(weight.grad is None for weight in objective.average.parameters())
    assert not objective.target(batch["ecg"]).requires_grad


# ---------------------------------------------------------------------------------------------------- masks


def test_seen_and_predicted_are_disjoint_together_everything_and_as_published_in_number():
    objective = JEPA(ViT1D(**PRESETS["vit_tiny"]))
    counts = set()
    for step in range(40):
        hidden = objective.hide(6, 200, Moment(step=step))
        both = torch.cat([hidden.seen, hidden.predicted], dim=1)
        assert torch.equal(both.sort(dim=1).values, torch.arange(200).expand(6, -1))
        counts.add(hidden.seen.shape[1])
        for row in hidden.predicted:
            runs = torch.tensor_split(row, (row.diff() > 1).nonzero()[:, 0] + 1)
            assert min(len(run) for run in runs) >= 10  # 10 patches, 0.5 s
    assert min(counts) >= 30 and max(counts) <= 50 and len(counts) > 10


def test_covered_blocks_are_as_published():
    objective = JEPA(ECGTransformer(("I",), 240.0, **{**SIZES["tiny"], "conv_layers": ((8, 2, 2),)}), least_seconds=64 / 120)
    hidden = objective.hide(7, 300, Moment())  # S4: 120 frames a second, 2.5 s
    assert hidden.predicted.shape == (7, 4 * 64)
    marked = torch.zeros(7, 300, dtype=torch.bool).scatter_(1, hidden.predicted, True)
    assert not (marked & hidden.seen).any()
    left = (~marked).sum(1)
    assert (hidden.seen.sum(1) >= left.clamp(max=64)).all() and (hidden.seen.sum(1) <= left).all()
    assert len({tuple(row[::64].tolist()) for row in hidden.predicted}) == 7  # each row its own starts


@pytest.mark.parametrize("name, options", FORMS)
def test_a_rows_mask_does_not_depend_on_who_draws_it(name, options):
    objective = built(name, **options)
    whole = objective.hide(6, 25, Moment(seed=2, step=5, n_rows=6))
    parts = [objective.hide(n, 25, Moment(seed=2, step=5, first_row=first, n_rows=6)) for first, n in ((0, 1), (1, 3), (4, 2))]
    assert torch.equal(torch.cat([part.seen for part in parts]), whole.seen)
    assert torch.equal(torch.cat([part.predicted for part in parts]), whole.predicted)
    other = objective.hide(6, 25, Moment(seed=2, step=6, n_rows=6))
    assert other.predicted.shape != whole.predicted.shape or not torch.equal(other.predicted, whole.predicted)


@pytest.mark.parametrize("name, options", FORMS)
def test_the_loss_of_a_batch_is_the_mean_over_its_rows_whoever_has_them(name, options):
    objective, batch = built(name, **options), batch_of(n_rows=4)
    valid = torch.arange(400) < torch.tensor([[400], [250], [400], [310]])
    batch |= {"ecg": batch["ecg"] * valid[:, None], "valid": valid, "padded": True}
    whole = objective(batch, Moment(n_rows=4)).loss
    rows = []
    for row in range(4):
        one = {key: value[row : row + 1] if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        # n_rows as in the whole batch; sums over processes are the identity without processes
        rows.append(objective(one, Moment(first_row=row, n_rows=4)).loss)
    torch.testing.assert_close(torch.stack(rows).mean(), whole)


# ---------------------------------------------------------------------------------------------------- what is hidden


@pytest.mark.parametrize("name, options", [form for form in FORMS if form[0] in PRESETS])
def test_the_answer_does_not_know_what_is_hidden_and_the_target_does_not_know_the_mask(name, options):
    objective, batch = built(name, **options), batch_of()
    hidden = objective.hide(3, 20, Moment())
    answer, target = objective.predict(batch["ecg"], hidden), objective.target(batch["ecg"])
    other = batch["ecg"].clone().unflatten(2, (20, 20))
    for row in range(3):
        other[row][:, hidden.predicted[row]] = torch.randn(20, dtype=torch.float64)
    torch.testing.assert_close(objective.predict(other.flatten(2), hidden), answer)
    assert (objective.target(other.flatten(2)) - target).abs().max() > 1e-3
    calls = []
    objective.average.register_forward_hook(lambda module, args, out: calls.append(out))
    objective(batch, Moment(step=1))
    objective(batch, Moment(step=2))
    assert len(calls) == 2 and torch.equal(calls[0], calls[1])


def test_covered_tokens_do_not_reach_the_answer():
    objective, batch = built("tiny"), batch_of()
    hidden = objective.hide(3, 25, Moment())
    tokens = objective.encoder.frames(batch["ecg"]).tokens.detach()
    objective.encoder.frames = lambda ecg, valid=None: SimpleNamespace(tokens=tokens, valid=None)
    answer = objective.predict(batch["ecg"], hidden)
    tokens[~hidden.seen] += 2.0
    assert torch.equal(objective.predict(batch["ecg"], hidden), answer)
    tokens[hidden.seen] += torch.randn(16, dtype=torch.float64)
    assert not torch.equal(objective.predict(batch["ecg"], hidden), answer)


def test_answers_come_in_the_order_in_which_they_are_asked():
    objective, batch = built(), batch_of()
    hidden = objective.hide(3, 20, Moment())
    order = torch.randperm(hidden.predicted.shape[1])
    mixed = objective.predict(batch["ecg"], Hidden(hidden.seen, hidden.predicted[:, order]))
    torch.testing.assert_close(mixed, objective.predict(batch["ecg"], hidden)[:, order])


def test_padding_is_neither_seen_nor_asked_for():
    objective, batch = built(), batch_of(n_rows=1)
    valid = torch.arange(400)[None] < 260  # 13 patches

    def on_both_sides(moment):
        hidden = objective.hide(1, 20, moment)
        return all((places < 13).any() and (places >= 13).any() for places in (hidden.seen, hidden.predicted))

    moment = next(moment for moment in map(Moment, range(100)) if on_both_sides(moment))
    hidden = objective.hide(1, 20, moment)
    padded = {**batch, "ecg": batch["ecg"] * valid[:, None], "valid": valid, "padded": True}
    alone = Hidden(hidden.seen[hidden.seen < 13][None], hidden.predicted[hidden.predicted < 13][None])
    expected = objective({**batch, "ecg": batch["ecg"][:, :, :260]}, moment, alone)
    step = objective(padded, moment)
    torch.testing.assert_close(step.loss, expected.loss)
    for name, part in expected.parts.items():
        torch.testing.assert_close(step.parts[name], part, msg=lambda text, name=name: f"{name}: {text}")


# ---------------------------------------------------------------------------------------------------- the copy


def test_the_copy_follows_on_a_line_from_one_momentum_to_the_other():
    objective = built(momentum=0.5, momentum_end=0.9)
    start = copy.deepcopy(objective.average.state_dict())
    expected = {name: value.clone() for name, value in start.items()}
    for step in range(1, 5):
        with torch.no_grad():
            for weight in objective.encoder.parameters():
                weight += 0.3
        objective.after_update(step, 4)
        decay = 0.5 + 0.4 * step / 4
        for name, value in objective.encoder.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in objective.average.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert objective.momentum_at(4, 4) == pytest.approx(0.9)


def test_the_copys_buffers_follow_too():
    objective = built("tiny", momentum=0.75, momentum_end=0.75)
    for part in (objective.encoder, objective.average):
        part.register_buffer("mean", torch.zeros(2))
        part.register_buffer("count", torch.tensor(0))
    objective.encoder.mean += 4.0
    objective.encoder.count += 3
    objective.after_update(1, 10)
    assert objective.average.mean.tolist() == [1.0, 1.0] and objective.average.count == 3


def test_the_copy_stays_in_evaluation_and_is_what_is_kept():
    objective = built().train()
    assert objective.encoder.training and not any(part.training for part in objective.average.modules())
    assert objective.kept is objective.average
    assert built(keep="learner").kept is not built(keep="learner").average
    learner = built(keep="learner")
    assert learner.kept is learner.encoder


# ---------------------------------------------------------------------------------------------------- collapse


class WithoutStop(JEPA):
    """What must not be done: targets by the encoder that learns, with gradient."""

    def target(self, ecg, valid=None):
        return self.encoder(ecg, valid)


def trained(kind, updates, **options):
    torch.manual_seed(0)
    objective = kind(ViT1D(**{**PRESETS["vit_tiny"], "dim": 32, "patch": 20}), guard=40, **options)
    optimiser = torch.optim.Adam([weight for weight in objective.parameters() if weight.requires_grad], lr=3e-3)
    draw = torch.Generator().manual_seed(1)
    for step in range(updates):
        rate = 0.02 + 0.1 * torch.rand(8, 1, 1, generator=draw)
        ecg = torch.randn(8, 12, 1, generator=draw) * torch.sin(torch.arange(400) * rate) + 0.3 * torch.randn(8, 12, 400, generator=draw)
        outcome = objective({"ecg": ecg, "padded": False}, Moment(step=step))
        optimiser.zero_grad()
        outcome.loss.backward()
        optimiser.step()
        objective.after_update(step + 1, updates)
    return outcome


@pytest.mark.parametrize("options", [{}, {"loss": "smooth_l1"}])
def test_without_stopping_the_gradient_the_targets_collapse_and_the_run_ends(options):
    with pytest.raises(Collapsed, match=r"collapsed at step \d+: target_spread is 0.0\d+ \(least 0.1, at first 0.\d+\).*Lower optim.lr"):
        trained(WithoutStop, 200, momentum=0.0, momentum_end=0.0, **options)


def test_with_the_gradient_stopped_it_learns_and_nothing_collapses():
    healthy = trained(JEPA, 60, momentum=0.99)
    assert healthy.parts["target_spread"] > 0.3 and healthy.parts["record_spread"] > 0.1
    assert healthy.parts["relative_loss"] < 0.9


def test_the_parts_are_what_they_say():
    objective, batch = built(), batch_of(n_rows=5)
    moment = Moment(seed=2)
    target = objective.target(batch["ecg"])
    hidden, parts = objective.hide(5, 20, moment), objective(batch, moment).parts
    size = target.square().mean().sqrt()
    deviation = (target - target.mean((0, 1))).square().mean().sqrt()
    of_records = (target - target.mean(0)).square().mean().sqrt()
    mean = F.normalize(target.mean(1), dim=1)
    cosines = [mean[one] @ mean[other] for one in range(5) for other in range(5) if one != other]
    asked = torch.stack([target[row, at] for row, at in enumerate(hidden.predicted)])
    by_centre = (asked - target.mean((0, 1))).abs().mean()
    by_place = torch.stack([(target[row, at] - target.mean(0)[at]).abs().mean() for row, at in enumerate(hidden.predicted)]).mean()
    expected = {
        "target_size": size,
        "target_spread": deviation / size,
        "record_spread": of_records / size,
        "target_cosine": torch.stack(cosines).mean(),
        "relative_loss": parts["jepa"] / by_centre,
        "relative_to_place": parts["jepa"] / by_place,
    }
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_targets_of_no_size_or_the_same_for_every_record_end_the_run():
    objective, batch = built(guard=1).train(), batch_of()
    objective(batch, Moment())
    objective.after_update(1, 10)
    with torch.no_grad():
        objective.average.norm.weight.mul_(1e-4)
    objective(batch, Moment(step=1))
    with pytest.raises(Collapsed, match=r"at step 2: target_size is"):
        objective.after_update(2, 10)
    with torch.no_grad():
        objective.average.norm.weight.mul_(1e4)
        objective.average.patch_embedding.weight.zero_()  # what is left of a token is its place
    objective(batch, Moment(step=2))
    with pytest.raises(Collapsed, match=r"record_spread is .* \(least 0.003, at first"):
        objective.after_update(3, 10)
    objective.guard.begun[1] = objective.guard.last[1]  # it began there
    objective.after_update(3, 10)
    objective.guard.begun[1] = 1.0
    objective.guard.every = 0
    objective.after_update(3, 10)


# ---------------------------------------------------------------------------------------------------- bad input


def test_what_cannot_be_trained_is_refused():
    blind = encoder_of("tiny")
    blind.has_context = False
    with pytest.raises(ValueError, match="ECGTransformer has no such halves"):
        JEPA(blind)
    for option in (
        {"seen_share": (0.3, 0.2)},
        {"block_share": (0.0, 0.2)},
        {"context_share": (0.5, 1.1)},
        {"momentum": 1.5},
        {"n_blocks": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(option))):
            JEPA(encoder_of("vit_tiny"), **option)
    with pytest.raises(RecipeError, match=r"window's 1 frames in time.*2 or more"):
        built().check(SimpleNamespace(n_window=39), 8)
    with pytest.raises(RecipeError, match=r"window's 4 frames in time.*5 or more"):
        built("tiny").check(SimpleNamespace(segments=SimpleNamespace(n_window=64)), 8)
    built().check(SimpleNamespace(n_window=40), 8)


def test_published_predictors_are_half_as_wide_and_as_deep():
    with torch.device("meta"):
        objective = JEPA(ViT1D(**PRESETS["vit_xs"]))
    # d -> d/2, blocks, norm, d/2 -> d; no biases: the published predictor's own count.
    assert sum(weight.numel() for weight in objective.predictor.parameters()) == 192 * 96 * 2 + 8 * (12 * 96**2 + 2 * 96) + 96
    assert (objective.mask, objective.loss, objective.target_norm, objective.least) == ("interval", "l1", "none", 10)
    covered = JEPA(encoder_of("tiny"))
    assert (covered.mask, covered.loss, covered.target_norm) == ("blocks", "smooth_l1", "layer_norm")
