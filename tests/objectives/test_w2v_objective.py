"""W2V's loss is the paper's plain loop, its draws are what they should be, and it learns."""

import math

import pytest
import torch
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.models import ENCODERS, PRESETS, SIZES, ECGTransformer
from einthoven.objectives.masked_prediction import fingerprint, places, take
from einthoven.objectives.step import Moment
from einthoven.objectives.wav2vec2 import W2V


def w2v(**options):
    torch.manual_seed(0)
    encoder = ECGTransformer(**{**SIZES["tiny"], "dim": 32, "heads": 2, "depth": 1})
    return W2V(encoder, **{"final_dim": 8, "latent_vars": 6, "n_negatives": 7, "mask": {"length": 4}, **options})


def batch_of(n_rows=3, n_samples=400):
    return {"ecg": torch.randn(n_rows, 12, n_samples, generator=torch.Generator().manual_seed(0))}


def plain_loss(objective, batch, moment):
    """The mean over masked frames of -log of the positive's share, one negative after the other."""
    objective, batch = objective.double().eval(), {"ecg": batch["ecg"].double()}
    frames = objective.encoder.frames(batch["ecg"])
    masked = objective.masked
    choices = masked.choose(*frames.tokens.shape[:2], None, moment, torch.device("cpu"))
    tokens = torch.where(choices.mask[:, :, None], masked.mask_emb, frames.tokens)
    if choices.channel_mask is not None:
        tokens = tokens * ~choices.channel_mask[:, None, :]
    context = objective.encoder.context(tokens)
    quantised = None
    if masked.quantizer is not None:
        quantised = masked.quantizer(take(frames.local, places(choices.mask)))

    def project(vector):
        return masked.project_q(vector) if masked.target_glu is None else masked.target_glu(masked.project_q(vector))

    terms, right = [], 0
    for row in range(tokens.shape[0]):
        hidden = [int(frame) for frame in choices.mask[row].nonzero()[:, 0]]
        for i, frame in enumerate(hidden):
            answer = masked.final_proj(context[row, frame])
            near = frames.local[row] if masked.everywhere else [frames.local[row, other] for other in hidden]
            if quantised is not None:
                near = quantised.vectors[row]
            positive = near[frame if masked.everywhere else i]
            negatives = []
            for k in range(masked.n_negatives):
                index = int(choices.near[row, i, k])
                assert index != (frame if masked.everywhere else i)
                negatives.append(near[index])
            for k in range(masked.n_far):
                other, place = divmod(int(choices.far[row, i, k]), len(hidden))
                assert (other, place) != (row, i)
                far_frame = int(choices.mask[other].nonzero()[place, 0])
                negatives.append(frames.local[other, far_frame] if quantised is None else quantised.vectors[other, place])
            for k in range(masked.n_codebook):
                negatives.append(masked.quantizer.look_up(choices.codebook[row, i, k]))
            scores = [F.cosine_similarity(answer, project(positive), dim=0) / masked.temperature]
            for negative in negatives:
                if not torch.equal(negative, positive):
                    scores.append(F.cosine_similarity(answer, project(negative), dim=0) / masked.temperature)
            scores = torch.stack(scores)
            terms.append(-(scores[0] - scores.logsumexp(dim=0)))
            right += int(scores.argmax() == 0 and len(scores) > 1)
    loss = torch.stack(terms).mean()
    loss = loss + masked.energy_weight * objective.encoder.feature_extractor(batch["ecg"]).square().mean()
    if quantised is not None:
        loss = loss + masked.diversity_weight * (masked.quantizer.n_vars - quantised.prob_perplexity) / masked.quantizer.n_vars
    return loss, len(terms), right / len(terms), objective(batch, moment)


