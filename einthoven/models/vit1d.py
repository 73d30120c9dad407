"""Vision transformers over patches of time: of all leads together, or of each lead for itself.

The token of a patch carries its own position (and lead), so ``context`` takes any subset of the tokens in any order: masked
autoencoders and JEPA leave hidden patches out instead of covering them.

Sources: "vit_xs", "vit_s", "vit_b": Weimann & Conrad, ECG-JEPA; "st_mem", "st_mem_s": Na et al., ST-MEM, ICLR 2024;
"cross_pattern": Kim, ECG-JEPA with cross-pattern attention. Written from the published descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.conv_frontend import first_frames
from einthoven.layers.sincos import sincos, sincos_grid
from einthoven.layers.vit_block import Bias, Block, Init, initialise
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder, Frames

ROWS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")
"""Rows of ``positions="lead_and_time"``: the eight independent leads as published, then those that follow from I and II."""


@dataclass(frozen=True)
class Parts:
    """Everything that comes out of the transformer.

    frames     : (batch, token, dim)          the tokens that went in
    registers  : (batch, register, dim)
    separators : (batch, lead, 2, dim)        before and after each lead; (batch, 0, 2, dim) where the encoder has none
    """

    frames: Tensor
    registers: Tensor
    separators: Tensor


def patchify(ecg: Tensor, patch: int) -> Tensor:
    """(batch, lead, time) -> (batch, lead, patch, sample); samples behind the last whole patch are left out."""
    n_patches = ecg.shape[2] // patch
    return ecg[:, :, : n_patches * patch].unflatten(2, (n_patches, patch))


def unpatchify(patches: Tensor) -> Tensor:
    """(batch, lead, patch, sample) -> (batch, lead, time)"""
    return patches.flatten(2)


class ViT1D(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim).

    patching       : "time": a token is one patch of all leads; "lead_time": of one lead, lead after lead, all patches of a lead together
    patch          : samples of a patch; what is left behind the last whole patch is dropped
    dim, depth, heads : of the transformer; its networks have four times the width
    embedding      : from samples to token: "linear", or "norm_linear_norm", with a LayerNorm before and after
    positions      : "time", or "lead_and_time": half of the width says the lead (a row by its name)
    again          : whether positions are added again before every block
    lead_embedding : whether each lead has a learned vector of its own, which goes with its name
    separators     : whether a learned vector stands before and after the tokens of each lead
    registers      : learned tokens without position or meaning of their own, dropped from the result
    attention      : "all", or "cross": a token attends to those of its lead and those of its time
    bias           : "all", "all_but_qkv" or "none": of linear layers and norms
    norm_eps       : of every norm
    init           : "normal" (sd 0.02, less where branches end) or "xavier"
    drop_path      : probability that the last block's branch is left out of a row's update; less for those below, 0 for the first

    A lead that was not recorded is a row of zeros, its patches are tokens like others. An encoder for fewer leads has *their*
    embeddings: ``weights_for(leads)``. Raises ValueError for options that contradict each other.

    Published otherwise: ST-MEM takes the mean of the tokens and then the last norm; here each token is normed, as it is in
    pretraining, and the mean comes after. KW's fine-tuning reads the register; here the mean of the tokens is the record's vector.
    """

    has_context = True
    takes_any_tokens = True

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        patching: Literal["time", "lead_time"] = "time",
        patch: int = 25,
        dim: int = 384,
        depth: int = 8,
        heads: int = 6,
        embedding: Literal["linear", "norm_linear_norm"] = "linear",
        positions: Literal["time", "lead_and_time"] = "time",
        again: bool = False,
        lead_embedding: bool = False,
        separators: bool = False,
        registers: int = 1,
        attention: Literal["all", "cross"] = "all",
        bias: Bias = "none",
        norm_eps: float = 1e-6,
        init: Init = "normal",
        drop_path: float = 0.0,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(leads, fs, dim=dim, samples_per_frame=patch)
        self._config = {**options, "leads": list(self.leads), "fs": self.fs}
        of_leads = {"positions": positions == "lead_and_time", "lead_embedding": lead_embedding, "separators": separators}
        for name, wanted in {**of_leads, "attention": attention == "cross"}.items():
            if wanted and patching == "time":
                raise ValueError(
                    f"{name}={options[name]} tells leads apart, but with patching=time a token has all of them: patching=lead_time"
                )
        if positions == "lead_and_time" and (strangers := [lead for lead in self.leads if lead not in ROWS]):
            raise ValueError(f"positions=lead_and_time knows {' '.join(ROWS)}; got {' '.join(strangers)}: use lead_embedding instead")
        if patch < 1 or depth < 1 or registers < 0 or not 0 <= drop_path < 1:
            raise ValueError(
                f"expected patch and depth of 1 or more, registers of 0 or more, drop_path in [0, 1); got "
                f"{patch}, {depth}, {registers}, {drop_path}"
            )
        self.patching, self.patch, self.depth, self.heads = patching, patch, depth, heads
        self.positions_of, self.again, self.attention_of = positions, again, attention
        self.n_rows = len(self.leads) if patching == "lead_time" else 1

        some, width = bias != "none", patch if patching == "lead_time" else patch * len(self.leads)
        normed = embedding == "norm_linear_norm"
        self.norm_in = nn.LayerNorm(width, norm_eps, bias=some) if normed else None
        self.patch_embedding = nn.Linear(width, dim, bias=some)
        self.norm_out = nn.LayerNorm(dim, norm_eps, bias=some) if normed else None
        self.lead_embedding = nn.ParameterDict({lead: nn.Parameter(_token(dim)) for lead in self.leads} if lead_embedding else {})
        self.separator = nn.Parameter(_token(dim)) if separators else None
        self.registers = nn.Parameter(_token(registers, dim)) if registers else None
        drops = [drop_path * number / max(1, depth - 1) for number in range(depth)]
        self.layers = nn.ModuleList(Block(dim, heads, bias=bias, norm_eps=norm_eps, drop=drop) for drop in drops)
        self.norm = nn.LayerNorm(dim, norm_eps, bias=some)
        initialise(self, init, depth)

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        return n_samples // self.patch * self.n_rows

    def frame_valid(self, valid: Tensor) -> Tensor:
        """A patch is valid where all its samples are; with "lead_time" the same times for every lead."""
        times = first_frames(valid.sum(dim=1) // self.patch, valid.shape[1] // self.patch)
        return times.repeat(1, self.n_rows)

    def stages(self) -> list[tuple[str, ...]]:
        """What makes tokens; then each block, the last one with the norm behind it."""
        front = ("norm_in.", "patch_embedding.", "norm_out.", "lead_embedding.", "separator", "registers")
        blocks = [(f"layers.{number}.",) for number in range(self.depth)]
        return [front, *blocks[:-1], (*blocks[-1], "norm.")]

    def grid(self, n_frames: int) -> Tensor:
        """Where the tokens of a whole record stand: (frame, 2) int64, lead (a row of this encoder) and time (a patch)."""
        device = self.patch_embedding.weight.device
        lead, time = torch.meshgrid(
            torch.arange(self.n_rows, device=device), torch.arange(n_frames // self.n_rows, device=device), indexing="ij"
        )
        return torch.stack([lead, time], dim=-1).flatten(0, 1)

    def positions(self, grid: Tensor) -> Tensor:
        """What a token holds besides its samples, lead embedding included: (..., 2) -> (..., dim).

        A vector that covers a token needs it too.
        """
        lead, time = grid[..., 0], grid[..., 1]
        if self.positions_of == "lead_and_time":
            rows = torch.tensor([ROWS.index(name) for name in self.leads], device=grid.device)
            place = sincos_grid(rows[lead], time, self.dim)
        elif self.patching == "lead_time":
            place = sincos(time + 1, self.dim, "halves")  # 0 is the separators' place
        else:
            place = sincos(time, self.dim)
        place = place.to(self.patch_embedding.weight.dtype)
        return place + self._lead_embeddings()[lead] if len(self.lead_embedding) else place

    def _lead_embeddings(self) -> Tensor:
        """(lead, dim), in the order of this encoder's leads."""
        return torch.stack([self.lead_embedding[lead] for lead in self.leads])

    def frames(self, ecg: Tensor, valid: Tensor | None = None) -> Frames:
        """Tokens with their positions; ``local`` is the patch alone, without them."""
        self.check_signal(ecg, valid)
        patches = patchify(ecg, self.patch)
        patches = patches.flatten(1, 2) if self.patching == "lead_time" else patches.transpose(1, 2).flatten(2)
        features = self.patch_embedding(patches if self.norm_in is None else self.norm_in(patches))
        energy = features.to(torch.promote_types(features.dtype, torch.float32)).square().mean()
        local = F.layer_norm(features, (self.dim,))
        tokens = features if self.norm_out is None else self.norm_out(features)
        tokens = tokens + self.positions(self.grid(tokens.shape[1]))
        return Frames(tokens, local, energy, None if valid is None else self.frame_valid(valid))

    def context(self, tokens: Tensor, valid: Tensor | None = None, grid: Tensor | None = None) -> Tensor:
        """Any tokens of a record, in any order: (batch, token, dim), (batch, token) bool or None -> (batch, token, dim).

        grid : (batch, token, 2), where they stand (a subset of ``grid(n_frames)``); None: they are all of them, in order.
               It matters where ``attention="cross"`` or ``again`` ask for places; without those the tokens say it all
        """
        return self.parts(tokens, valid, grid).frames

    def parts(self, tokens: Tensor, valid: Tensor | None = None, grid: Tensor | None = None) -> Parts:
        """``context``, with what comes out of registers and separators."""
        n_rows, n_tokens, dim = tokens.shape
        if (self.again or self.attention_of == "cross") and grid is None:
            if n_tokens % self.n_rows:
                raise ValueError(
                    f"expected grid with {n_tokens} tokens, which are not all those of {self.n_rows} leads: say where they stand"
                )
            grid = self.grid(n_tokens)[None]
        extra: list[Tensor] = [] if self.registers is None else [self.registers]
        if self.separator is not None:
            ends = self.separator + self._lead_embeddings() if len(self.lead_embedding) else self.separator.expand(self.n_rows, -1)
            extra.append(ends.repeat_interleave(2, dim=0))
        n_extra = sum(len(some) for some in extra)
        x = torch.cat([*(some.to(tokens.dtype).expand(n_rows, -1, -1) for some in extra), tokens], dim=1)
        mask = self._mask(valid, grid, n_extra)
        place = F.pad(self.positions(grid), (0, 0, n_extra, 0)) if self.again and grid is not None else None
        for number, layer in enumerate(self.layers):
            x = layer(x if place is None or number == 0 else x + place, mask)
        x = self.norm(x)
        n_registers = 0 if self.registers is None else len(self.registers)
        between = x[:, n_registers:n_extra].unflatten(1, (-1, 2)) if n_extra > n_registers else x.new_zeros(n_rows, 0, 2, dim)
        return Parts(x[:, n_extra:], x[:, :n_registers], between)

    def _mask(self, valid: Tensor | None, grid: Tensor | None, n_extra: int) -> Tensor | None:
        """Who may attend to whom: (batch or 1, 1, query or 1, key) bool; registers and separators may see and be seen."""
        mask = None
        if valid is not None:
            # A row without a valid token and without registers attends to its padding: nobody's result, but it must not become NaN.
            keys = valid if n_extra else valid | ~valid.any(dim=1, keepdim=True)
            mask = F.pad(keys, (n_extra, 0), value=True)[:, None, None, :]
        if self.attention_of == "cross" and grid is not None:
            same = (grid[:, :, None] == grid[:, None, :]).any(dim=-1)
            cross = F.pad(same, (n_extra, 0, n_extra, 0), value=True)[:, None]
            mask = cross if mask is None else cross & mask
        return mask

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        frames = self.frames(ecg, valid)
        return self.context(frames.tokens, frames.valid)

    def weights_for(self, leads: Sequence[str]) -> dict[str, Tensor]:
        """This encoder's weights as the state of one for some of its leads, in any order: ``ViT1D(leads, …).load_state_dict(…)``.

        The smaller encoder gives what this one gives where the other leads are 0 ("time"), or absent ("lead_time").
        """
        if missing := [lead for lead in leads if lead not in self.leads]:
            raise ValueError(f"expected some of {' '.join(self.leads)}; got {' '.join(missing)}")
        state: Mapping[str, Tensor] = self.state_dict()
        gone = {f"lead_embedding.{lead}" for lead in self.leads if lead not in leads}
        kept = {name: value for name, value in state.items() if name not in gone}
        if self.patching == "time":
            columns = [self.leads.index(lead) for lead in leads]
            kept["patch_embedding.weight"] = state["patch_embedding.weight"].unflatten(1, (-1, self.patch))[:, columns].flatten(1)
            if self.norm_in is not None:
                for name in ("norm_in.weight", "norm_in.bias"):
                    if name in state:
                        kept[name] = state[name].unflatten(0, (-1, self.patch))[columns].flatten()
        return kept


def _token(*shape: int) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(shape), std=0.02)


_OF_ALL_LEADS: dict[str, Any] = {"patching": "time", "patch": 25, "registers": 1, "bias": "none"}
_ST_MEM: dict[str, Any] = {
    "patching": "lead_time",
    "patch": 75,
    "embedding": "norm_linear_norm",
    "lead_embedding": True,
    "separators": True,
    "registers": 0,
    "bias": "all",
    "norm_eps": 1e-5,
    "init": "xavier",
}

PRESETS: dict[str, dict[str, Any]] = {
    "vit_tiny": {**_OF_ALL_LEADS, "dim": 64, "depth": 2, "heads": 4},
    "vit_xs": {**_OF_ALL_LEADS, "dim": 192, "depth": 8, "heads": 4},
    "vit_s": {**_OF_ALL_LEADS, "dim": 384, "depth": 8, "heads": 6},
    "vit_b": {**_OF_ALL_LEADS, "dim": 768, "depth": 12, "heads": 12},
    "st_mem_tiny": {**_ST_MEM, "dim": 64, "depth": 2, "heads": 4},
    "st_mem_s": {**_ST_MEM, "dim": 384, "depth": 12, "heads": 6},
    "st_mem": {**_ST_MEM, "dim": 768, "depth": 12, "heads": 12},
    "mtae": {"patching": "time", "patch": 75, "dim": 768, "depth": 12, "heads": 12, "bias": "all", "norm_eps": 1e-5, "init": "xavier"},
    "cross_pattern": {
        "patching": "lead_time",
        "patch": 50,
        "dim": 768,
        "depth": 12,
        "heads": 16,
        "positions": "lead_and_time",
        "again": True,
        "attention": "cross",
        "registers": 0,
        "bias": "all_but_qkv",
        "norm_eps": 1e-5,
        "drop_path": 0.1,
    },
}
"""Patches are in samples at the rate of the publication: 500 Hz for vit_…, 250 Hz for st_mem…, mtae and cross_pattern."""
