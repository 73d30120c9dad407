"""A grouped convolution over time with a wide kernel, by way of spectra: the same numbers for a fraction of the arithmetic.

A kernel of 128 taps asks for 128 multiply-adds per pair of channels and frame; a product of spectra asks for 4. Both
transforms are products with small matrices of sines, which a CPU does at full speed at any length, with no layout changes
in between. Only rounding differs from the plain convolution (a few 1e-7 of the largest value, in float32).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def waves(frequencies: int, positions: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi f t / period: (frequency, position) each, float64; ``positions`` are whole numbers."""
    turns = torch.arange(frequencies)[:, None] * positions[None, :] % period
    angle = turns.double() * (2 * math.pi / period)
    return angle.cos(), angle.sin()


def convolve_by_spectra(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """y[t] = sum over j of weight[j] x[t + j - kernel // 2], grouped, with zeros around x, as many frames as x has.

    x : (batch, frame, dim); weight : (dim, dim / groups, kernel), as Conv1d has it; returns (batch, frame, dim)
    """
    n_rows, n_frames, dim = x.shape
    width, kernel = weight.shape[1:]
    # As long as this, what runs around the end of the circle falls on zeros.
    period = n_frames + kernel // 2
    n_frequencies = period // 2 + 1
    cos, sin = waves(n_frequencies, torch.arange(n_frames), period)
    cos_tap, sin_tap = waves(n_frequencies, torch.arange(kernel) - kernel // 2, period)
    # Each frequency but 0 and the highest of an even period stands for itself and for its mirror image.
    share = torch.full((n_frequencies, 1), 2 / period, dtype=torch.float64)
    share[0] = 1 / period
    if period % 2 == 0:
        share[-1] = 1 / period
    analyse, taps, synthesise = (torch.cat(pair).to(x.dtype) for pair in ((cos, -sin), (cos_tap, sin_tap), (cos * share, -sin * share)))

    rows = x.view(n_rows, n_frames, groups, width).permute(1, 2, 0, 3).reshape(n_frames, -1)
    spectrum = (analyse @ rows).view(2, n_frequencies, groups, n_rows, width)
    # (frequency x group, re and im of the rows, channel in) times (frequency x group, channel in, channel out), with re and with im of the kernel
    spectrum = spectrum.permute(1, 2, 0, 3, 4).reshape(n_frequencies * groups, 2 * n_rows, width)
    real, imaginary = (
        (taps @ weight.reshape(-1, kernel).T).view(2, n_frequencies * groups, dim // groups, width).transpose(-1, -2).unbind(0)
    )
    by_real = torch.bmm(spectrum, real).view(n_frequencies, groups, 2, n_rows, -1)
    by_imaginary = torch.bmm(spectrum, imaginary).view(n_frequencies, groups, 2, n_rows, -1)
    product = torch.stack([by_real[:, :, 0] - by_imaginary[:, :, 1], by_real[:, :, 1] + by_imaginary[:, :, 0]])
    y = synthesise.T @ product.view(2 * n_frequencies, -1)
    return y.view(n_frames, groups, n_rows, -1).permute(2, 0, 1, 3).reshape(n_rows, n_frames, dim)
