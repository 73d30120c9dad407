"""Plain stacks of convolutions: the fully convolutional networks of Wang and of Schirrmeister, and squeeze-and-excitation ones.

Source: Wang et al., IJCNN 2017 (fcn, fcn_wang); Schirrmeister et al., Hum. Brain Mapp. 2017; Hu et al., CVPR 2018 (sen);
as in Strodthoff et al., IEEE JBHI 2021. Kernels count samples; they were chosen for 100 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from einthoven.layers.convolution import Convolution, initialise, max_pool, windows, within
from einthoven.layers.pool import pool
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "prelu": nn.PReLU}


class SqueezeExcite(nn.Module):
    """Each channel is scaled by what the means of all channels say: (batch, channel, time) -> the same."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        if channels < reduction:
            raise ValueError(f"expected a squeeze_excite of at most the {channels} channels; got {reduction}")
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False)
        self.excite = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: Tensor, n: Tensor | None) -> Tensor:
        valid = None if n is None else within(x.new_ones(x.shape[0], 1, x.shape[2]), n)[:, 0] > 0
        mean = pool(x.transpose(1, 2), valid)
        return x * self.excite(self.squeeze(mean).relu()).sigmoid()[:, :, None]


class Layer(nn.Module):
    """Dropout, convolution, norm, activation; then squeeze-and-excitation; then a pool, where there are such.

    With ``split`` the convolution is linear (its norm stays, its stride is 1), and a second one over channels alone follows.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int, *, norm: bool, activation: str | None, dropout: float, reduction: int,
        pool: tuple[int, int] | None, split: bool,
    ):  # fmt: skip
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.conv = Convolution(n_in, n_out, kernel, 1 if split else stride, norm=norm, active=False)
        self.across = Convolution(n_out, n_out, 1, norm=norm, active=False) if split else None
        self.activation = ACTIVATIONS[activation]() if activation else nn.Identity()
        self.gate = SqueezeExcite(n_out, reduction) if reduction else None
        self.pool = pool

    def n_after(self, n: Any) -> Any:
        n = self.conv.n_after(n)
        return n if self.pool is None else windows(n, *self.pool, (self.pool[0] - 1) // 2)

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x, n = self.conv(self.dropout(x), n)
        if self.across is not None:
            x, n = self.across(x, n)
        x = self.activation(x)
        if self.gate is not None:
            x = self.gate(x, n)
        return (x, n) if self.pool is None else max_pool(x, n, *self.pool, (self.pool[0] - 1) // 2)


class BasicConv1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim), dim = the last of ``filters``.

    leads, fs      : what the signals must be; one row of ``ecg`` per lead, samples per second
    filters        : channels of each layer
    kernels        : of each layer; one for all where there is one
    stride         : of every layer
    norm           : batch norm after each convolution; without it they have a bias
    activation     : "relu", "elu" or "prelu"
    dropout        : before each convolution but the first
    pool           : window and stride of a max pool after every layer but the last; none: no pool
    squeeze_excite : factor by which the means are squeezed; 0: no squeeze-and-excitation
    split_first    : the first layer is a linear convolution over time, of stride 1, and then one over leads
    out            : channels of one more convolution, with neither norm nor activation; then a record's vector is the mean of
                     frames. In the published fully convolutional network they are the classes, here features

    A padded record gives the frames that it gives alone; behind its end they are 0.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        filters: tuple[int, ...] = (128, 128, 128, 128, 128),
        kernels: tuple[int, ...] = (3,),
        stride: int = 2,
        norm: bool = True,
        activation: Literal["relu", "elu", "prelu"] = "relu",
        dropout: float = 0.0,
        pool: tuple[int, int] | None = None,
        squeeze_excite: int = 0,
        split_first: bool = False,
        out: int | None = None,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if activation not in ACTIVATIONS:
            raise ValueError(f"expected the activation to be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
        channels = [len(leads), *filters, *([] if out is None else [out])]
        n_layers = len(channels) - 1
        if not filters or len(kernels) not in (1, n_layers) or min(*channels, *kernels, stride) < 1:
            raise ValueError(
                f"expected filters, a kernel for each of the {n_layers} layers or one for all, and a stride, all above 0; "
                f"got {tuple(filters)}, {tuple(kernels)}, {stride} and out {out}"
            )
        widths = tuple(kernels) * n_layers if len(kernels) == 1 else tuple(kernels)
        n_pools = 0 if pool is None else n_layers - 1
        step = stride ** (n_layers - bool(split_first)) * (pool[1] if pool else 1) ** n_pools
        super().__init__(leads, fs, dim=channels[-1], samples_per_frame=step, pooling="max_mean" if out is None else "mean")
        self._config = {
            **options, "leads": list(self.leads), "fs": self.fs, "filters": list(filters), "kernels": list(kernels),
            "pool": None if pool is None else list(pool),
        }  # fmt: skip
        self.layers = nn.ModuleList()
        for number, (n_in, n_out, kernel) in enumerate(zip(channels, channels[1:], widths)):
            bare, last = out is not None and number == len(filters), number == n_layers - 1
            self.layers.append(
                Layer(
                    n_in, n_out, kernel, stride, norm=norm and not bare, activation=None if bare else activation,
                    dropout=dropout if number else 0.0, reduction=0 if bare else squeeze_excite,
                    pool=None if last or pool is None else (pool[0], pool[1]), split=split_first and number == 0,
                )
            )  # fmt: skip
        initialise(self)

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        for layer in self.layers:
            n_samples = layer.n_after(n_samples)  # type: ignore[operator]
        return n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """Each layer."""
        return [(f"layers.{number}.",) for number in range(len(self.layers))]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        x, n = ecg, None if valid is None else valid.sum(dim=1)
        for layer in self.layers:
            x, n = layer(x, n)
        return within(x, n).transpose(1, 2)


PRESETS: dict[str, dict[str, Any]] = {
    "fcn": {"stride": 1, "pool": (2, 2), "out": 128},
    "fcn_wang": {"filters": (128, 256, 128), "kernels": (8, 5, 3), "stride": 1},
    "schirrmeister": {"filters": (25, 50, 100, 200), "kernels": (10,), "stride": 3, "pool": (3, 1), "dropout": 0.5, "split_first": True},
    "sen": {"squeeze_excite": 16},
    "basic1d": {"kernels": (5,)},
}
"""As in the PTB-XL benchmark."""
