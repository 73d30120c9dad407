"""CPC against the plain loops of the paper, and what its negatives are."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from einthoven.errors import RecipeError
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.cpc import CPCEncoder
from einthoven.models.s4 import S4Encoder
from einthoven.objectives.cpc import CPC, FEW, cpc_logits, n_candidates, negatives_of
from einthoven.objectives.step import Moment

STEPS, NEGATIVES = 3, 5


def recurrent():
    return CPCEncoder(features=(8, 12), kernels=(4, 3), strides=(2, 1), dim=16, depth=1)


def state_space():
    return S4Encoder(dim=12, depth=1, kernels=(3,), strides=(2,), dropout=0.0)


def objective(encoder=recurrent, **options):
    torch.manual_seed(0)
    return CPC(encoder(), **{"steps_ahead": STEPS, "n_negatives": NEGATIVES, **options}).double().eval()


def batch_of(lengths, n_time=None, seed=0):
    n_time = n_time or max(lengths)
    ecg = torch.randn(len(lengths), 12, n_time, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    valid = torch.arange(n_time) < torch.tensor(lengths)[:, None]
    return {"ecg": ecg * valid[:, None], "valid": valid, "padded": bool((~valid).any())}


def plain_loops(predicted, local, length, draws, steps, from_batch):
    """Mean cross-entropy and accuracy, row by row, position by position, negative by negative."""
    losses, right = [], []
    candidates = [(row, frame) for row, n in enumerate(length) for frame in range(n - 1)]
    for row, n in enumerate(length):
        for i in range(n - steps):
            scores = [predicted[row, i] @ local[row, i + steps]]
            for drawn in draws[row, i].tolist():
                other, frame = candidates[drawn] if from_batch else (row, drawn)
                scores.append(predicted[row, i] @ local[other, frame + 1 if frame >= i + steps else frame])
            scores = torch.stack(scores)
            losses.append(-scores.log_softmax(dim=0)[0])
            right.append(float(scores[0] > scores[1:].max()))
    return torch.stack(losses).mean(), sum(right) / len(right), len(losses)


@pytest.mark.parametrize("lengths", [[48, 48, 48], [48, 21, 33], [48, 4, 48]])
@pytest.mark.parametrize("negatives", ["same_sequence", "batch"])
@pytest.mark.parametrize("encoder", [recurrent, state_space])
def test_the_loss_is_that_of_the_plain_loops_with_its_gradient(encoder, negatives, lengths):
    ours, batch, from_batch = objective(encoder, negatives=negatives), batch_of(lengths), negatives == "batch"
    n_frames = [int(ours.encoder.n_frames(n)) for n in lengths]
    total = sum(n - 1 for n in n_frames)
    draws = torch.stack(
        [
            torch.randint(total if from_batch else n - 1, (max(n_frames) - STEPS, NEGATIVES), generator=torch.Generator().manual_seed(n))
            for n in n_frames
        ]
    )
    step = ours(batch, Moment(), draws=draws)
    frames = ours.encoder.frames(batch["ecg"], batch["valid"])
    predicted = ours.proj(ours.encoder.context(frames.tokens, frames.valid))
    loss, accuracy, n_terms = plain_loops(predicted, frames.local, n_frames, draws, STEPS, from_batch)
    torch.testing.assert_close(step.loss, loss)
    assert float(step.parts["accuracy"]) == pytest.approx(accuracy) and step.weight == n_terms
    weights = list(ours.parameters())
    for mine, theirs in zip(torch.autograd.grad(step.loss, weights), torch.autograd.grad(loss, weights)):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("from_batch", [False, True])
def test_gradients_of_the_scores_are_right(from_batch):
    predicted, local = (torch.randn(2, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 6))
    negatives = torch.randint(12 if from_batch else 6, (2, 4, 5), generator=torch.Generator().manual_seed(0))

    def scores(predicted, local):
        return cpc_logits(predicted, local, negatives, local.flatten(0, 1) if from_batch else None)

    assert torch.autograd.gradcheck(scores, (predicted, local))


@pytest.mark.parametrize("n_negatives", [3, 9])
def test_scores_are_those_of_a_plain_loop_whether_few_frames_are_drawn_or_many(n_negatives):
    draw = torch.Generator().manual_seed(0)
    predicted, local = (torch.randn(2, n, 256, dtype=torch.float64, generator=draw, requires_grad=True) for n in (36, 40))
    negatives = torch.randint(40, (2, 36, n_negatives), generator=draw)
    assert (40 > FEW * n_negatives) == (n_negatives == 3)
    columns = [[[i + 4, *negatives[row, i].tolist()] for i in range(36)] for row in range(2)]
    plain = torch.stack([predicted[row, i] @ local[row, column] for row in range(2) for i in range(36) for column in columns[row][i]])
    scores = cpc_logits(predicted, local, negatives)
    torch.testing.assert_close(scores.flatten(), plain)
    weight = torch.randn(plain.shape, dtype=torch.float64, generator=draw)
    for mine, theirs in zip(
        torch.autograd.grad(scores.flatten() @ weight, (predicted, local)), torch.autograd.grad(plain @ weight, (predicted, local))
    ):
        torch.testing.assert_close(mine, theirs)


def test_negatives_of_a_row_are_all_its_frames_but_the_target():
    draws = torch.arange(9).expand(1, 6, 9)
    frames = negatives_of(draws, 4)
    for i in range(6):
        assert sorted(frames[0, i].tolist()) == [frame for frame in range(10) if frame != i + 4]


def test_negatives_of_a_batch_leave_the_targets_place_out_in_every_row_and_padding_too():
    length = torch.tensor([10, 0, 4, 7])
    total = int(n_candidates(length).sum())
    frames = negatives_of(torch.arange(total).expand(1, 6, total).contiguous(), 4, length, 10)
    for i in range(6):
        # Where a row does not reach the target's place, its last frame is the one that is left out.
        out = {row: min(i + 4, n - 1) for row, n in enumerate(length.tolist())}
        expected = [row * 10 + frame for row, n in enumerate(length.tolist()) for frame in range(n) if frame != out[row]]
        assert sorted(frames[0, i].tolist()) == expected


def test_draws_are_uniform_over_the_candidates():
    ours = objective(n_negatives=2000)
    draws = ours.draw(3, 10, torch.tensor([7, 1, 3]), Moment(seed=4))
    assert bool((draws[1] == 0).all())
    for row, n in ((0, 7), (2, 3)):
        share = torch.bincount(draws[row].flatten(), minlength=n) / draws[row].numel()
        assert share.shape == (n,) and float((share - 1 / n).abs().max()) < 0.02


def test_draws_belong_to_the_row_not_to_the_process():
    ours, candidates = objective(), torch.tensor([20, 20, 20, 20])
    together = ours.draw(4, 6, candidates, Moment(seed=1, n_rows=4))
    apart = [ours.draw(2, 6, candidates[:2], Moment(seed=1, first_row=first, n_rows=4)) for first in (0, 2)]
    assert torch.equal(torch.cat(apart), together) and not torch.equal(together[0], together[1])
    assert not torch.equal(ours.draw(4, 6, candidates, Moment(seed=1, step=1)), together)


def test_a_padded_batch_is_the_mean_of_its_records_alone():
    ours, lengths = objective(), [48, 21, 33]
    batch, together = batch_of(lengths, n_time=60), []
    step = ours(batch, Moment(seed=3))
    for row, n in enumerate(lengths):
        alone = ours({"ecg": batch["ecg"][row : row + 1, :, :n]}, Moment(seed=3, first_row=row))
        together.append((alone.weight, alone.weight * alone.loss, alone.weight * alone.parts["accuracy"]))
    weight, loss, accuracy = (sum(column) for column in zip(*together))
    assert step.weight == weight
    torch.testing.assert_close(step.loss, loss / weight)
    torch.testing.assert_close(step.parts["accuracy"], accuracy / weight)


def test_an_encoder_that_says_nothing_starts_at_chance_and_is_never_right():
    ours = objective()
    torch.nn.init.zeros_(ours.proj.weight)
    step = ours(batch_of([48, 48]), Moment())
    assert float(step.loss.detach()) == pytest.approx(math.log(1 + NEGATIVES)) and float(step.parts["accuracy"]) == 0


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation gives back."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            self.n = max(self.n, one.numel()) if isinstance(one, torch.Tensor) else self.n
        return out


@pytest.mark.parametrize("negatives", ["same_sequence", "batch"])
def test_negatives_never_get_vectors_of_their_own(negatives):
    ours = objective(n_negatives=100, negatives=negatives)
    with Largest() as largest:
        ours(batch_of([200] * 4), Moment()).loss.backward()
    n_positions = 100 - STEPS
    assert 4 * n_positions * 100 <= largest.n < 4 * n_positions * 100 * 12 / 2


@pytest.mark.parametrize(
    "encoder", [lambda: ECGTransformer(**SIZES["tiny"]), lambda: S4Encoder(dim=8, depth=1, bidirectional=True)], ids=["transformer", "s4"]
)
def test_an_encoder_that_looks_ahead_is_refused(encoder):
    with pytest.raises(RecipeError, match=r"must not look ahead.*bidirectional=false"):
        CPC(encoder())


def test_windows_that_are_too_short_are_refused_before_training():
    ours = objective(steps_ahead=30)
    view = SimpleNamespace(segments=SimpleNamespace(n_window=60))
    with pytest.raises(RecipeError, match=r"30 frames ahead, but .* 30 frames of 0\.004 s: expected at least 31"):
        ours.check(view, 8)
    view.segments.n_window = 64
    ours.check(view, 8)
    ours.check(SimpleNamespace(n_window=None), 8)
    with pytest.raises(RecipeError, match="expected at least 31"):
        ours(batch_of([60, 44]), Moment())


def test_wrong_options_are_refused():
    for options in ({"steps_ahead": 0}, {"n_negatives": 0}, {"negatives": "everywhere"}, {"head": "deep"}):
        with pytest.raises(RecipeError, match="expected"):
            objective(**options)


def test_heads_have_the_layers_that_were_asked_for():
    assert sum(p.numel() for p in objective().proj.parameters()) == 16 * 12
    assert sum(p.numel() for p in objective(bias=True).proj.parameters()) == 16 * 12 + 12
    assert sum(p.numel() for p in objective(head="mlp", bias=True).proj.parameters()) == 16 * 16 + 16 + 16 * 12 + 12
