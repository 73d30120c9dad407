"""The networks of ecg-selfsupervised and of the PTB-XL benchmark: our encoders and heads give their outputs, gradients and running statistics."""

import json

import pytest
import torch
from parity_cases import ROOT, manifest, ssl_cases
from torch import nn

from einthoven.convert.ecg_selfsupervised_heads import read_head
from einthoven.convert.ecg_selfsupervised_names import head_place, legacy_state, load, old_names, single, split_head
from einthoven.convert.ecg_selfsupervised_sizes import recognise
from einthoven.layers.head import ClassifierHead
from einthoven.layers.pool import pool
from einthoven.models import ENCODERS, PRESETS

BUILDERS = {"RNN1d": None, "ResNetSimCLR": None}
"""Builders that are no published name."""


class Wrapper(nn.Module):
    """The contrastive methods' two linear layers behind the encoder's vector; it also gave that vector."""

    def __init__(self, state):
        super().__init__()
        self.l1 = nn.Linear(*state["l1.weight"].T.shape)
        self.l2 = nn.Linear(*state["l2.weight"].T.shape)
        self.load_state_dict(state)

    def forward(self, h):
        return self.l2(self.l1(h).relu())


def options_in(kwargs):
    """What a case's arguments say of strides, pools and activations, which are not in the tensors."""
    said = {name: kwargs[name] for name in ("stride", "squeeze_excite") if name in kwargs}
    if kwargs.get("pool"):
        said["pool"] = [kwargs["pool"], kwargs.get("pool_stride", 1)]
    if "act" in kwargs:
        said["activation"] = kwargs["act"]
    return said


def model_of(case):
    """Our encoder and what stands on it, with the case's weights; and our names' old names, of both."""
    state, kwargs = single(case.state), case.config["kwargs"]
    builder = case.config["builder"]
    wrapped = {key: value for key, value in state.items() if key.startswith(("l1.", "l2."))}
    if wrapped:
        state = {key.removeprefix("features."): value for key, value in state.items() if key not in wrapped}
    basic = builder in PRESETS and PRESETS[builder][0] == "basic_conv1d"
    name, options, _ = recognise(state, builder if basic else None, **options_in(kwargs))
    encoder = ENCODERS[name](**options)
    body, head_state = split_head(encoder, state)
    encoder.load_state_dict(load(encoder, body))
    names = {f"0.{ours}": ("features." if wrapped else "") + old for ours, old in old_names(encoder).items()}
    if wrapped:
        return encoder, Wrapper(wrapped), {**names, **{f"1.{key}": key for key in wrapped}}
    if not head_state:
        return encoder, nn.Identity(), names
    found, ours, _ = read_head(head_state, dropout=kwargs.get("ps_head", 0.5), activation=kwargs.get("act_head", "relu"))
    head = ClassifierHead(**found)
    head.load_state_dict(ours)
    place, _ = head_place(encoder)
    written = legacy_state(encoder, head)
    assert written.keys() == single(case.state).keys() | {key for key in written if ".convpath." in key}
    by_pointer = {written[key].data_ptr(): key for key in written if key.startswith(place)}
    names |= {f"1.{key}": by_pointer[value.data_ptr()] for key, value in head.state_dict().items() if value.ndim}
    return encoder, head, names


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("case", ssl_cases("model_forward"))
def test_a_network_gives_the_old_outputs(case):
    config, x = case.config, torch.from_numpy(case.arrays["x"])
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    encoder, head, names = model_of(case)
    model = nn.ModuleList([encoder, head])
    assert sum(p.numel() for p in model.parameters()) == config["num_parameters"]

    def expect(mode, h, y):
        for name, value in ((f"{mode}_h", h), (f"{mode}_z", y), (f"{mode}_y", y)):
            if name in case.arrays:
                torch.testing.assert_close(value, torch.from_numpy(case.arrays[name]), **close)

    model.eval()
    with torch.no_grad():
        h = encoder.embed(x)
        expect("eval", h, head(h))
        assert torch.equal(h, pool(encoder(x), None, encoder.pooling)) and h.shape[1] == encoder.width
    if "train_loss_mean_square" not in case.arrays:
        return
    without_dropout(model).train()
    h = encoder.embed(x)
    y = head(h)
    expect("train", h, y)
    loss = y.square().mean()
    torch.testing.assert_close(loss, torch.from_numpy(case.arrays["train_loss_mean_square"]), **close, check_dtype=False)
    loss.backward()
    norms = {names[name]: p.grad.norm() for name, p in model.named_parameters() if p.grad is not None}
    expected = {key.replace(".convpath.0.", ".convs."): value for key, value in config.get("grad_norms", {}).items()}
    largest = max(expected.values(), default=0.0)
    assert expected.keys() <= norms.keys()
    # In float64 our gradients move by up to 7e-4, so that is what float32 knows of them. Behind a norm of the answers themselves the
    # loss hardly depends on anything, and its gradients are what rounding leaves. A bias before a norm has none: below 1e-6 of the largest.
    rtol = 1e-2 if config["kwargs"].get("bn_final_head") else 1e-3
    for key, value in expected.items():
        assert float(norms[key]) == pytest.approx(value, rel=rtol, abs=1e-6 * largest), key
    buffers = {names[f"{name}"]: value for name, value in model.named_buffers() if name in names}
    for key, value in case.arrays.items():
        if key.startswith("after_"):
            torch.testing.assert_close(
                buffers[key.removeprefix("after_").replace(".convpath.0.", ".convs.")], torch.from_numpy(value), **close
            )


