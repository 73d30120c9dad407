"""S4: a linear state-space system per feature, run as a convolution for training and as a recurrence for streaming.

x' = A x + B u, y = 2 Re(C x) + D u, with N state variables of which one of each conjugate pair is kept; (state,) below is
N / 2. A is diagonal plus low rank, A = diag(w) - P P*, which is HiPPO-LegS in the basis that makes A + P P* diagonal
("s4"), or diagonal alone (S4D: "s4d_lin", "s4d_legs"). Time is made discrete by the bilinear rule with a step of its own
per feature. The kernel is K[l] = C A^l B: the sample that comes in is in the state before the output is read.

Source: Gu, Goel, Ré, "Efficiently modeling long sequences with structured state spaces", ICLR 2022; Gu et al., "On the
parameterization and initialization of diagonal state space models", NeurIPS 2022. The published code keeps C times
(1 - A^L) for one length L; here C itself is kept, so weights know no length.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.dropout import dropout

Dynamics = Literal["s4", "s4d_lin", "s4d_legs"]

CACHE_VALUES = 1 << 25
"""Numbers (128 MiB) up to which a layer keeps its kernel's basis; longer ones are computed for each pass."""


def hippo_legs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-LegS as diagonal plus low rank: w, P, B, (n / 2,) complex128 each; all Im(w) > 0, the largest first.

    The eigenvectors' phases are free; they are chosen such that B is real and positive, so that every solver gives the same.
    """
    if n < 2 or n % 2:
        raise ValueError(f"expected an even number of state variables, at least 2; got {n}")
    order = np.arange(n)
    b, p = np.sqrt(2 * order + 1), np.sqrt(order + 0.5)
    a = -np.tril(np.outer(b, b), -1) - np.diag(order + 1.0)
    # A + P P^T = -1/2 + a skew-symmetric matrix S, and -i S is Hermitian: real eigenvalues, orthogonal eigenvectors.
    frequency, vectors = np.linalg.eigh(-1j * (a + np.outer(p, p) + 0.5 * np.eye(n)))
    kept = np.argsort(-frequency)[: n // 2]
    turned = vectors[:, kept].conj().T
    phase = (turned @ b / abs(turned @ b)).conj()
    w = -0.5 + 1j * frequency[kept]
    return torch.from_numpy(w), torch.from_numpy(phase * (turned @ p)), torch.from_numpy(phase * (turned @ b))


def initial_dynamics(kind: Dynamics, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """w, P, B of a kind, (n / 2,) complex128 each; the diagonal kinds have P = 0."""
    if kind not in get_args(Dynamics):
        raise ValueError(f"expected dynamics to be one of {', '.join(get_args(Dynamics))}; got {kind!r}")
    w, p, b = hippo_legs(n)
    if kind == "s4":
        return w, p, b
    if kind == "s4d_lin":
        w, b = torch.from_numpy(-0.5 + 1j * math.pi * np.arange(n // 2)), torch.ones_like(b)
    return w, torch.zeros_like(p), b


def fast_length(n: int) -> int:
    """The least length from ``n`` on that has no prime factor over 5: transforms of it are fast."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def convolve(u: Tensor, kernel: Tensor, backward_kernel: Tensor | None = None) -> Tensor:
    """y[t] = sum over l of kernel[l] u[t - l], and of backward_kernel[l] u[t + 1 + l] where it is given: (batch, dim, time) -> the same.

    kernel, backward_kernel : (dim, time). By spectra of twice the length, so that the end does not run around into the start.
    """
    length = u.shape[-1]
    period = fast_length(2 * length)
    if backward_kernel is not None:
        gap = kernel.new_zeros(kernel.shape[0], period - 2 * length)
        kernel = torch.cat([kernel, gap, backward_kernel.flip(-1)], dim=-1)
    return torch.fft.irfft(torch.fft.rfft(u, period) * torch.fft.rfft(kernel, period), period)[..., :length]


