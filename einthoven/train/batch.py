"""A raw batch of the store becomes the batch that objectives and tasks see, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MADE_HERE = ("counts", "gain", "offset", "n_valid", "lead_present")


def to_tensors(raw: Mapping[str, Any], pin: bool = False) -> dict[str, Any]:
    """The arrays of a raw batch as CPU tensors without a copy, in pinned memory where they are to be copied to CUDA; the rest as it is."""
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value for name, value in raw.items()
    }
    return {name: value.pin_memory() if pin and isinstance(value, Tensor) else value for name, value in tensors.items()}


def to_batch(raw: Mapping[str, Any], device: torch.device | str = "cpu") -> dict[str, Any]:
    """``view.__getitems__(indices)``, as arrays or tensors -> the batch of docs/architecture.md, on the device.

    raw : counts (row, lead, time) int16; gain, offset (row, lead) float32; n_valid (row,) samples before padding;
          lead_present (row, lead) bool; and whatever else the view gives (patient, record, segment, label, …), which is passed on
    returns : ecg (row, lead, time) float32, counts * gain + offset, 0 in missing leads and in padding;
              valid (row, time) bool; lead_present (row, lead) bool; the rest; and ``padded``, a plain bool: whether any
              sample is padding, so that nobody has to ask the device
    """
    raw = to_tensors(raw)
    n_valid, present, n_time = raw["n_valid"], raw["lead_present"], raw["counts"].shape[-1]
    padded, missing = bool((n_valid < n_time).any()), not bool(present.all())

    def move(name: str) -> Tensor:
        return raw[name].to(device, non_blocking=True)

    counts, lengths, present = move("counts"), move("n_valid"), move("lead_present")
    # One pass over the signal on the device; int16 is what crosses the bus.
    ecg = torch.addcmul(move("offset")[:, :, None], counts.float(), move("gain")[:, :, None])
    valid = torch.arange(n_time, device=ecg.device) < lengths[:, None]
    if missing:  # their gain and offset mean nothing, and may be NaN
        ecg.masked_fill_(~present[:, :, None], 0.0)
    if padded:
        ecg.masked_fill_(~valid[:, None, :], 0.0)
    rest = {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in raw.items()
        if name not in _MADE_HERE
    }
    return {"ecg": ecg, "valid": valid, "lead_present": present, "padded": padded, **rest}
