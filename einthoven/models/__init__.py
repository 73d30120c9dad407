"""Encoders: an ECG becomes frames. They know no loss. The contract is in docs/architecture.md."""

from __future__ import annotations

from typing import Any

from einthoven.models import (
    basic_conv1d,
    convnet,
    cpc,
    inception1d,
    nejedly2021,
    resnet1d,
    rnn1d,
    s4,
    se_wrn,
    vanilla_resnet1d,
    vit1d,
    xresnet1d,
)
from einthoven.models.ecg_transformer import SIZES, ECGTransformer
from einthoven.models.encoder import Encoder, Frames

ENCODERS: dict[str, type[Encoder]] = {
    "ecg_transformer": ECGTransformer,
    "convnet": convnet.ConvNet,
    "nejedly2021": nejedly2021.Nejedly2021,
    "se_wrn": se_wrn.SEWRN,
    "vanilla_resnet1d": vanilla_resnet1d.VanillaResNet1d,
    "xresnet1d": xresnet1d.XResNet1d,
    "resnet1d": resnet1d.ResNet1d,
    "wide_resnet1d": resnet1d.WideResNet1d,
    "inception1d": inception1d.Inception1d,
    "basic_conv1d": basic_conv1d.BasicConv1d,
    "rnn1d": rnn1d.RNN1d,
    "cpc": cpc.CPCEncoder,
    "s4": s4.S4Encoder,
    "vit1d": vit1d.ViT1D,
}
"""By the name that recipes and model folders use."""

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("ecg_transformer", options) for name, options in SIZES.items()},
    **{name: ("convnet", options) for name, options in convnet.PRESETS.items()},
    **{name: ("nejedly2021", options) for name, options in nejedly2021.PRESETS.items()},
    **{name: ("se_wrn", options) for name, options in se_wrn.PRESETS.items()},
    **{name: ("vanilla_resnet1d", options) for name, options in vanilla_resnet1d.PRESETS.items()},
    **{name: ("xresnet1d", options) for name, options in xresnet1d.PRESETS.items()},
    **{name: ("resnet1d", options) for name, options in resnet1d.PRESETS.items()},
    **{name: ("wide_resnet1d", options) for name, options in resnet1d.WIDE_PRESETS.items()},
    **{name: ("inception1d", options) for name, options in inception1d.PRESETS.items()},
    **{name: ("basic_conv1d", options) for name, options in basic_conv1d.PRESETS.items()},
    **{name: ("rnn1d", options) for name, options in rnn1d.PRESETS.items()},
    **{name: ("cpc", options) for name, options in cpc.PRESETS.items()},
    **{name: ("s4", options) for name, options in s4.PRESETS.items()},
    **{name: ("vit1d", options) for name, options in vit1d.PRESETS.items()},
}
"""Published and small variants: name -> the encoder's name and its options. ``encoder=xresnet1d50`` in a recipe."""

__all__ = ["ENCODERS", "PRESETS", "SIZES", "ECGTransformer", "Encoder", "Frames"]
