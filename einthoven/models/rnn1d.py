"""Recurrent networks over the samples of an ECG: LSTM and GRU, in one or both directions.

Source: Strodthoff et al., IEEE JBHI 2021. A record's vector is the mean, the maximum and the last of its frames; of a network
in both directions the last time step stands for both, as published, although the backward one has taken a single step there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RNN1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, time, dim): a frame per sample, which knows those before it.

    leads, fs     : what the signals must be; one row of ``ecg`` per lead, samples per second
    cell          : "lstm" or "gru"
    hidden        : its width
    depth         : layers
    bidirectional : a second network runs backwards from each record's end; ``dim`` is then twice ``hidden``
    dropout       : between layers

    A padded record gives the frames that it gives alone; behind its end they are 0.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        cell: Literal["lstm", "gru"] = "lstm",
        hidden: int = 256,
        depth: int = 2,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if cell not in CELLS:
            raise ValueError(f"expected the cell to be one of {', '.join(CELLS)}; got {cell!r}")
        super().__init__(leads, fs, dim=hidden * (2 if bidirectional else 1), samples_per_frame=1, pooling="mean_max_last")
        self._config = {**options, "leads": list(self.leads), "fs": self.fs}
        self.rnn = CELLS[cell](
            len(self.leads), hidden, depth, batch_first=True, bidirectional=bidirectional, dropout=dropout if depth > 1 else 0.0
        )

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        return n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """Each layer, with both of its directions."""
        return [
            tuple(f"rnn.{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            for layer in range(self.rnn.num_layers)
        ]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        x = ecg.transpose(1, 2)
        if valid is None:
            return self.rnn(x)[0]
        # A row without any sample is run as one of a single 0, since there are no empty sequences; its frames are not valid.
        n = valid.sum(dim=1)
        x = x.masked_fill(~valid[:, :, None], 0.0)
        packed = pack_padded_sequence(x, n.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=ecg.shape[2])[0]


PRESETS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "lstm_bidir": {"cell": "lstm", "bidirectional": True},
    "gru_bidir": {"cell": "gru", "bidirectional": True},
    "gru_small": {"cell": "gru", "hidden": 64},
}
"""As in the PTB-XL benchmark, and one for a laptop."""