class SSM(nn.Module):
    """dim independent systems: (batch, dim, time) -> (batch, dim, time), in float32 at least whatever the autocast.

    dim             : features, a system each
    state           : N, state variables of each system, even
    bidirectional   : a second C, for a kernel that looks ahead; such a system cannot stream
    dynamics        : "s4", or without the low-rank part "s4d_lin" and "s4d_legs"
    train_dynamics  : whether w, P, B and the steps are learnt; by default only C and D are, as published, and the others are
                      buffers, drawn or computed once and saved with the weights
    step_range      : seconds of the systems' own clocks that a sample may last; log-uniform

    Complex numbers are stored as pairs of real ones. w is kept as ``log_decay`` = log(-Re w) and ``frequency`` = Im w, and the
    low-rank part as P P* (published: P Q with Q = P* at the start): whatever is learnt, the system stays stable.
    """

    log_step: Tensor
    log_decay: Tensor
    frequency: Tensor
    P: Tensor
    B: Tensor

    def __init__(
        self,
        dim: int,
        state: int = 8,
        *,
        bidirectional: bool = False,
        dynamics: Dynamics = "s4",
        train_dynamics: bool = False,
        step_range: tuple[float, float] = (0.001, 0.1),
    ):
        super().__init__()
        self.dim, self.state, self.bidirectional, self.train_dynamics = dim, state, bidirectional, train_dynamics
        w, p, b = initial_dynamics(dynamics, state)
        shortest, longest = (math.log(seconds) for seconds in step_range)
        start = {
            "log_step": torch.rand(dim) * (longest - shortest) + shortest,
            "log_decay": (-w.real).log().float().repeat(dim, 1),
            "frequency": w.imag.float().repeat(dim, 1),
            "P": torch.view_as_real(p).float().repeat(dim, 1, 1),
            "B": torch.view_as_real(b).float().repeat(dim, 1, 1),
        }
        for name, value in start.items():
            if train_dynamics and not (name == "P" and dynamics != "s4"):
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.C = nn.Parameter(torch.randn(1 + bidirectional, dim, state // 2, 2) / math.sqrt(2))
        self.D = nn.Parameter(torch.randn(dim))
        self._kept: Tensor | None = None
        self._kept_of: tuple[tuple[Tensor, int], ...] = ()

    def discrete(self) -> tuple[Tensor, Tensor]:
        """A (dim, N, N) and B (dim, N) of one sample's step, real, float64; a state is its real parts, then its imaginary parts."""
        step = self.log_step.double().exp()[:, None, None]
        decay, frequency = torch.diag_embed(-self.log_decay.double().exp()), torch.diag_embed(self.frequency.double())
        low_rank, b = (pair.double().transpose(1, 2).flatten(1)[:, :, None] for pair in (self.P, self.B))
        rotation = torch.cat([torch.cat([decay, -frequency], dim=2), torch.cat([frequency, decay], dim=2)], dim=1)
        # P P* of a state and of its conjugate: P . 2 Re(P* x).
        half = step / 2 * (rotation - 2 * low_rank * low_rank.mT)
        identity = torch.eye(self.state, dtype=torch.float64, device=half.device)
        solved = torch.linalg.solve(identity - half, torch.cat([identity + half, step * b], dim=2))
        return solved[:, :, :-1], solved[:, :, -1]

    def readout(self) -> Tensor:
        """C as the row that reads a real state, y = row . state: (channel, dim, N)."""
        return 2 * torch.cat([self.C[..., 0], -self.C[..., 1]], dim=-1)

    def basis(self, length: int) -> Tensor:
        """The state after an impulse: (dim, N, time). Kernels are sums of these, so where dynamics rest they are computed once.

        The longest so far is kept, up to CACHE_VALUES numbers; a shorter one is its beginning.
        """
        kept = self._kept
        if kept is not None and kept.shape[2] >= length and self._kept_is_of(self._sources()):
            return kept[:, :, :length]
        # What was made in inference mode could not take part in a later gradient.
        with torch.inference_mode(False), torch.no_grad():
            a, b = self.discrete()
            powers = b[:, :, None]
            while powers.shape[2] < length:
                powers = torch.cat([powers, a @ powers[:, :, : length - powers.shape[2]]], dim=2)
                a = a @ a
            made = powers.to(self.C.dtype)
        fits = made.numel() <= CACHE_VALUES
        self._kept, self._kept_of = (made, self._sources()) if fits else (None, ())
        return made

    def _sources(self) -> tuple[tuple[Tensor, int], ...]:
        """What the basis is made of, with the count of changes in place; the tensors are held, so that no other takes their place in memory."""
        sources = (self.log_step, self.log_decay, self.frequency, self.P, self.B)
        return tuple((source, 0 if source.is_inference() else source._version) for source in sources)

    def _kept_is_of(self, sources: tuple[tuple[Tensor, int], ...]) -> bool:
        return all(now is then and changes == before for (now, changes), (then, before) in zip(sources, self._kept_of, strict=True))

    def kernel(self, length: int) -> Tensor:
        """(channel, dim, time): the second channel, where there is one, is for what lies ahead."""
        if self.train_dynamics:
            return self.kernel_by_generating_function(length)
        return torch.einsum("cdn,dnl->cdl", self.readout(), self.basis(length))

    def kernel_by_generating_function(self, length: int) -> Tensor:
        """The same kernel from its spectrum, by sums over the eigenvalues, with gradients to the dynamics: (channel, dim, time).

        At the nodes omega = exp(-2 pi i j / L), the truncated generating function is 2 / (1 + omega) times
        [r(C, B) - r(C, P) r(P*, B) / (1 + r(P*, P))], r(x, y) = step sum of x y / (z - step w), z = 2 (1 - omega) / (1 + omega).
        Multiplied out by (1 + omega) / 2 nothing is infinite at the highest frequency.
        """
        a, _ = self.discrete()
        row = self.readout()
        row = row - (row.to(a.dtype)[:, :, None, :] @ torch.linalg.matrix_power(a, length))[:, :, 0].to(row.dtype)
        c = torch.complex(*row.chunk(2, dim=-1)).conj() / 2
        b, p = torch.view_as_complex(self.B.contiguous()), torch.view_as_complex(self.P.contiguous())
        step = self.log_step.exp()[:, None]
        scaled = step * torch.complex(-self.log_decay.exp(), self.frequency)
        node = torch.exp(-2j * math.pi / length * torch.arange(length // 2 + 1, dtype=torch.float64, device=a.device))
        above, below = (1 - node).to(c.dtype), ((1 + node) / 2).to(c.dtype)
        # (row, dim, state): C B and C P of each channel, P* B, P* P
        pairs = torch.cat([c * b, c * p, (p.conj() * b)[None], (p.conj() * p)[None]]) * step[:, :, None].transpose(0, 1)
        weights = (1 / (above - below * eigenvalue[:, :, None]) for eigenvalue in (scaled, scaled.conj()))
        sums = sum(torch.einsum("rdn,dnf->rdf", part, weight) for part, weight in zip((pairs, pairs.conj()), weights))
        assert isinstance(sums, Tensor)
        channels = self.C.shape[0]
        cb, cp, pb, pp = sums[:channels], sums[channels : 2 * channels], sums[-2], sums[-1]
        return torch.fft.irfft(cb - cp * (below * pb) / (1 + below * pp), length)

    def forward(self, u: Tensor) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            u = u.to(torch.promote_types(u.dtype, torch.float32))
            kernel = self.kernel(u.shape[2]).to(u.dtype)
            return convolve(u, kernel[0], kernel[1] if self.bidirectional else None) + self.D[:, None] * u

    def stepper(self) -> tuple[Tensor, Tensor, Tensor]:
        """A, B and C for ``step``, in the type of the weights; compute once, step often."""
        if self.bidirectional:
            raise ValueError("a bidirectional system looks ahead and cannot stream; build it with bidirectional=False")
        a, b = self.discrete()
        return a.to(self.C.dtype), b.to(self.C.dtype), self.readout()[0]

    def step(self, u: Tensor, state: Tensor, stepper: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One sample: (batch, dim), (batch, dim, N) -> its output and the next state. The state before all samples is 0."""
        a, b, c = stepper
        state = (a @ state[..., None])[..., 0] + b * u[..., None]
        return (c * state).sum(dim=-1) + self.D * u, state


def tied_dropout(x: Tensor, p: float, training: bool, *, tied: bool = True) -> Tensor:
    """Dropout of (batch, frame, dim); tied: a channel is dropped in all frames of a row or in none."""
    if not tied or not training or p == 0.0:
        return dropout(x, p, training)
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p, True)


class S4Layer(nn.Module):
    """SSM and skip, GELU, dropout, then a gated product over features (GLU): (batch, frame, dim) -> (batch, frame, dim).

    dropout, tie_dropout : after the GELU; tied: whole channels. The other options are the SSM's
    """

    def __init__(self, dim: int, state: int = 8, *, dropout: float = 0.2, tie_dropout: bool = True, **ssm: Any):
        super().__init__()
        self.dropout, self.tie_dropout = dropout, tie_dropout
        self.ssm = SSM(dim, state, **ssm)
        self.mix = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        # Laid out anew here, and not by the product over features: the GELU and its gradient then run over neighbouring numbers.
        return self._mixed(self.ssm(x.transpose(1, 2)).transpose(1, 2).contiguous())

    def step(self, u: Tensor, state: Tensor, stepper: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One frame: (batch, dim), (batch, dim, N) -> its output and the next state."""
        y, state = self.ssm.step(u, state, stepper)
        return self._mixed(y[:, None])[:, 0], state

    def _mixed(self, y: Tensor) -> Tensor:
        return F.glu(self.mix(tied_dropout(F.gelu(y), self.dropout, self.training, tied=self.tie_dropout)), dim=-1)
