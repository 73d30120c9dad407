"""Vectors become codes: the Gumbel product quantiser that makes the targets of wav2vec 2.0.

Each of ``groups`` codebooks gives one of ``n_codes`` vectors; the quantised vector is their concatenation.

Source: Baevski et al., "vq-wav2vec", ICLR 2020 and "wav2vec 2.0", NeurIPS 2020; names and initial values as in fairseq-signals.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from einthoven.layers.gather import sum_over_processes


@dataclass(frozen=True)
class Quantised:
    """vectors (..., dim); codes (..., group) int64; the two perplexities () of the codes that are used, summed over the groups."""

    vectors: Tensor
    codes: Tensor
    code_perplexity: Tensor
    prob_perplexity: Tensor


def temperature_at(step: int, schedule: tuple[float, float, float]) -> float:
    """The temperature after ``step`` updates, for (start, end, decay): max(start * decay ** step, end)."""
    start, end, decay = schedule
    return max(start * decay**step, end)


def perplexity(probability: Tensor) -> Tensor:
    """exp(entropy), summed over the groups: (group, code) -> ()."""
    return torch.exp(-(probability * torch.log(probability + 1e-7)).sum(dim=-1)).sum()


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise on the generator's device."""
    return -torch.empty(shape, device=generator.device).exponential_(generator=generator).log()


class GumbelQuantiser(nn.Module):
    """(..., width) -> Quantised with vectors (..., dim).

    width       : width of the input
    dim         : width of the quantised vectors, a multiple of ``groups``
    n_codes     : codes of each group
    shared      : one codebook for all groups (``combine_groups`` in fairseq-signals)
    temperature : (start, end, decay) of the soft-max's temperature over the updates
    """

    def __init__(
        self,
        width: int,
        dim: int,
        n_codes: int = 320,
        groups: int = 2,
        *,
        shared: bool = False,
        temperature: tuple[float, float, float] = (2.0, 0.5, 0.999995),
    ):
        super().__init__()
        if dim % groups:
            raise ValueError(f"expected the quantised dimension to be a multiple of the groups; got dim={dim}, groups={groups}")
        self.n_codes, self.groups, self.shared, self.temperature = n_codes, groups, shared, temperature
        self.vars = nn.Parameter(torch.rand(1, n_codes if shared else groups * n_codes, dim // groups))
        self.weight_proj = nn.Linear(width, groups * n_codes)
        nn.init.normal_(self.weight_proj.weight)
        nn.init.zeros_(self.weight_proj.bias)

    @property
    def n_vars(self) -> int:
        """Codes of all groups: what both perplexities reach when every code is used equally often."""
        return self.groups * self.n_codes

    def codebook(self) -> Tensor:
        """(group, code, dim / groups)"""
        return self.vars.expand(self.groups, -1, -1) if self.shared else self.vars.view(self.groups, self.n_codes, -1)

    def forward(self, x: Tensor, noise: Tensor | None = None, temperature: float = 1.0, *, over_processes: bool = False) -> Quantised:
        """Quantise; in float32 whatever autocast says, since the codes hang on small differences.

        noise          : (..., group, code) Gumbel noise: the hard code of the noisy logits, with the gradient of their
                         soft-max at ``temperature`` (straight through). None: the most likely code, without a gradient to the logits
        over_processes : perplexities of the rows of all processes (each must have as many), differentiable
        """
        with torch.autocast(x.device.type, enabled=False):
            logits = self.weight_proj(x.to(self.vars.dtype)).unflatten(-1, (self.groups, self.n_codes))
            likeliest = nn.functional.one_hot(logits.argmax(dim=-1), self.n_codes).to(logits.dtype)
            rows = tuple(range(logits.dim() - 2))
            used = self._mean_over_rows(torch.stack([likeliest, logits.softmax(dim=-1)]), tuple(row + 1 for row in rows), over_processes)
            if noise is None:
                chosen, codes = likeliest, logits.argmax(dim=-1)
            else:
                soft = ((logits + noise.to(logits.dtype)) / temperature).softmax(dim=-1)
                codes = soft.argmax(dim=-1)
                chosen = nn.functional.one_hot(codes, self.n_codes).to(soft.dtype) - soft.detach() + soft
            vectors = torch.einsum("...gv,gvd->...gd", chosen, self.codebook()).flatten(-2)
        return Quantised(vectors, codes, perplexity(used[0]), perplexity(used[1]))

    def _mean_over_rows(self, x: Tensor, dims: tuple[int, ...], over_processes: bool) -> Tensor:
        n_rows = torch.tensor(float(x[0, ..., 0, 0].numel()), device=x.device, dtype=x.dtype)
        total = x.sum(dim=dims)
        if over_processes:
            total, n_rows = sum_over_processes(total), sum_over_processes(n_rows)
        return total / n_rows

    def flat_codes(self, codes: Tensor) -> Tensor:
        """One number for a combination of codes, the last group fastest: (..., group) -> (...)."""
        flat = torch.zeros_like(codes[..., 0])
        for group in range(self.groups):
            flat = flat * self.n_codes + codes[..., group]
        return flat

    def look_up(self, flat: Tensor) -> Tensor:
        """The vectors of combinations of codes: (...) as from ``flat_codes`` -> (..., dim)."""
        codes = torch.stack([flat // self.n_codes ** (self.groups - 1 - group) % self.n_codes for group in range(self.groups)], dim=-1)
        return torch.stack([self.codebook()[group][codes[..., group]] for group in range(self.groups)], dim=-2).flatten(-2)