def manifests():
    path = ROOT / "ecg_selfsupervised" / "manifest"
    found = []
    for file in ("models_ssl", "models_benchmark"):
        if (path / f"{file}.json").exists():
            found += [
                pytest.param(name, one, id=f"{file}-{name}", marks=pytest.mark.parity)
                for name, one in json.loads((path / f"{file}.json").read_text()).items()
            ]
    return found or [
        pytest.param("", {}, id="none", marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")])
    ]


@pytest.mark.parametrize("name, stated", manifests())
def test_a_network_of_full_size_has_the_old_names_shapes_and_number_of_parameters(name, stated):
    kwargs = stated["kwargs"]
    wrapped = name.startswith("ResNetSimCLR:")
    kind, options = PRESETS[name.removeprefix("ResNetSimCLR:")]
    options = dict(options)
    if wrapped:
        options |= {"stem_bias": True, "widen": kwargs["widen"]}
    if name == "fcn":
        options["out"] = kwargs["num_classes"]
    if kind == "basic_conv1d" and name == "basic1d":
        options["kernels"] = (kwargs.get("kernel_size", 3),)
    with torch.device("meta"):
        encoder = ENCODERS[kind](fs=100.0, **options)
        head = None
        if not wrapped and name != "fcn":
            head = ClassifierHead(encoder.width, kwargs["num_classes"], hidden=kwargs["lin_ftrs_head"], dropout=kwargs.get("ps_head", 0.5))
    ours = {key: list(value.shape) for key, value in legacy_state(encoder, head).items()}
    keys = {key: shape for key, shape in stated["keys"]}
    if wrapped:
        assert sum(p.numel() for p in encoder.parameters()) == stated["encoder_parameters"]
        assert {f"features.{key}": shape for key, shape in ours.items()} == {
            key: shape for key, shape in keys.items() if key.startswith("features.")
        }
        return
    assert ours == keys
    assert sum(p.numel() for part in (encoder, head) if part is not None for p in part.parameters()) == stated["num_parameters"]


@pytest.mark.parity
def test_stages_of_an_xresnet_are_the_groups_of_the_old_discriminative_learning_rates():
    """Head first, then from the top to the input: prefixes, and how many tensors each group has."""
    groups = manifest("finetune_param_groups.json")["discriminative"][1:]
    with torch.device("meta"):
        encoder = ENCODERS["xresnet1d"](**PRESETS["xresnet1d50"][1], stem_bias=True)
    names = old_names(encoder)
    assert len(groups) == len(encoder.stages())
    for group, stage in zip(groups, reversed(encoder.stages())):
        inside = [f"features.{names[key]}" for key, _ in encoder.named_parameters() if key.startswith(stage)]
        assert len(inside) == group["n"] and {".".join(key.split(".")[:2]) for key in inside} == set(group["prefixes"])
