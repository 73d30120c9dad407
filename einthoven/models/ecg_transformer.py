"""The ECG transformer: strided convolutions make frames, a transformer puts them into context (wav2vec 2.0 for 12 leads).

Parameters keep the names that fairseq-signals gave them, so its weights load without a table: the backbone's keys are
ours, and the older ``weight_g`` / ``weight_v`` of the positional convolution are taken as they are by torch's weight
normalisation. ``from_legacy_config`` translates the configuration.

Source: Baevski et al., "wav2vec 2.0", NeurIPS 2020; Oh et al., CHIL 2022; McKeen et al., "ECG-FM", 2024.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from einthoven.layers.conv_frontend import ConvFeatureExtractor, ConvPositions, frames_of
from einthoven.layers.dropout import dropout
from einthoven.layers.transformer import TransformerEncoder
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder, Frames


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


class ECGTransformer(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim).

    leads, fs         : what the signals must be; one row of ``ecg`` per lead, samples per second
    conv_layers       : (channels, kernel, stride) of each convolution; by default a frame is 16 samples, 32 ms at 500 Hz
    extractor_mode    : "default" or "layer_norm", see ConvFeatureExtractor
    conv_bias         : whether the convolutions have a bias
    dim, ffn, heads, depth : of the transformer
    norm_first        : pre-norm; published weights are post-norm
    dropout, attention_dropout, activation_dropout, input_dropout : of sums, attention weights, the network's inside, tokens
    layerdrop         : probability that a layer is left out of an update
    conv_pos, conv_pos_groups : kernel (frames) and groups of the positional convolution
    extractor_gradient: factor of the gradient that reaches the convolutions; 0: they do not learn
    ignore_padding    : False, as published: padding enters the norm over time and the positional convolution, so a record's
                        frames depend on how far it was padded. True: a padded record gives the frames that it gives alone

    ``valid`` marks real samples, which stand before the padding. Raises ValueError when ``ecg`` does not have the leads.
    """

    has_context = True

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        conv_layers: Sequence[Sequence[int]] = ((256, 2, 2),) * 4,
        extractor_mode: str = "default",
        conv_bias: bool = False,
        dim: int = 768,
        ffn: int = 3072,
        heads: int = 12,
        depth: int = 12,
        norm_first: bool = False,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        input_dropout: float = 0.0,
        layerdrop: float = 0.0,
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        extractor_gradient: float = 1.0,
        ignore_padding: bool = False,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        convolutions = tuple((int(channels), int(kernel), int(stride)) for channels, kernel, stride in conv_layers)
        n_samples = math.prod(stride for _, _, stride in convolutions)
        super().__init__(leads, fs, dim=dim, samples_per_frame=n_samples, local_dim=convolutions[-1][0])
        self.conv_layers = convolutions
        self._config = {**options, "leads": list(self.leads), "fs": self.fs, "conv_layers": [list(layer) for layer in convolutions]}
        self.input_dropout, self.extractor_gradient, self.ignore_padding = input_dropout, extractor_gradient, ignore_padding

        self.encoder = TransformerEncoder(
            dim,
            ffn,
            heads,
            depth,
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation_dropout=activation_dropout,
            layerdrop=layerdrop,
            norm_first=norm_first,
        )
        self.feature_extractor = ConvFeatureExtractor(len(self.leads), self.conv_layers, mode=extractor_mode, bias=conv_bias)
        self.post_extract_proj = nn.Linear(self.local_dim, dim) if self.local_dim != dim else None
        self.conv_pos = ConvPositions(dim, conv_pos, conv_pos_groups)
        self.layer_norm = nn.LayerNorm(self.local_dim)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, in JSON's types: ``ECGTransformer(**config)``."""
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        """Frames of a record of this length (a number, or a tensor of numbers)."""
        return frames_of(n_samples, self.conv_layers)

    def stages(self) -> list[tuple[str, ...]]:
        """The convolutions, positions and norms; then each layer."""
        front = ("feature_extractor.", "layer_norm.", "post_extract_proj.", "conv_pos.", "encoder.layer_norm.")
        return [front, *((f"encoder.layers.{number}.",) for number in range(len(self.encoder.layers)))]

    def frames(self, ecg: Tensor, valid: Tensor | None = None) -> Frames:
        """Tokens before any context; ``valid`` all True is the same as None."""
        self.check_signal(ecg, valid)
        if valid is not None and bool(valid.all()):
            valid = None
        learns = self.extractor_gradient > 0
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            features = self.feature_extractor(ecg, valid if self.ignore_padding else None)
        if learns and self.extractor_gradient != 1.0:
            features = _ScaleGradient.apply(features, self.extractor_gradient)
        energy = features.to(torch.promote_types(features.dtype, torch.float32)).square().mean()
        local = self.layer_norm(features)
        tokens = local if self.post_extract_proj is None else self.post_extract_proj(local)
        return Frames(dropout(tokens, self.input_dropout, self.training), local, energy, None if valid is None else self.frame_valid(valid))

    def context(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """(batch, frame, dim), (batch, frame) bool or None -> (batch, frame, dim); what stands at padding has no meaning."""
        return self.encoder(self._placed(tokens, valid), valid)

    def attention(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Each layer's attention, averaged over its heads: (batch, layer, query frame, key frame); rows sum to 1."""
        return self.encoder.attention(self._placed(tokens, valid), valid)

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        frames = self.frames(ecg, valid)
        return self.context(frames.tokens, frames.valid)

    def _placed(self, tokens: Tensor, valid: Tensor | None) -> Tensor:
        """Tokens with their positions: the input of the transformer."""
        if valid is not None and self.ignore_padding:
            tokens = tokens.masked_fill(~valid[:, :, None], 0.0)
        return tokens + self.conv_pos(tokens)


SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "dim": 64,
        "ffn": 128,
        "heads": 4,
        "depth": 2,
        "conv_layers": ((32, 2, 2),) * 4,
        "conv_pos": 16,
        "conv_pos_groups": 4,
        # Too small to need any; and what a process drops is its own draw, so that without it any number of processes gives one curve.
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "input_dropout": 0.0,
        "layerdrop": 0.0,
    },
    "small": {"dim": 768, "ffn": 3072, "heads": 12, "depth": 8},
    "base": {"dim": 768, "ffn": 3072, "heads": 12, "depth": 12},
    "large": {"dim": 1024, "ffn": 4096, "heads": 16, "depth": 24},
}
"""``ECGTransformer(**SIZES["base"])``: 90,373,248 parameters; tiny learns in seconds on a laptop."""

