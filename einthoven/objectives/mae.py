"""MAE: most patches of an ECG are left out, the encoder sees the rest, and a small decoder draws what is missing.

With patches of each lead this is ST-MEM, with patches of all leads MTAE, with a patch as long as the signal and whole leads
hidden MLAE. Sources: Na et al., "Guiding Masked Representation Learning to Capture Spatio-Temporal Relationship of
Electrocardiogram", ICLR 2024; He et al., "Masked autoencoders", CVPR 2022. Written from the papers and published settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from einthoven.errors import RecipeError
from einthoven.layers.block_mask import random_mask
from einthoven.layers.sincos import sincos, sincos_grid
from einthoven.layers.vit_block import Block, initialise, keys_of
from einthoven.models.encoder import Encoder
from einthoven.models.vit1d import ViT1D, patchify
from einthoven.objectives.masked_prediction import places, single, take
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step, valid_of

EPS = 1e-6


def normalise_patches(patches: Tensor, counted: Tensor | None = None) -> Tensor:
    """Each patch to mean 0 and variance 1 (divisor n - 1, EPS added): (..., sample) -> (..., sample); a flat patch becomes 0.

    counted : (..., sample) bool, the samples that a patch consists of; the others become 0. None: all
    """
    if counted is None:
        counted = torch.ones_like(patches, dtype=torch.bool)
    n = counted.sum(dim=-1, keepdim=True)
    centred = (patches - (patches * counted).sum(dim=-1, keepdim=True) / n.clamp(min=1)) * counted
    variance = centred.square().sum(dim=-1, keepdim=True) / (n - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + EPS)


def row_means(value: Tensor, counted: Tensor | None) -> Tensor:
    """Mean of each row's counted values, 0 where none is: (row, place), (row, place) bool or None -> (row,)."""
    if counted is None:
        return value.mean(dim=1)
    return (value * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


class MAE(Objective):
    """Masked autoencoding around a ViT1D. The loss: mean squared error of the hidden patches alone; it has weight per row.

    mask_ratio      : share of the patches that are hidden; int((1 - mask_ratio) * patches) are seen, one at least
    mask            : "patches": of each lead as many, each lead's own (of all leads the same with patching=time);
                      "leads": whole leads are hidden, and the decoder sees all leads together
    decoder_dim, decoder_depth, decoder_heads : of the decoder
    norm_target     : each patch is normalised before it is to be drawn

    With "patches" the decoder draws each lead alone, so what it knows of other leads has gone through the encoder. The
    encoder's separators, or registers, stand beside the patches there too. Leads that were not recorded and padding are not
    asked for; a row's loss is the mean over what is asked for. Raises ValueError for an encoder without patches, RecipeError
    where a window has too few of them.

    Published otherwise: each lead normalised by all leads and all time of its record; here the store's scaling does that.
    """

    needs_context = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask_ratio: float = 0.75,
        mask: Literal["patches", "leads"] = "patches",
        decoder_dim: int = 256,
        decoder_depth: int = 4,
        decoder_heads: int = 4,
        norm_target: bool = True,
    ):
        super().__init__()
        if not isinstance(encoder, ViT1D):
            raise ValueError(f"mae hides patches, and {type(encoder).__name__} has none; take encoder=st_mem, vit_s or another vit1d")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"expected mask_ratio between 0 and 1; got {mask_ratio}")
        if mask == "leads" and encoder.n_rows < 2:
            raise ValueError("mask=leads hides whole leads: it needs an encoder with patching=lead_time and several leads")
        self.encoder: ViT1D = encoder
        self.mask_ratio, self.mask, self.norm_target, self.decoder_dim = mask_ratio, mask, norm_target, decoder_dim
        self.enter = nn.Linear(encoder.dim, decoder_dim)
        self.blocks = nn.ModuleList(Block(decoder_dim, decoder_heads) for _ in range(decoder_depth))
        self.norm = nn.LayerNorm(decoder_dim, EPS)
        self.draw = nn.Linear(decoder_dim, encoder.patch * (1 if encoder.patching == "lead_time" else len(encoder.leads)))
        initialise(self.blocks, "xavier", decoder_depth)
        for linear in (self.enter, self.draw):
            initialise(linear, "xavier", decoder_depth)
        self.hidden_token = nn.Parameter(nn.init.normal_(torch.empty(decoder_dim), std=0.02))

    def check(self, data: Any, n_items: int) -> None:
        n_samples = getattr(getattr(data, "segments", data), "n_window", None)
        if n_samples is not None:
            self._n_seen(self.encoder.n_frames(n_samples))

    def _n_seen(self, n_frames: int) -> int:
        """Of each lead's patches, or of the leads, as many are seen. Raises RecipeError where nothing would be hidden."""
        n_rows = self.encoder.n_rows
        n, what = (n_rows, "leads") if self.mask == "leads" else (n_frames // n_rows, "patches")
        if n < 2:
            raise RecipeError(
                f"mae hides some of a window's {what} and shows others, but there is {n}: lengthen seconds, or shorten encoder.patch"
            )
        return min(n - 1, max(1, int(n * (1 - self.mask_ratio) + 1e-6)))

    def hide(self, n_own: int, n_frames: int, moment: Moment) -> Tensor:
        """Which patches are hidden: (batch, frame) bool, in every row, and in every lead with "patches", exactly as many."""
        n_rows, n_seen = self.encoder.n_rows, self._n_seen(n_frames)
        n_times = n_frames // n_rows
        if self.mask == "leads":
            leads = random_mask(moment.uniform("mae", n_own, n_rows).numpy(), n_rows - n_seen)
            return torch.from_numpy(leads).repeat_interleave(n_times, dim=1)
        return torch.from_numpy(random_mask(moment.uniform("mae", n_own, n_rows, n_times).numpy(), n_times - n_seen)).flatten(1)

    def reconstruct(self, ecg: Tensor, hidden: Tensor, valid: Tensor | None = None) -> Tensor:
        """Every patch as the decoder draws it from those that are not hidden: (batch, frame, sample), seen ones too.

        hidden : (batch, frame) bool, equally many in each row
        """
        frames = self.encoder.frames(ecg, valid)
        n_batch, n_frames, _ = frames.tokens.shape
        n_rows = self.encoder.n_rows
        grid = self.encoder.grid(n_frames)
        seen = places(~hidden)
        parts = self.encoder.parts(take(frames.tokens, seen), None if frames.valid is None else frames.valid.gather(1, seen), grid[seen])

        x = self.hidden_token.to(parts.frames.dtype).expand(n_batch, n_frames, -1)
        entered = self.enter(parts.frames).to(x.dtype)
        x = x.scatter(1, seen[:, :, None].expand(-1, -1, x.shape[2]), entered)
        x = x + self._positions(grid).to(x.dtype)
        keys = frames.valid
        # Beside the patches: with each lead alone its separators, otherwise all that the encoder has.
        alone = self.mask == "patches" and n_rows > 1
        beside = parts.separators.flatten(0, 1) if alone else torch.cat([parts.registers, parts.separators.flatten(1, 2)], dim=1)
        if alone:
            x = x.unflatten(1, (n_rows, -1)).flatten(0, 1)
            keys = None if keys is None else keys.unflatten(1, (n_rows, -1)).flatten(0, 1)
        n_beside = beside.shape[1] if beside.shape[0] else 0
        if n_beside:
            x = torch.cat([self.enter(beside).to(x.dtype), x], dim=1)
            keys = None if keys is None else nn.functional.pad(keys, (n_beside, 0), value=True)
        mask = keys_of(keys)
        for block in self.blocks:
            x = block(x, mask)
        return self.draw(self.norm(x)[:, n_beside:]).reshape(n_batch, n_frames, -1)

    def _positions(self, grid: Tensor) -> Tensor:
        """(frame, 2) -> (frame, decoder_dim). Place 0 is that of what stands beside the patches."""
        if self.mask == "leads":
            return sincos_grid(grid[:, 0], grid[:, 1] + 1, self.decoder_dim)
        return sincos(grid[:, 1] + 1, self.decoder_dim, "halves")

    def target(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """What is to be drawn, (batch, frame, sample), and which of its samples were recorded, the same; None: all."""
        patches = single(patchify(batch["ecg"], self.encoder.patch))
        present = batch.get("lead_present")
        recorded = None if present is None else present[:, :, None, None].expand_as(patches)
        if self.encoder.patching == "lead_time":
            patches = patches.flatten(1, 2)
            recorded = None if recorded is None else recorded.flatten(1, 2)
        else:
            patches = patches.transpose(1, 2).flatten(2)
            recorded = None if recorded is None else recorded.transpose(1, 2).flatten(2)
        return (normalise_patches(patches, recorded) if self.norm_target else patches), recorded

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment(), hidden: Tensor | None = None) -> Step:  # noqa: B008 - frozen
        """``hidden`` given: these patches are hidden instead of those of the moment."""
        ecg, valid = batch["ecg"], valid_of(batch)
        n_batch, n_frames = ecg.shape[0], int(self.encoder.n_frames(ecg.shape[2]))
        hidden = (self.hide(n_batch, n_frames, moment) if hidden is None else hidden).to(ecg.device)
        drawn = self.reconstruct(ecg, hidden, valid)
        with torch.autocast(ecg.device.type, enabled=False):
            target, recorded = self.target(batch)
            error = (drawn.to(target.dtype) - target).square()
            error = row_means(error.flatten(0, 1), None if recorded is None else recorded.flatten(0, 1)).view(n_batch, n_frames)
            asked = hidden if recorded is None else hidden & recorded.any(dim=2)
            if valid is not None:
                asked = asked & self.encoder.frame_valid(valid)
            loss = row_means(error, asked).mean()
        return Step(loss, {"mae": loss.detach()}, weight=float(n_batch))
