"""CPC, contrastive predictive coding: what was heard so far tells the frame that comes next from others.

Sources: van den Oord, Li, Vinyals, 2018; for ECGs Mehari and Strodthoff, Comput. Biol. Med. 141, 2022 (LSTM, 12 frames of 10 ms
ahead), and ECG-CPC (S4, 14 frames of 1/120 s ahead).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.conv_frontend import first_frames
from einthoven.layers.gather import gather_rows
from einthoven.models.encoder import Encoder
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step, valid_of

FEW = 7
"""A CPU computes all products of two rows of long vectors as fast as every 7th of them."""


def negatives_of(draws: Tensor, steps_ahead: int, length: Tensor | None = None, n_frames: int = 0) -> Tensor:
    """Which frames the drawn numbers mean: (row, position, negative) int64 -> the same shape.

    A row of so many frames has one candidate fewer, because the place of the target is left out, in every row.

    draws       : within a row: from 0 to below its number of candidates; over the batch: candidates counted row after row
    steps_ahead : the target of position i stands at i + steps_ahead
    length      : (candidate row,) frames of each row; None: draws within a row
    n_frames    : frames of the tensor that rows stand in; what is returned then is row * n_frames + frame
    """
    target = (torch.arange(draws.shape[1], device=draws.device) + steps_ahead)[None, :, None]
    if length is None:
        return draws + (draws >= target)
    ends = n_candidates(length).cumsum(0)
    row = torch.searchsorted(ends, draws, right=True)
    frame = draws - (ends - n_candidates(length))[row]
    return row * n_frames + frame + (frame >= target)


def n_candidates(length: Tensor) -> Tensor:
    """How many frames of each row can be a negative."""
    return (length - 1).clamp(min=0)


def cpc_logits(predicted: Tensor, local: Tensor, negatives: Tensor, everyone: Tensor | None = None) -> Tensor:
    """Dot products with the positive, then with the negatives: (row, position, 1 + negative).

    predicted : (row, position, dim)       what is expected of the last ``position`` frames
    local     : (row, frame, dim)          the frames as they are
    negatives : (row, position, negative)  frames of the row, or of ``everyone`` (candidate, dim) where given

    A negative that was drawn twice counts twice. Negatives never get vectors of their own at each position, (1 + negative) x dim
    values: within a row all products of predictions and frames are one small matrix, from which the drawn columns are read. A CPU
    is faster with the drawn products alone where they are few of all: by a third for 128 of 1,200.
    """
    n_rows, n_frames, dim = local.shape
    positive = (predicted * local[:, n_frames - predicted.shape[1] :]).sum(dim=2, keepdim=True)
    if everyone is None and local.device.type == "cpu" and dim >= 256 and n_frames > FEW * negatives.shape[2]:
        first = n_frames * torch.arange(n_rows)[:, None, None]
        everyone, negatives = local.flatten(0, 1), negatives + first
    if everyone is None:
        others = (predicted @ local.transpose(1, 2)).gather(2, negatives)
    else:
        others = _Dots.apply(predicted.flatten(0, 1), everyone, negatives.flatten(0, 1)).view(negatives.shape)
    return torch.cat([positive, others], dim=2)


class _Dots(torch.autograd.Function):
    """queries (query, dim) with the drawn rows of candidates (candidate, dim): (query, drawn) int64 -> (query, drawn).

    Where candidates are many and few of them are drawn, all products would be too many. A weighted sum of the drawn rows is a
    kernel of torch's (``embedding_bag``), and its gradient to the weights is these dot products: 20 times as fast, on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, candidates: Tensor, drawn: Tensor) -> Tensor:
        ctx.save_for_backward(queries, candidates, drawn)
        with torch.enable_grad():
            weights = queries.new_zeros(drawn.shape).requires_grad_()
            total = F.embedding_bag(drawn, candidates.detach(), per_sample_weights=weights, mode="sum")
        return torch.autograd.grad(total, weights, queries.detach())[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, candidates, drawn = ctx.saved_tensors
        with torch.enable_grad():
            candidates = candidates.detach().requires_grad_()
            total = F.embedding_bag(drawn, candidates, per_sample_weights=grads[0].contiguous(), mode="sum")
        return total.detach(), torch.autograd.grad(total, candidates, queries)[0], None


class CPC(Objective):
    """Each frame's context predicts the encoder's own frame ``steps_ahead`` later, which must be told from drawn frames.

    steps_ahead : frames between what is known and what is predicted; one distance, not all up to it, as published for ECGs
    n_negatives : frames drawn for each position, uniformly and with replacement, from before and after it
    negatives   : "same_sequence": of the same row; "batch": of all rows, over all processes
    head        : "linear", or "mlp" with one hidden layer of the context's width
    bias        : whether the head's linear layers have one

    The score is the plain dot product; both sides learn. The loss is the mean over rows and positions, its weight their number.
    The published codes sum over the positions (about 4,800 at the start of a 10 s ECG of 1,000 frames): the direction is the
    same and Adam's steps nearly so, but a gradient norm at which to clip, or an SGD rate, has another meaning; here it does not
    grow with the ECG. Positions whose target is padding are left out. A tie is not right in the accuracy; published, it is.

    The encoder must not look ahead (``encoder.causal``): who hears the future need not predict it. RecipeError otherwise.
    """

    needs_context = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        steps_ahead: int = 12,
        n_negatives: int = 128,
        negatives: Literal["same_sequence", "batch"] = "same_sequence",
        head: Literal["linear", "mlp"] = "linear",
        bias: bool = False,
    ):
        super().__init__()
        if not encoder.has_context or not getattr(encoder, "causal", False):
            raise RecipeError(
                f"cpc predicts what comes next, so its encoder must not look ahead; the context of this {type(encoder).__name__} "
                f"{'does: its frames know what comes after them' if encoder.has_context else 'does not stand apart from its frames'}. "
                "Choose cpc, cpc_conv or ecg_cpc, or an s4 with bidirectional=false"
            )
        if steps_ahead < 1 or n_negatives < 1:
            raise RecipeError(f"expected steps_ahead and n_negatives of at least 1; got {steps_ahead} and {n_negatives}")
        if negatives not in ("same_sequence", "batch") or head not in ("linear", "mlp"):
            raise RecipeError(f"expected negatives to be same_sequence or batch, head linear or mlp; got {negatives!r} and {head!r}")
        self.encoder, self.steps_ahead, self.n_negatives, self.from_batch = encoder, steps_ahead, n_negatives, negatives == "batch"
        last = nn.Linear(encoder.dim, encoder.local_dim, bias=bias)
        self.proj = last if head == "linear" else nn.Sequential(nn.Linear(encoder.dim, encoder.dim, bias=bias), nn.ReLU(), last)

    def check(self, data: Any, n_items: int) -> None:
        n_samples = getattr(getattr(data, "segments", data), "n_window", None)
        if n_samples is not None and self.encoder.n_frames(n_samples) <= self.steps_ahead:
            self._refuse(int(self.encoder.n_frames(n_samples)))

    def _refuse(self, n_frames: int) -> None:
        raise RecipeError(
            f"cpc predicts {self.steps_ahead} frames ahead, but an ECG of this data gives {n_frames} frames of "
            f"{self.encoder.samples_per_frame / self.encoder.fs:g} s: expected at least {self.steps_ahead + 1}; "
            "take longer windows, a smaller steps_ahead, or an encoder with shorter frames"
        )

    def draw(self, n_own: int, n_positions: int, candidates: Tensor, moment: Moment) -> Tensor:
        """Raw draws for this process's rows, each row with a generator of its own: (row, position, negative) int64, below ``candidates`` (row,)."""
        draws = torch.empty(n_own, n_positions, self.n_negatives, dtype=torch.int64, device=candidates.device)
        generator = torch.Generator(device=candidates.device)
        for row in range(n_own):
            generator.manual_seed(moment.key(f"negatives/{moment.first_row + row}"))
            draws[row].random_(0, 1 << 31, generator=generator)
        # In [0, candidates): uniform up to candidates / 2^31. A remainder would do too, and takes a CPU five times as long.
        return draws.mul_(candidates.clamp(min=1)[:, None, None]).bitwise_right_shift_(31)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment(), draws: Tensor | None = None) -> Step:  # noqa: B008 - frozen
        """``draws`` (row, position, negative) int64 given: they are used instead of those of the moment (``negatives_of`` says what they mean)."""
        frames = self.encoder.frames(batch["ecg"], valid_of(batch))
        local, valid = frames.local, frames.valid
        n_rows, n_frames, _ = local.shape
        spread = moment.rows(n_rows) != n_rows
        length = torch.full((n_rows,), n_frames, device=local.device) if valid is None else valid.sum(dim=1)
        lengths, all_frames = length, n_frames
        if spread:  # the joint batch is as long as its longest row, wherever that is
            both = gather_rows(torch.stack([length, torch.full_like(length, n_frames)], dim=1))
            lengths, all_frames = both[:, 0], int(both[:, 1].max())
        longest = n_frames if valid is None and not spread else int(lengths.max())
        if longest <= self.steps_ahead:
            self._refuse(longest)

        predicted = self.proj(self.encoder.context(frames.tokens, valid))[:, : max(0, n_frames - self.steps_ahead)]
        n_positions = predicted.shape[1]
        if draws is None:
            counts = n_candidates(length)
            candidates = n_candidates(lengths).sum().expand(n_rows) if self.from_batch else counts
            draws = self.draw(n_rows, all_frames - self.steps_ahead, candidates, moment)[:, :n_positions]
        with torch.autocast(local.device.type, enabled=False):
            predicted, local = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (predicted, local))
            everyone = None
            if self.from_batch:
                padded = F.pad(local, (0, 0, 0, all_frames - n_frames))
                everyone = (gather_rows(padded) if spread else padded).flatten(0, 1)
            columns = negatives_of(draws, self.steps_ahead, *((lengths, all_frames) if self.from_batch else ()))
            logits = cpc_logits(predicted, local, columns, everyone)
            loss = logits.logsumexp(dim=2) - logits[:, :, 0]
            right = (logits[:, :, 0] > logits[:, :, 1:].amax(dim=2)).to(loss.dtype)

        n_terms = n_rows * n_positions
        if valid is not None:
            counted = first_frames((length - self.steps_ahead).clamp(min=0), n_positions)
            n_terms = int(counted.sum())
            loss, right = loss.masked_fill(~counted, 0.0), right.masked_fill(~counted, 0.0)
        mean = loss.sum() / max(1, n_terms)
        return Step(mean, {"cpc": mean.detach(), "accuracy": right.sum() / max(1, n_terms)}, weight=float(n_terms))