_FROM_LEGACY = {
    "extractor_mode": "extractor_mode",
    "conv_bias": "conv_bias",
    "encoder_embed_dim": "dim",
    "encoder_ffn_embed_dim": "ffn",
    "encoder_attention_heads": "heads",
    "encoder_layers": "depth",
    "layer_norm_first": "norm_first",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "dropout_input": "input_dropout",
    "encoder_layerdrop": "layerdrop",
    "conv_pos": "conv_pos",
    "conv_pos_groups": "conv_pos_groups",
    "feature_grad_mult": "extractor_gradient",
}


def from_legacy_config(legacy: Mapping[str, Any], leads: Sequence[str] | None = None, fs: float = 500.0) -> dict[str, Any]:
    """A fairseq-signals model configuration in our words: ``ECGTransformer(**from_legacy_config(cfg["model"]))``.

    Keys that do not concern the encoder are left alone. ``leads`` defaults to the twelve, or to numbered ones where the
    old model had another number of inputs. Raises ValueError for convolutions that are no list of (channels, kernel, stride).
    """
    config = {ours: legacy[theirs] for theirs, ours in _FROM_LEGACY.items() if legacy.get(theirs) is not None}
    n_leads = int(legacy.get("in_d") or len(TWELVE))
    if leads is None:
        leads = TWELVE if n_leads == len(TWELVE) else tuple(f"lead{i + 1}" for i in range(n_leads))
    config.update(leads=list(leads), fs=float(fs))
    if legacy.get("conv_feature_layers") is not None:
        config["conv_layers"] = _legacy_convolutions(legacy["conv_feature_layers"])
    return config


def _legacy_convolutions(text: Any) -> list[list[int]]:
    """``"[(256, 2, 2)] * 4 + [(256, 3, 2)]"`` -> [[256, 2, 2], ...]; read as sums and multiples of lists, never evaluated."""

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            left, right = value(node.left), value(node.right)
            if isinstance(left, list) != isinstance(right, list) and all(
                isinstance(side, list) or 0 < side <= 64 for side in (left, right)
            ):
                return left * right
            raise ValueError("not a list times a small number")
        return ast.literal_eval(node)

    try:
        layers = value(ast.parse(text, mode="eval").body) if isinstance(text, str) else text
        return [[int(channels), int(kernel), int(stride)] for channels, kernel, stride in layers]
    except (ValueError, TypeError, SyntaxError) as error:
        raise ValueError(f"expected convolutions like '[(256, 2, 2)] * 4', (channels, kernel, stride) each; got {text!r}") from error
