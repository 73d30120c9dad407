"""The networks that fairseq-signals offers beside the transformer keep the encoder's contract, and padding out."""

import json

import pytest
import torch

from einthoven.leads import TWELVE
from einthoven.models import ENCODERS, PRESETS
from einthoven.models.convnet import ConvNet
from einthoven.models.nejedly2021 import Nejedly2021, leads_there
from einthoven.models.se_wrn import SEWRN
from einthoven.models.vanilla_resnet1d import VanillaResNet1d

SMALL = {
    "convnet": (ConvNet, {"conv_layers": ((8, 4, 2), (12, 2, 2))}),
    "convnet_layer_norm": (ConvNet, {"conv_layers": ((8, 2, 2), (12, 2, 2)), "extractor_mode": "layer_norm", "bias": False}),
    "nejedly2021": (Nejedly2021, {"filters": 8, "depth": 2}),
    "nejedly2021_whole": (Nejedly2021, {"filters": 8, "depth": 2, "heads": 2, "indicate_leads": True, "bias": True}),
    "nejedly2021_leadwise": (Nejedly2021, {"filters": 4, "depth": 2, "leadwise": True, "indicate_leads": True, "stride": 3}),
    "se_wrn": (SEWRN, {"filters": (4, 8, 8), "blocks": 2, "ratio": 4}),
    "se_wrn_wide": (SEWRN, {"filters": (4, 8, 8), "blocks": 2, "ratio": 4, "widening_factor": 3, "bias": True}),
    "se_wrn_leadwise": (SEWRN, {"filters": (4, 8), "blocks": 1, "leadwise": True}),
    "vanilla_resnet1d": (VanillaResNet1d, {"layout": "resnet18", "filters": 4}),
    "vanilla_resnet1d_bottleneck": (VanillaResNet1d, {"layout": "resnet50", "filters": 4}),
}
"""Every option of every one of them differs from its default somewhere."""


def seeded(name, **options):
    """The encoder with norms whose statistics and factors are not those of the beginning."""
    kind, own = SMALL[name]
    torch.manual_seed(0)
    encoder = kind(**{**own, **options})
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return encoder.eval()


@pytest.mark.parametrize("name", SMALL)
def test_it_keeps_the_encoders_contract(name):
    encoder = seeded(name)
    for n_samples in (encoder.least_samples, 96, 253):
        out = encoder(torch.randn(2, 12, n_samples))
        assert out.shape == (2, encoder.n_frames(n_samples), encoder.dim) and out.isfinite().all()
        assert encoder.embed(torch.randn(2, 12, n_samples)).shape == (2, encoder.width)
    lengths = torch.tensor([0, 1, 96, 253])
    assert encoder.n_frames(lengths).tolist() == [encoder.n_frames(n) for n in lengths.tolist()]
    ecg = torch.randn(2, 12, 253)
    again = type(encoder)(**json.loads(json.dumps(encoder.config()))).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(ecg), encoder(ecg)) and again.config() == encoder.config()
    prefixes = [prefix for stage in encoder.stages() for prefix in stage]
    for parameter, _ in encoder.named_parameters():
        assert sum(parameter.startswith(prefix) for prefix in prefixes) == 1, parameter
    with pytest.raises(ValueError, match="transposed"):
        encoder(ecg.mT)


@pytest.mark.parametrize("name", SMALL)
def test_a_padded_record_gives_the_frames_that_it_gives_alone(name):
    encoder, lengths = seeded(name).double(), (253, 132, 130, 97)
    ecg = torch.randn(4, 12, 253, dtype=torch.float64)
    valid = torch.arange(253) < torch.tensor(lengths)[:, None]
    ecg[~valid[:, None].expand_as(ecg)] = 7.0  # whatever stands behind the end
    with torch.no_grad():
        together, there = encoder(ecg, valid), encoder.frame_valid(valid)
        for row, n in enumerate(lengths):
            alone = encoder(ecg[row : row + 1, :, :n])[0]
            assert there[row].sum() == len(alone)
            torch.testing.assert_close(together[row, : len(alone)], alone)
        torch.testing.assert_close(encoder(ecg, torch.ones_like(valid)), encoder(ecg))


