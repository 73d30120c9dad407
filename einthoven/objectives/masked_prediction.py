"""Masked prediction: hide spans of frames, and tell each hidden frame's own target from those of others.

What W2V and W2V+CMSC share: the random choices, the mask, the quantised targets, the cosines and their loss.
Source: Baevski et al., "wav2vec 2.0", NeurIPS 2020; the form for ECGs is that of fairseq-signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.dropout import dropout
from einthoven.layers.gather import gather_rows
from einthoven.layers.gumbel_quantiser import GumbelQuantiser, gumbel_noise, temperature_at
from einthoven.layers.span_mask import Spans, span_mask
from einthoven.models.ecg_transformer import ECGTransformer
from einthoven.objectives.step import Moment, Step, valid_of

EPS = 1e-8
"""Least norm in a cosine."""


@dataclass(frozen=True)
class Choices:
    """The random choices of one forward pass, about this process's rows.

    mask         : (batch, frame) bool, equally many True, ``masked``, in every row
    channel_mask : (batch, dim) bool, channels of the tokens that are set to 0; or None
    near         : (batch, masked, negative) int64, candidates of the same row: masked frames, by their place among them
                   (or all valid frames, with negatives_from_everywhere); or None
    far          : (batch, masked, negative) int64, candidates of the whole batch, row after row; or None
    codebook     : (batch, masked, negative) int64, combinations of codes, as GumbelQuantiser.flat_codes; or None
    noise        : (batch, masked, group, code) Gumbel noise; None outside training
    """

    mask: Tensor
    channel_mask: Tensor | None = None
    near: Tensor | None = None
    far: Tensor | None = None
    codebook: Tensor | None = None
    noise: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """context (batch, frame, dim) of the masked ECG, valid (batch, frame) or None, logits (batch, masked, 1 + negative) with the positive first."""

    context: Tensor
    valid: Tensor | None
    logits: Tensor
    step: Step


class MaskedPrediction(nn.Module):
    """Everything of W2V but the encoder, which is passed in; W2V and W2V+CMSC are built around it.

    mask, channel_mask : spans over frames, and over channels of the tokens, that are hidden
    min_spans          : spans that every ECG gets at least
    quantise_targets   : targets are quantised; otherwise they are the continuous local features
    latent_vars        : codes per codebook
    latent_groups      : codebooks
    latent_dim         : width of a quantised target; 0: final_dim
    latent_temperature : of the Gumbel softmax: at first, at last, and its factor per update
    final_dim          : width in which cosines are taken
    target_glu         : a gated linear unit on the projected targets
    n_negatives        : negatives from the same ECG
    cross_sample_negatives : negatives from the whole batch
    codebook_negatives : negatives from the codebook
    negatives_from_everywhere : negatives of the same ECG are any other frame, not only hidden ones (continuous targets only)
    temperature        : of the cosines
    dropout_features   : dropout of the local features that become targets; published: 0.1
    diversity_weight   : weight of the share of the codes that is not used
    energy_weight      : weight of the mean square of the raw features
    """

    def __init__(
        self,
        dim: int,
        local_dim: int,
        *,
        mask: Spans = Spans(),  # noqa: B008 - frozen
        channel_mask: Spans | None = None,
        min_spans: int = 2,
        quantise_targets: bool = True,
        latent_vars: int = 320,
        latent_groups: int = 2,
        latent_dim: int = 0,
        latent_temperature: tuple[float, float, float] = (2.0, 0.5, 0.999995),
        final_dim: int = 256,
        target_glu: bool = False,
        n_negatives: int = 100,
        cross_sample_negatives: int = 0,
        codebook_negatives: int = 0,
        negatives_from_everywhere: bool = False,
        temperature: float = 0.1,
        dropout_features: float = 0.0,
        diversity_weight: float = 0.1,
        energy_weight: float = 10.0,
    ):
        super().__init__()
        if not quantise_targets and codebook_negatives:
            raise ValueError("negatives from the codebook need quantised targets: set quantise_targets=True or codebook_negatives=0")
        if quantise_targets and negatives_from_everywhere:
            raise ValueError(
                "negatives from everywhere are for continuous targets: set quantise_targets=False or negatives_from_everywhere=False"
            )
        if n_negatives + cross_sample_negatives + codebook_negatives < 1:
            raise ValueError("expected at least one negative; got n_negatives=0, cross_sample_negatives=0 and codebook_negatives=0")
        self.mask = mask if isinstance(mask, Spans) else Spans(**mask)
        self.channel_mask = channel_mask if channel_mask is None or isinstance(channel_mask, Spans) else Spans(**channel_mask)
        self.min_spans = min_spans
        self.n_negatives, self.n_far, self.n_codebook = n_negatives, cross_sample_negatives, codebook_negatives
        self.everywhere = negatives_from_everywhere
        self.temperature, self.dropout_features = temperature, dropout_features
        self.diversity_weight, self.energy_weight = diversity_weight, energy_weight

        self.mask_emb = nn.Parameter(torch.rand(dim))
        self.quantizer, target_dim = None, local_dim
        if quantise_targets:
            target_dim = latent_dim or final_dim
            self.quantizer = GumbelQuantiser(local_dim, target_dim, latent_vars, latent_groups, temperature=tuple(latent_temperature))  # type: ignore[arg-type]
        self.project_q = nn.Linear(target_dim, final_dim)
        self.target_glu = nn.Sequential(nn.Linear(final_dim, 2 * final_dim), nn.GLU()) if target_glu else None
        self.final_proj = nn.Linear(dim, final_dim)

    def choose(self, n_own: int, n_frames: int, valid: Tensor | None, moment: Moment, device: torch.device) -> Choices:
        """Draw for all rows of the whole micro-batch, and keep this process's."""
        rows = moment.rows(n_own)
        spread = rows != n_own
        lengths = torch.full((n_own,), n_frames) if valid is None else valid.sum(dim=1)
        all_frames = n_frames
        if spread:
            both = gather_rows(torch.stack([lengths.to(device), torch.full((n_own,), n_frames, device=device)], dim=1))
            lengths, all_frames = both[:, 0], int(both[:, 1].max())
        n_valid: list[int] = lengths.tolist()
        padded = any(length < all_frames for length in n_valid)
        rng = np.random.default_rng(moment.key("mask"))
        drawn = span_mask(rows, all_frames, self.mask, rng, valid_frames=n_valid if padded else None, min_spans=self.min_spans)
        n_masked = int(drawn[0].sum())
        candidates = n_valid if self.everywhere else [n_masked] * rows
        if n_masked < 1 or (self.n_negatives and min(candidates) < 2):
            raise RecipeError(
                f"masking hides {n_masked} frames of each ECG, too few to tell one from another: the shortest of the batch has {min(n_valid)} "
                f"frames, and spans are {self.mask.length} long. Leave out shorter ECGs, or shorten the spans"
            )
        mask = moment.own(torch.from_numpy(drawn), n_own)[:, :n_frames]

        channels = None
        if self.channel_mask is not None and self.channel_mask.prob > 0:
            rng = np.random.default_rng(moment.key("channel_mask"))
            channels = moment.own(torch.from_numpy(span_mask(rows, self.mask_emb.shape[0], self.channel_mask, rng)), n_own).to(device)

        near = far = codebook = noise = None
        if self.n_negatives:
            # Uniform over the other candidates of the row: one place is left out, and those from it on move up.
            others = torch.tensor(candidates, device=device)[:, None, None] - 1
            uniform = torch.rand(rows, n_masked, self.n_negatives, generator=moment.generator("negatives", device), device=device)
            near = moment.own(torch.minimum((uniform * others).long(), others - 1), n_own)
            near = near + (near >= self._own_place(mask).to(device)[:, :, None])
        if self.n_far:
            drawn_far = torch.randint(
                rows * n_masked - 1, (rows, n_masked, self.n_far), generator=moment.generator("far", device), device=device
            )
            own = torch.arange(rows * n_masked, device=device).view(rows, n_masked, 1)
            far = moment.own(drawn_far + (drawn_far >= own), n_own)
        if self.quantizer is not None:
            groups, codes = self.quantizer.groups, self.quantizer.n_codes
            if self.n_codebook:
                generator = moment.generator("codebook", device)
                codebook = moment.own(
                    torch.randint(codes**groups, (rows, n_masked, self.n_codebook), generator=generator, device=device), n_own
                )
            if self.training:
                noise = moment.own(gumbel_noise((rows, n_masked, groups, codes), moment.generator("gumbel", device)), n_own)
        return Choices(mask.to(device), channels, near, far, codebook, noise)

    def _own_place(self, mask: Tensor) -> Tensor:
        """Where each masked frame itself stands among the candidates: (batch, masked) int64."""
        place = places(mask)
        return place if self.everywhere else torch.arange(place.shape[1], device=mask.device).expand_as(place)

    def forward(self, encoder: ECGTransformer, batch: Mapping[str, Tensor], moment: Moment, choices: Choices | None = None) -> Prediction:
        """``choices`` given: they are used instead of those of the moment."""
        frames = encoder.frames(batch["ecg"], valid_of(batch))
        n_rows, n_frames, _ = frames.tokens.shape
        if choices is None:
            choices = self.choose(n_rows, n_frames, frames.valid, moment, frames.tokens.device)
        spread = moment.rows(n_rows) != n_rows
        masked = places(choices.mask)
        cover = self.mask_emb.to(frames.tokens.dtype)
        if encoder.takes_any_tokens:  # its tokens carry their places, which are not hidden
            cover = cover + encoder.positions(encoder.grid(n_frames)).to(cover.dtype)  # type: ignore[operator]
        tokens = torch.where(choices.mask[:, :, None], cover, frames.tokens)
        if choices.channel_mask is not None:
            tokens = tokens.masked_fill(choices.channel_mask[:, None, :], 0.0)
        context = encoder.context(tokens, frames.valid)

        local = dropout(frames.local, self.dropout_features, self.training)
        quantised, temperature = None, 1.0
        if self.quantizer is not None:
            temperature = temperature_at(moment.step, self.quantizer.temperature)
            quantised = self.quantizer(take(local, masked), choices.noise, temperature, over_processes=spread)
            candidates, identity = quantised.vectors, self.quantizer.flat_codes(quantised.codes)
        else:
            candidates = local if self.everywhere else take(local, masked)
            identity = fingerprint(candidates)
        own = self._own_place(choices.mask)
        logits = self._logits(self.final_proj(take(context, masked)), candidates, identity, own, choices, spread)

        nce = F.cross_entropy(logits.flatten(0, 1), torch.zeros(logits.shape[0] * logits.shape[1], dtype=torch.int64, device=logits.device))
        penalty = self.energy_weight * frames.energy
        loss, parts = nce + penalty, {"loss_nce": nce, "feature_penalty": penalty, "accuracy": accuracy(logits)}
        if quantised is not None and self.quantizer is not None:
            diversity = self.diversity_weight * (self.quantizer.n_vars - quantised.prob_perplexity) / self.quantizer.n_vars
            loss = loss + diversity
            parts.update(diversity=diversity, code_perplexity=quantised.code_perplexity, prob_perplexity=quantised.prob_perplexity)
            parts["temperature"] = torch.tensor(temperature, device=loss.device)
        parts = {name: value.detach() for name, value in parts.items()}
        return Prediction(context, frames.valid, logits, Step(loss, parts, weight=float(logits.shape[0] * logits.shape[1])))

    def _target(self, vectors: Tensor) -> Tensor:
        projected = self.project_q(vectors)
        return projected if self.target_glu is None else self.target_glu(projected)

    def _logits(self, answer: Tensor, candidates: Tensor, identity: Tensor, own: Tensor, choices: Choices, spread: bool) -> Tensor:
        """Cosines over the temperature, the positive first: (batch, masked, 1 + negative).

        All cosines between a row's answers and its candidates are one matrix product, (batch, masked, candidate), from
        which the drawn columns are read: the same numbers, and the same gradient, as comparing each answer with its own
        copies of its negatives, whose (1 + negative) x batch x masked x dim values are never made. Nothing here is equal
        in expectation only: a negative that was drawn twice counts twice.

        A negative identical to the positive is left out (-inf): the same combination of codes, or the same continuous
        features. fairseq-signals compares the projected vectors, which in training differ by rounding now and then though the
        codes are one; ours compares the codes.
        """
        target = F.normalize(single(self._target(candidates)), dim=-1, eps=EPS)
        with torch.autocast(answer.device.type, enabled=False):
            answer = F.normalize(answer.to(target.dtype), dim=-1, eps=EPS)
            cosine = answer @ target.transpose(1, 2)
            positive_identity = identity.gather(1, own)[:, :, None]
            columns = [cosine.gather(2, own[:, :, None])]
            if choices.near is not None:
                same = identity[:, None, :] == positive_identity
                columns.append(cosine.masked_fill(same, float("-inf")).gather(2, choices.near))
            if choices.far is not None:
                # Candidates of all rows, and of all processes.
                everyone, identities = target.flatten(0, 1), identity.flatten()
                if spread:
                    everyone, identities = gather_rows(everyone), gather_rows(identities)
                far_cosine = (answer @ everyone.T).gather(2, choices.far)
                columns.append(far_cosine.masked_fill(identities[choices.far] == positive_identity, float("-inf")))
        if choices.codebook is not None and self.quantizer is not None:
            drawn = F.normalize(single(self._target(self.quantizer.look_up(choices.codebook))), dim=-1, eps=EPS)
            columns.append(torch.einsum("bmd,bmnd->bmn", answer, drawn).masked_fill(choices.codebook == positive_identity, float("-inf")))
        return torch.cat(columns, dim=2) / self.temperature


def single(x: Tensor) -> Tensor:
    """In float32 at least: cosines of half-precision vectors would be too coarse for a temperature of 0.1."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def places(mask: Tensor) -> Tensor:
    """Indices of the True of each row, of which all rows have equally many: (batch, frame) bool -> (batch, masked) int64."""
    return mask.nonzero()[:, 1].view(mask.shape[0], -1)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Frames of each row: (batch, frame, dim), (batch, taken) -> (batch, taken, dim)."""
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))


def fingerprint(x: Tensor) -> Tensor:
    """A 64-bit number per vector, equal for equal vectors and different for others but once in 2^64: (..., dim) -> (...) int64."""
    bits = x.detach().float().contiguous().view(torch.int32).to(torch.int64)
    factors = torch.randint(-(2**62), 2**62, (x.shape[-1],), generator=torch.Generator().manual_seed(0)).to(x.device)
    return (bits * (2 * factors + 1)).sum(dim=-1)


def accuracy(logits: Tensor) -> Tensor:
    """Share of rows whose first logit is the largest; a row whose logits are all equal is not right: (..., 1 + negative) -> ()."""
    first = (logits.argmax(dim=-1) == 0) & (logits.argmin(dim=-1) != 0)
    return first.float().mean()
