"""What is watched while a module trains: numbers that are not finite, parameters that never learn, collapsed representations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from einthoven.errors import EinthovenError
from einthoven.layers.gumbel_quantiser import GumbelQuantiser
from einthoven.train.engine import whole

WATCHED = 3
"""Updates in which every parameter has to receive a gradient at least once."""
_SMALLEST_SPREAD = 1e-3
_FEWEST_CODES = 1.1
"""Codes in use per codebook, as a perplexity: 1 is a codebook of which one entry is ever chosen."""
_ROWS = 32


class NotFinite(EinthovenError, FloatingPointError):
    """The loss or its gradient is NaN or infinite."""


def check_finite(step: int, loss: float, norm: float, parts: Mapping[str, float], records: list[Any]) -> None:
    """Raise NotFinite, naming the update, the parts and the records, unless loss and gradient norm are finite."""
    if loss - loss == 0 and norm - norm == 0:
        return
    what = f"the loss is {loss}" if loss - loss != 0 else f"the loss is {loss:.6g}, but the norm of its gradient is {norm}"
    named = ", ".join(f"{name}={value:.6g}" for name, value in parts.items()) or "none"
    shown = ", ".join(str(record) for record in records[:16]) + (" …" if len(records) > 16 else "")
    raise NotFinite(
        f"{what} at step {step}; parts: {named}; records: {shown or 'not named'}. "
        "Checkpoints written before are intact. Lower optim.lr, set clip=1, or try precision=fp32"
    )


class Gradients:
    """Watches, over the first updates, which parameters receive a gradient that is not zero."""

    def __init__(self, module: nn.Module):
        resting = getattr(module, "rests", {})  # parameters that a method leaves as they are for some updates, on purpose
        self.waiting = {name: weight for name, weight in module.named_parameters() if resting.get(name, 0) < WATCHED}
        self.n_updates = 0

    def look(self) -> list[str]:
        """Call after the backward passes of an update; after the last watched one, gives the names that never learned."""
        if self.n_updates == WATCHED:
            return []
        self.n_updates += 1
        with_gradient = {name: weight.grad for name, weight in self.waiting.items() if weight.grad is not None}
        if with_gradient:
            norms = torch.stack([whole(gradient.norm()).float() for gradient in with_gradient.values()])
            for name, learns in zip(with_gradient, (norms > 0).tolist(), strict=True):
                if learns:
                    del self.waiting[name]
        return [name for name, weight in self.waiting.items() if weight.requires_grad] if self.n_updates == WATCHED else []


def never_learns(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{len(names)} parameters received no gradient in the first {WATCHED} updates: {shown}. If they are meant to be frozen, set requires_grad=False"


def collapsed_codes(parts: Mapping[str, float], module: nn.Module) -> str | None:
    """A warning where the part ``code_perplexity``, a sum over the module's codebooks, says that hardly any code is used."""
    n_codebooks = sum(part.groups for part in module.modules() if isinstance(part, GumbelQuantiser))
    perplexity = parts.get("code_perplexity")
    if perplexity is None or perplexity > _FEWEST_CODES * n_codebooks:
        return None
    return f"the codebook has collapsed: code_perplexity is {perplexity:.3g} over {n_codebooks} codebooks; raise diversity_weight, or lower optim.lr"


@torch.no_grad()
def spread(encoder: nn.Module, batch: Mapping[str, Any]) -> float:
    """How far the pooled embeddings of a few ECGs lie apart, relative to their length: root mean variance over root mean square.

    0: every ECG gets the same embedding. NaN where there are fewer than two rows. The encoder is put into evaluation mode and back.
    """
    rows = min(_ROWS, len(batch["ecg"]))
    if rows < 2 or batch["ecg"].shape[1] != len(
        getattr(encoder, "leads", batch["ecg"][0])
    ):  # an encoder of single leads sees them one by one
        return float("nan")
    modes = {part: part.training for part in encoder.modules()}
    encoder.eval()
    try:
        pooled = encoder(batch["ecg"][:rows], batch["valid"][:rows]).float().mean(dim=1)
    finally:
        for part, training in modes.items():
            part.training = training
    return float((pooled.var(dim=0, correction=0).mean() / pooled.square().mean().clamp_min(1e-30)).sqrt())


def collapsed_embedding(value: float) -> str | None:
    if value != value or value > _SMALLEST_SPREAD:
        return None
    return f"the embedding has collapsed: the embeddings of different ECGs differ by {value:.2g} of their length; lower optim.lr, or lengthen the warm-up"
