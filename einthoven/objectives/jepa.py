"""JEPA: from the parts of an ECG that it sees, predict not the hidden signal but what a slow copy of the encoder makes of it.

Two forms, chosen by the encoder. Where ``context`` takes any subset of tokens (ViT1D), hidden patches are left out, and a
predictor answers for each of them. Where the grid of frames has to stay whole (S4, ECG transformer), a learned vector covers them.

Sources: Assran et al., I-JEPA, CVPR 2023; on ECGs Weimann & Conrad (patches of all leads, intervals), Kim (patches of each lead,
blocks of time, a predictor for each lead alone) and Strodthoff et al. (S4). Written from the papers and published settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.block_mask import block_size, blocks, context_mask, interval_luck, interval_mask, mark
from einthoven.layers.momentum_copy import follow, frozen_copy
from einthoven.layers.sincos import sincos
from einthoven.layers.vit_block import Bias, Block, initialise, keys_of
from einthoven.models.encoder import Encoder
from einthoven.models.vit1d import ViT1D
from einthoven.objectives.collapse import Guard, look
from einthoven.objectives.mae import row_means
from einthoven.objectives.masked_prediction import places, single, take
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step, valid_of


@dataclass(frozen=True)
class Hidden:
    """What is seen and what is to be predicted, along time, for the rows of a batch.

    seen      : (batch, seen) int64, in order, equally many in each row; or (batch, time) bool, where the grid stays whole
    predicted : (batch, predicted) int64; a time that stands there twice counts twice
    """

    seen: Tensor
    predicted: Tensor


class Predictor(nn.Module):
    """Blocks of a narrower transformer between two linear layers, with positions of its own.

    dim_in           : of the encoder's tokens, and of what is predicted
    dim, heads, depth: its own
    encoder_depth    : decides how small the ends of its branches begin, as published
    """

    def __init__(self, dim_in: int, dim: int, heads: int, depth: int, *, bias: Bias, encoder_depth: int):
        super().__init__()
        self.dim = dim
        self.enter = nn.Linear(dim_in, dim, bias=bias != "none")
        self.blocks = nn.ModuleList(Block(dim, heads, bias=bias) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, 1e-6, bias=bias != "none")
        self.leave = nn.Linear(dim, dim_in, bias=bias != "none")
        initialise(self, "normal", encoder_depth)

    def forward(
        self, tokens: Tensor, time: Tensor, asked: Tensor | None = None, query: Tensor | None = None, valid: Tensor | None = None
    ) -> Tensor:
        """tokens, time : (row, seen, dim_in), (row, seen), what is known and where
        asked, query : (row, asked), the times to answer for, and (dim,), the learned vector that asks; None: answer at ``time``
        valid        : (row, seen + asked) bool or None
        returns      : (row, asked or seen, dim_in)
        """
        x = self.enter(tokens)
        x = x + sincos(time, self.dim).to(x.dtype)
        if asked is not None and query is not None:
            x = torch.cat([x, (query + sincos(asked, self.dim).to(query.dtype)).to(x.dtype)], dim=1)
        mask = keys_of(valid)
        for block in self.blocks:
            x = block(x, mask)
        return self.leave(self.norm(x if asked is None else x[:, tokens.shape[1] :]))


class JEPA(Objective):
    """Latent prediction with a moving average of the encoder as the target; it has weight per row.

    mask            : "interval": a share from ``seen_share`` is seen, the rest hidden in few runs, each row its own;
                      "blocks": ``n_blocks`` blocks, in the whole batch the same where hidden patches are left out, each row its
                      own where they are covered; None: interval where they are left out, blocks where they are covered
    seen_share      : least and largest share of the patches that are seen, drawn for each batch ("interval")
    n_blocks        : blocks to predict ("blocks")
    block_share     : least and largest share of the time in one block, drawn for each batch ("blocks")
    context_share   : least and largest share of the time in the one block that is seen, less what is predicted (covered, "blocks")
    least_seconds   : shortest run of hidden patches, and shortest context
    predictor_dim   : width of the predictor; None: half of the encoder's, or, where hidden patches are covered, all of it
    predictor_depth : its blocks; None: as many as the encoder has, or one
    predictor_heads : its heads; None: as many as the encoder has, or one for every 64 of its width
    loss            : "l1" or "smooth_l1" (its bend at 1); None: l1 where they are left out, smooth_l1 where they are covered
    target_norm     : "none", or "layer_norm": each target to mean 0 and variance 1 over its features; None: as the loss, none or layer_norm
    momentum, momentum_end : share of the copy that stays at an update, at the beginning of the run and at its end, on a line between
    keep            : which encoder is saved: "average", the copy, or "learner"
    guard           : updates between two looks at whether the targets have collapsed, which ends the run; 0: never

    Published settings: KW (vit_xs, vit_s, vit_b) are the defaults. SH (cross_pattern): mask=blocks, block_share=[0.175, 0.225],
    loss=smooth_l1, target_norm=layer_norm, momentum=0.996, momentum_end=1, keep=learner, predictor_dim=384, predictor_depth=6,
    predictor_heads=12. S4: momentum=0.99, momentum_end=0.99.

    Parts: ``jepa``; ``target_size`` root mean square of the raw targets; ``target_spread`` their distance from the mean vector, and
    ``record_spread`` that from the mean of all records at the same place, both relative to their length: 0 where all are one, about
    1 where none is like another; ``target_cosine`` between the mean targets of different records; ``relative_loss`` and
    ``relative_to_place``, the loss over that of answering with the mean vector, and with the mean of all records at the place.

    Raises Collapsed where, at a look, target_spread is under 0.1, record_spread under 0.003, or (target_norm=none) target_size
    under 0.01, and under half of what it was at the first update; RecipeError for windows of too few frames; ValueError for
    options that mean nothing.

    Published otherwise: with S4 the predictor is another S4 layer and the target goes through its average too; here a block of
    attention predicts, and the target is the encoder's. SH draws each block's length for itself, here a batch has one. The
    copy is always in evaluation mode, and its buffers, batch statistics, follow as its parameters do.
    """

    needs_context = True
    loss_judges = False

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask: Literal["interval", "blocks"] | None = None,
        seen_share: tuple[float, float] = (0.15, 0.25),
        n_blocks: int = 4,
        block_share: tuple[float, float] = (0.15, 0.20),
        context_share: tuple[float, float] = (0.85, 1.0),
        least_seconds: float = 0.5,
        predictor_dim: int | None = None,
        predictor_depth: int | None = None,
        predictor_heads: int | None = None,
        loss: Literal["l1", "smooth_l1"] | None = None,
        target_norm: Literal["none", "layer_norm"] | None = None,
        momentum: float = 0.998,
        momentum_end: float = 0.9995,
        keep: Literal["average", "learner"] = "average",
        guard: int = 100,
    ):
        super().__init__()
        if not encoder.has_context:
            raise ValueError(f"jepa hides frames before they are put into context, and {type(encoder).__name__} has no such halves")
        for name, (low, high) in {"seen_share": seen_share, "block_share": block_share, "context_share": context_share}.items():
            if not 0 < low <= high <= 1:
                raise ValueError(f"expected {name} to be two shares, 0 < least <= largest <= 1; got {low} and {high}")
        if not (0 <= momentum <= 1 and 0 <= momentum_end <= 1):
            raise ValueError(f"expected momentum and momentum_end in [0, 1]; got {momentum} and {momentum_end}")
        if n_blocks < 1 or guard < 0 or least_seconds < 0:
            raise ValueError(
                f"expected n_blocks of 1 or more, guard and least_seconds of 0 or more; got {n_blocks}, {guard}, {least_seconds}"
            )
        leaves_out = isinstance(encoder, ViT1D)
        self.mask = mask or ("interval" if leaves_out else "blocks")
        self.loss = loss or ("l1" if leaves_out else "smooth_l1")
        self.target_norm = target_norm or ("none" if self.loss == "l1" else "layer_norm")
        self.seen_share, self.block_share, self.context_share, self.n_blocks = seen_share, block_share, context_share, n_blocks
        self.least = max(1, round(least_seconds * encoder.fs / encoder.samples_per_frame))
        self.momentum, self.momentum_end, self.keep = momentum, momentum_end, keep
        self.encoder, self.average = encoder, frozen_copy(encoder)
        self.average.freeze()
        self.leaves_out, self.n_rows = leaves_out, encoder.n_rows if isinstance(encoder, ViT1D) else 1

        width = predictor_dim or (encoder.dim // 2 if leaves_out else encoder.dim)
        if isinstance(encoder, ViT1D):
            depth, heads, encoder_depth = predictor_depth or encoder.depth, predictor_heads or encoder.heads, encoder.depth
        else:
            depth, heads = predictor_depth or 1, predictor_heads or max(1, width // 64)
            encoder_depth = depth
        self.predictor = Predictor(encoder.dim, width, heads, depth, bias="none" if leaves_out else "all", encoder_depth=encoder_depth)
        # What asks (left out: in the predictor), or what covers (before the encoder's context).
        self.hidden_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(width if leaves_out else encoder.dim), std=0.02))
        self.guard = Guard(guard, sizes=self.target_norm == "none")

    @property
    def kept(self) -> Encoder:
        return self.average if self.keep == "average" else self.encoder

    def check(self, data: Any, n_items: int) -> None:
        n_samples = getattr(getattr(data, "segments", data), "n_window", None)
        if n_samples is not None:
            self._refuse_few(int(self.encoder.n_frames(n_samples)) // self.n_rows)

    def _refuse_few(self, n_times: int) -> None:
        least = 2 if self.mask == "interval" else self.n_blocks + 1
        if n_times < least:
            raise RecipeError(
                f"jepa hides some of a window's {n_times} frames in time and shows others: it needs {least} or more; lengthen seconds, or "
                "use an encoder with shorter frames"
            )

    # ------------------------------------------------------------------------------------------------ what is hidden

    def hide(self, n_own: int, n_times: int, moment: Moment) -> Hidden:
        """The choices for this process's rows: the same ones however the rows of the batch are spread over processes."""
        self._refuse_few(n_times)
        # Every process draws for all rows, in one stroke each, and keeps its own.
        rng, n_all = np.random.default_rng(moment.key("jepa")), moment.rows(n_own)
        own = slice(moment.first_row, moment.first_row + n_own)
        if self.mask == "interval":
            n_seen = min(n_times - 1, int(np.ceil(n_times * rng.uniform(*self.seen_share))))
            n_hidden = n_times - n_seen
            least = min(self.least, n_hidden)
            luck = rng.random((n_all, interval_luck(n_hidden, least)))[own].tolist()
            hidden = torch.from_numpy(np.stack([interval_mask(n_times, n_hidden, least, row) for row in luck]))
            return Hidden(places(~hidden) if self.leaves_out else ~hidden, places(hidden))
        size = block_size(n_times, self.n_blocks, self.block_share, self.least, rng)
        if self.leaves_out:  # all rows alike, so that they are equally long
            predicted = torch.from_numpy(mark(blocks(1, n_times, self.n_blocks, size, rng), n_times)).expand(n_own, -1)
            return Hidden(places(~predicted), places(predicted))
        n_context = max(1, int(n_times * rng.uniform(*self.context_share)))
        index = blocks(n_all, n_times, self.n_blocks, size, rng)
        seen = context_mask(mark(index, n_times), n_context, self.least, rng)
        return Hidden(torch.from_numpy(seen[own]), torch.from_numpy(index[own]).flatten(1))

    # ------------------------------------------------------------------------------------------------ both sides

    def target(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the copy makes of the whole signal, before ``target_norm``: (batch, frame, dim), without gradient."""
        with torch.no_grad():
            return self.average(ecg, valid)

    def predict(self, ecg: Tensor, hidden: Hidden, valid: Tensor | None = None) -> Tensor:
        """The answer for every hidden time, lead after lead: (batch, lead * predicted, dim)."""
        frames = self.encoder.frames(ecg, valid)
        n_batch, n_frames, _ = frames.tokens.shape
        if not self.leaves_out:
            tokens = torch.where(hidden.seen[:, :, None], frames.tokens, self.hidden_token.to(frames.tokens.dtype))
            context = self.encoder.context(tokens, frames.valid)
            time = torch.arange(n_frames, device=ecg.device)
            return take(self.predictor(context, time, valid=frames.valid), hidden.predicted)
        encoder = self.encoder
        assert isinstance(encoder, ViT1D)
        seen = self.over_leads(hidden.seen, n_frames)
        known = None if frames.valid is None else frames.valid.gather(1, seen)
        context = encoder.context(take(frames.tokens, seen), known, encoder.grid(n_frames)[seen])
        # Each lead is a row of the predictor.
        context = context.unflatten(1, (self.n_rows, -1)).flatten(0, 1)
        time, asked = hidden.seen.repeat_interleave(self.n_rows, dim=0), hidden.predicted.repeat_interleave(self.n_rows, dim=0)
        keys = None
        if frames.valid is not None:
            both = torch.cat([hidden.seen, hidden.predicted], dim=1)
            keys = frames.valid[:, : n_frames // self.n_rows].gather(1, both).repeat_interleave(self.n_rows, dim=0)
        answer = self.predictor(context, time, asked, self.hidden_token, keys)
        return answer.unflatten(0, (n_batch, -1)).flatten(1, 2)

    def over_leads(self, time: Tensor, n_frames: int) -> Tensor:
        """Indices of times as those of the tokens of every lead: (batch, time) -> (batch, lead * time)."""
        first = torch.arange(self.n_rows, device=time.device) * (n_frames // self.n_rows)
        return (first[None, :, None] + time[:, None, :]).flatten(1)

    def distance(self, answer: Tensor, target: Tensor) -> Tensor:
        """The loss of each vector: (..., dim), (..., dim) -> (...)."""
        error = F.l1_loss if self.loss == "l1" else F.smooth_l1_loss
        answer, target = torch.broadcast_tensors(answer, target)
        return error(answer, target, reduction="none").mean(dim=-1)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment(), hidden: Hidden | None = None) -> Step:  # noqa: B008 - frozen
        """``hidden`` given: it is used instead of that of the moment."""
        ecg, valid = batch["ecg"], valid_of(batch)
        n_batch, n_frames = ecg.shape[0], int(self.encoder.n_frames(ecg.shape[2]))
        if hidden is None:
            hidden = self.hide(n_batch, n_frames // self.n_rows, moment)
        hidden = Hidden(hidden.seen.to(ecg.device), hidden.predicted.to(ecg.device))
        raw, answer = self.target(ecg, valid), self.predict(ecg, hidden, valid)
        with torch.autocast(ecg.device.type, enabled=False):
            raw, answer = single(raw), single(answer)
            target = F.layer_norm(raw, raw.shape[-1:]) if self.target_norm == "layer_norm" else raw
            counted = None if valid is None else self.encoder.frame_valid(valid)
            predicted = self.over_leads(hidden.predicted, n_frames)
            asked = None if counted is None else counted.gather(1, predicted)
            loss = row_means(self.distance(answer, take(target, predicted)), asked).mean()
            with torch.no_grad():
                spread = moment.rows(n_batch) != n_batch
                looked = look(raw.detach(), target.detach(), loss.detach(), self.distance, predicted, counted, over_processes=spread)
        if self.training and moment.rows(n_batch) > 1:  # a single record is its own mean
            self.guard.remember(looked)
        return Step(loss, {"jepa": loss.detach(), **looked}, weight=float(n_batch))

    def after_update(self, step: int, total: int) -> None:
        """The copy follows; and, at every ``guard``-th update, a look at what its targets were."""
        decay = self.momentum_at(step, total)
        follow(self.average, self.encoder, decay)
        with torch.no_grad():
            for ours, theirs in zip(self.average.buffers(), self.encoder.buffers(), strict=True):
                if ours.is_floating_point():
                    ours.lerp_(theirs, 1 - decay)
                else:
                    ours.copy_(theirs)
        self.guard.check(step)

    def momentum_at(self, step: int, total: int) -> float:
        """After ``step`` updates of ``total``: ``momentum_end`` after the last."""
        return self.momentum + (self.momentum_end - self.momentum) * min(1.0, step / total)