@pytest.mark.parametrize("name", SMALL)
def test_it_works_with_other_leads_and_learns_in_every_parameter(name):
    encoder = seeded(name, leads=("I", "V2", "V5")).train()
    encoder.embed(torch.randn(4, 3, 200)).square().sum().backward()
    idle = [parameter for parameter, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias before a batch norm is taken away again by the norm.
    assert all(parameter.endswith(("conv.bias", "conv1.bias", "conv2.bias")) or parameter.endswith("in_proj_bias") for parameter in idle), (
        idle
    )


@pytest.mark.parametrize("name", SMALL)
def test_it_can_tell_four_ecgs_apart(name):
    encoder = seeded(name).train()
    ecg, label = torch.randn(4, 12, 160), torch.arange(4)
    head = torch.nn.Linear(encoder.width, 4)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(encoder.embed(ecg)), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.3


# Published counts: models.md of the old system's specification, §6; torchvision's networks count 11,689,512 and 25,557,032 in two dimensions.
@pytest.mark.parametrize(
    ("preset", "n_parameters"),
    [("nejedly2021_plain", 6_277_632), ("nejedly2021", 6_277_632 + 263_168), ("se_wrn", 1_350_794 + 256), ("convnet", 399_872 + 4 * 256)],
)
def test_published_networks_have_the_published_numbers_of_parameters(preset, n_parameters):
    name, options = PRESETS[preset]
    with torch.device("meta"):
        encoder = ENCODERS[name](**options)
    assert sum(p.numel() for p in encoder.parameters()) == n_parameters


@pytest.mark.parametrize(
    "preset", [name for name, (kind, _) in PRESETS.items() if kind in ("convnet", "nejedly2021", "se_wrn", "vanilla_resnet1d")]
)
def test_every_preset_can_be_built(preset):
    name, options = PRESETS[preset]
    with torch.device("meta"):
        encoder = ENCODERS[name](**options)
        if name != "convnet":  # its norm asks for the device's autocast, and meta has none
            assert encoder(torch.empty(2, 12, 320)).shape == (2, encoder.n_frames(320), encoder.dim)


def test_flags_say_which_leads_were_recorded():
    encoder, ecg = seeded("nejedly2021_whole"), torch.randn(2, 12, 100)
    ecg[0, 3], ecg[1, 5, 10] = 0, 0
    flags = encoder(ecg)[:, :, -12:]
    assert (flags == flags[:, :1]).all() and flags[0, 0].tolist() == [float(lead != 3) for lead in range(12)] and (flags[1] == 1).all()
    assert leads_there(ecg, every_sample=True)[1].tolist() == [lead != 5 for lead in range(12)]
    torch.testing.assert_close(encoder.embed(ecg)[:, -12:], flags[:, 0])
    told = torch.zeros(2, 12, dtype=torch.bool)
    assert (encoder(ecg, there=told)[:, :, -12:] == 0).all()


@pytest.mark.parametrize("kind, options", [(Nejedly2021, {"filters": 6, "depth": 2}), (SEWRN, {"filters": (4, 8), "blocks": 1})])
def test_a_leadwise_network_does_to_each_lead_what_it_does_to_it_alone(kind, options):
    torch.manual_seed(0)
    three = kind(("I", "II", "V1"), leadwise=True, **options).eval()
    one = kind(("II",), leadwise=True, **options).eval()
    one.load_state_dict(three.state_dict())
    ecg = torch.randn(2, 3, 90)
    width = three.dim // 3
    with torch.no_grad():
        torch.testing.assert_close(three(ecg)[:, :, width : 2 * width], one(ecg[:, 1:2]))


def test_a_wide_network_is_wide_but_for_its_first_convolution():
    encoder = SEWRN(filters=(4, 8, 16), blocks=1, ratio=4, widening_factor=3)
    assert encoder.dim == 48 and encoder.conv.out_channels == 4
    assert [group.layers[0].conv1.weight.shape[:2] for group in encoder.groups] == [(24, 4), (48, 24)]
    assert [group.layers[0].fc1.out_features for group in encoder.groups] == [6, 12]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Nejedly2021, {"kernel": 8}, "odd"),
        (Nejedly2021, {"heads": 8, "leadwise": True}, "leadwise"),
        (Nejedly2021, {"heads": 7}, "multiple of heads"),
        (SEWRN, {"filters": (16,)}, "two filters"),
        (SEWRN, {"filters": (16, 20), "ratio": 8}, "multiple of ratio"),
        (ConvNet, {"conv_layers": ()}, "one convolution"),
        (VanillaResNet1d, {"layout": "resnet1"}, "layout"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_they_have_their_names():
    assert {"convnet", "nejedly2021", "se_wrn", "vanilla_resnet1d"} <= ENCODERS.keys()
    assert ConvNet().leads == TWELVE and ENCODERS["se_wrn"] is SEWRN