OPTIONS = [
    {},
    {"cross_sample_negatives": 5},
    {"codebook_negatives": 3, "latent_groups": 2},
    {"n_negatives": 0, "cross_sample_negatives": 6},
    {"quantise_targets": False},
    {"quantise_targets": False, "negatives_from_everywhere": True},
    {"quantise_targets": False, "target_glu": True, "cross_sample_negatives": 2},
    {"channel_mask": {"prob": 0.4, "length": 3}, "temperature": 0.3, "energy_weight": 2.0, "diversity_weight": 0.7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_loss_is_the_plain_loop_s_and_so_is_its_gradient(options):
    objective = w2v(**options)
    expected, weight, right, step = plain_loss(objective, batch_of(), Moment(seed=4))
    torch.testing.assert_close(step.loss, expected)
    assert step.weight == weight and float(step.parts["accuracy"]) == pytest.approx(right)
    named = [(name, p) for name, p in objective.named_parameters()]
    ours = torch.autograd.grad(step.loss, [p for _, p in named], allow_unused=True)
    plain = torch.autograd.grad(expected, [p for _, p in named], allow_unused=True)
    for (name, _), a, b in zip(named, ours, plain):
        if b is None:
            assert a is None or not a.any(), name
        else:
            torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}")


def test_the_parts_add_up_to_the_loss():
    step = w2v()(batch_of(), Moment())
    torch.testing.assert_close(step.loss.detach(), step.parts["loss_nce"] + step.parts["diversity"] + step.parts["feature_penalty"])
    assert not any(part.requires_grad for part in step.parts.values())


def test_at_the_start_the_loss_is_near_chance_and_accuracy_too():
    objective = w2v(n_negatives=50, temperature=10.0, quantise_targets=False).eval()
    step = objective(batch_of(8, 1600), Moment())
    assert float(step.parts["loss_nce"]) == pytest.approx(math.log(51), abs=0.05)


def test_the_gradient_reaches_every_parameter_that_learns():
    for options in ({}, {"quantise_targets": False, "target_glu": True}):
        objective = w2v(**options).train()
        objective(batch_of(), Moment()).loss.backward()
        assert [name for name, p in objective.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_same_moment_draws_the_same_and_the_next_one_does_not():
    objective, batch = w2v().train(), batch_of()
    losses = [objective(batch, moment).loss.item() for moment in (Moment(step=3), Moment(step=3), Moment(step=4), Moment(step=3, micro=1))]
    assert losses[0] == losses[1] and len(set(losses)) == 3


def test_the_memory_of_negatives_does_not_grow_with_the_width():
    """No tensor of the graph has (1 + negative) x batch x masked x dim elements."""
    objective, batch = w2v(n_negatives=100, final_dim=64), batch_of(4, 800)
    largest = 0

    def see(tensor):
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        step = objective(batch, Moment())
    assert largest < 101 * step.weight * 8


def test_padded_frames_are_neither_masked_nor_targets():
    objective = w2v(mask={"length": 3})
    valid = torch.arange(400) < torch.tensor([400, 200, 120])[:, None]
    frames = objective.encoder.frames(batch_of()["ecg"], valid)
    for step in range(20):
        choices = objective.masked.choose(3, 25, frames.valid, Moment(step=step), torch.device("cpu"))
        assert not (choices.mask & ~frames.valid).any()
        assert choices.mask.sum(dim=1).unique().numel() == 1
    assert objective({**batch_of(), "valid": valid}, Moment()).loss.isfinite()


def test_negatives_from_everywhere_are_valid_frames_other_than_the_own_one():
    objective = w2v(mask={"length": 3}, quantise_targets=False, negatives_from_everywhere=True, n_negatives=200)
    valid = torch.arange(25) < torch.tensor([25, 12, 8])[:, None]
    for step in range(5):
        choices = objective.masked.choose(3, 25, valid, Moment(step=step), torch.device("cpu"))
        for row, length in enumerate([25, 12, 8]):
            for i, frame in enumerate(places(choices.mask)[row]):
                drawn = choices.near[row, i].unique()
                assert drawn.min() >= 0 and drawn.max() < length and frame not in drawn
        # 200 draws for each of several masked frames: no place is left out but the own one.
        assert choices.near[1].unique().numel() == 12


def test_an_ecg_too_short_to_be_masked_is_refused():
    valid = torch.arange(400) < torch.tensor([400, 400, 16])[:, None]
    with pytest.raises(RecipeError, match="the shortest of the batch has 1 frames"):
        w2v()({**batch_of(), "valid": valid}, Moment())


@pytest.mark.parametrize(
    "options",
    [
        {"quantise_targets": False, "codebook_negatives": 2},
        {"negatives_from_everywhere": True},
        {"n_negatives": 0},
        {"mask": {"kind": "gamma"}},
    ],
    ids=str,
)
def test_options_that_contradict_each_other_are_refused(options):
    with pytest.raises(ValueError):
        w2v(**options)


def test_equal_vectors_have_equal_fingerprints_and_others_do_not():
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    marks = fingerprint(torch.cat([x, x]))
    assert torch.equal(marks[:500], marks[500:]) and marks[:500].unique().numel() == 500


def test_a_tiny_encoder_learns_one_batch_by_heart():
    torch.manual_seed(0)
    objective = W2V(ECGTransformer(**SIZES["tiny"]), final_dim=32, latent_vars=40, n_negatives=20, mask={"length": 4})
    batch = batch_of(4, 320)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    for _ in range(110):
        step = objective(batch, Moment())
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    assert float(step.parts["accuracy"]) > 0.95


def test_a_hidden_frame_of_an_encoder_whose_tokens_carry_their_places_keeps_its_place():
    # Otherwise a vision transformer would be asked the same question at every hidden frame.
    torch.manual_seed(0)
    encoder = ENCODERS["vit1d"](**PRESETS["vit_tiny"][1])
    objective = W2V(encoder, latent_vars=6, final_dim=8, n_negatives=5, mask={"length": 2}).eval()
    seen = []
    encoder.context = lambda tokens, valid=None: seen.append(tokens) or type(encoder).context(encoder, tokens, valid)
    with torch.no_grad():
        objective({"ecg": torch.randn(2, 12, 800)}, Moment(seed=1))
    tokens = seen[0]
    covered = (tokens - encoder.positions(encoder.grid(tokens.shape[1])) - objective.masked.mask_emb).abs().amax(dim=2) < 1e-6
    assert covered.any(dim=1).all() and not covered.all()
