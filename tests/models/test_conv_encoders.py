"""Convolutional and recurrent encoders of the PTB-XL benchmark keep the encoder contract, handle padding and learn in every parameter."""

import json

import pytest
import torch

from einthoven.layers.head import ClassifierHead
from einthoven.layers.pool import pool
from einthoven.leads import TWELVE
from einthoven.models import ENCODERS, PRESETS
from einthoven.models.inception1d import Inception1d
from einthoven.models.resnet1d import ResNet1d, WideResNet1d
from einthoven.models.rnn1d import RNN1d
from einthoven.models.xresnet1d import XResNet1d

OURS = ("xresnet1d", "resnet1d", "wide_resnet1d", "inception1d", "basic_conv1d", "rnn1d")
PUBLISHED = [name for name, (kind, _) in PRESETS.items() if kind in OURS]
SMALL = {
    "xresnet1d18": ("xresnet1d", {"layers": (1, 1, 1), "expansion": 1, "widen": 0.125, "stem": (6, 6, 8), "zero_last": False}),
    "xresnet1d50_deeper": (
        "xresnet1d",
        {"layers": (1, 2, 1, 1, 1), "widen": 0.0625, "stem": (6, 8), "kernel": 3, "stem_kernel": 4, "stem_bias": True, "zero_last": False},
    ),
    "resnet1d_wang": ("resnet1d", {"width": 6}),
    "resnet1d50": ("resnet1d", {"layers": (1, 2), "expansion": 4, "width": 4, "stem_kernel": 5, "stem_halves": True}),
    "wrn1d_22": ("wide_resnet1d", {"layers": (1, 2), "width": 5}),
    "inception1d": ("inception1d", {"filters": 3, "bottleneck": 4, "kernel": 12}),
    "inception1d_plain": ("inception1d", {"depth": 2, "filters": 3, "bottleneck": 0, "residual": False, "kernel": 9}),
    "fcn": ("basic_conv1d", {"filters": (6, 8), "stride": 1, "pool": (2, 2), "out": 5}),
    "fcn_wang": ("basic_conv1d", {"filters": (6, 8, 4), "kernels": (8, 5, 3), "stride": 1}),
    "schirrmeister": ("basic_conv1d", {"filters": (5, 6, 8), "kernels": (10,), "stride": 3, "pool": (3, 1), "split_first": True, "activation": "elu"}),
    "sen": ("basic_conv1d", {"filters": (8, 8), "squeeze_excite": 2, "norm": False, "activation": "prelu"}),
    "lstm": ("rnn1d", {"hidden": 6}),
    "gru_bidir": ("rnn1d", {"cell": "gru", "hidden": 5, "bidirectional": True}),
}  # fmt: skip
"""Every kind of encoder here with every option off its default somewhere, small."""


def small(name, **options):
    torch.manual_seed(0)
    kind, own = SMALL[name]
    return ENCODERS[kind](**{**own, **options})


def test_every_published_network_is_a_preset_and_every_encoder_has_a_small_one():
    assert {"xresnet1d18", "xresnet1d34", "xresnet1d50", "xresnet1d101", "xresnet1d152", "xresnet1d50_deep", "xresnet1d18_deeper"} <= set(
        PUBLISHED
    )
    assert {"fcn", "fcn_wang", "schirrmeister", "sen", "basic1d", "inception1d", "resnet1d_wang", "wrn1d_22"} <= set(PUBLISHED)
    assert {"resnet1d18", "resnet1d34", "resnet1d50", "resnet1d101", "resnet1d152", "lstm", "gru", "lstm_bidir", "gru_bidir"} <= set(
        PUBLISHED
    )
    assert {kind for kind, _ in SMALL.values()} == set(OURS)


# Published counts with 12 leads, 71 classes and a hidden layer of 128, of which the encoder and this head are the parts.
COUNTS = {
    "xresnet1d18": 373_447, "xresnet1d34": 703_175, "xresnet1d50": 962_503, "xresnet1d101": 1_880_775, "xresnet1d152": 2_799_047,
    "xresnet1d50_deep": 993_735, "xresnet1d50_deeper": 1_021_127, "resnet1d_wang": 481_863, "resnet1d18": 1_022_279, "resnet1d34": 1_812_807,
    "resnet1d50": 3_996_743, "resnet1d101": 7_086_663, "resnet1d152": 10_176_583, "wrn1d_22": 39_431, "inception1d": 516_167,
    "fcn_wang": 318_279, "schirrmeister": 328_468, "sen": 255_559, "basic1d": 379_463, "lstm": 912_199, "gru": 711_495,
    "lstm_bidir": 2_339_143, "gru_bidir": 1_806_663,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_a_network_with_its_head_has_the_published_number_of_parameters(name):
    kind, options = PRESETS[name]
    with torch.device("meta"):
        encoder = ENCODERS[kind](**options)
        head = ClassifierHead(encoder.width, 71, hidden=(128,))
    assert sum(p.numel() for part in (encoder, head) for p in part.parameters()) == COUNTS[name]


@pytest.mark.parametrize("layers, count", [((3, 4, 6, 3), 886_432), ((3, 4, 23, 3), 1_804_704)])
def test_the_contrastive_methods_encoder_has_a_bias_more(layers, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in XResNet1d(layers=layers, stem_bias=True).parameters()) == count


@pytest.mark.parametrize("name", [*PUBLISHED, *SMALL])
def test_stages_cover_each_parameter_once_and_options_are_json(name):
    kind, options = SMALL[name] if name in SMALL else PRESETS[name]
    with torch.device("meta"):
        encoder = ENCODERS[kind](**options)
        again = ENCODERS[kind](**json.loads(json.dumps(encoder.config())))
    assert again.config() == encoder.config() and encoder.leads == TWELVE
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in encoder.state_dict().items()
    }
    for key, _ in encoder.named_parameters():
        assert sum(key.startswith(prefix) for stage in encoder.stages() for prefix in stage) == 1, key


@pytest.mark.parametrize("name", SMALL)
def test_frames_are_as_many_as_promised_for_every_length(name):
    encoder = small(name).eval()
    least = encoder.least_samples
    with torch.no_grad():
        for n in {least, least + 1, 63, 64, 65, 66, 100}:
            if n >= least:
                out = encoder(torch.randn(2, 12, n))
                assert out.shape == (2, encoder.n_frames(n), encoder.dim)
                assert pool(out, None, encoder.pooling).shape == (2, encoder.width)
    lengths = torch.arange(200)
    assert encoder.n_frames(lengths).tolist() == [encoder.n_frames(int(n)) for n in lengths]
    # Between the centres of two frames lie samples_per_frame samples.
    assert encoder.n_frames(10_000 + 100 * encoder.samples_per_frame) - encoder.n_frames(10_000) == 100


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_what_stands_behind_a_records_end_reaches_neither_frames_nor_statistics(name, training):
    encoder = small(name).double().train(training)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    lengths = torch.tensor([150, 131, 90])
    ecg = torch.randn(3, 12, 150, dtype=torch.float64)
    valid = torch.arange(150) < lengths[:, None]
    one = encoder(ecg, valid)
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder.load_state_dict(before)
    longer = torch.cat([ecg.masked_fill(~valid[:, None], float("nan")), torch.full((3, 12, 37), 7.0, dtype=torch.float64)], dim=2)
    other_valid = torch.nn.functional.pad(valid, (0, 37))
    other = encoder(longer, other_valid)
    torch.testing.assert_close(other[:, : one.shape[1]], one)
    assert not other[:, one.shape[1] :].any() and torch.equal(encoder.frame_valid(other_valid).sum(dim=1), encoder.n_frames(lengths))
    for key, value in encoder.state_dict().items():
        torch.testing.assert_close(value, state[key])
    if not training:
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(ecg[row : row + 1, :, :length])[0]
            torch.testing.assert_close(one[row, : len(alone)], alone)
        torch.testing.assert_close(encoder(ecg, torch.ones_like(valid)), encoder(ecg))


@pytest.mark.parametrize("name", SMALL)
def test_the_gradient_reaches_every_parameter(name):
    encoder = small(name).double()
    vector = encoder.embed(torch.randn(4, 12, 150, dtype=torch.float64))
    (vector * torch.randn_like(vector)).sum().backward()
    silent = {key for key, p in encoder.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12}
    # A batch norm takes off again what was added to its channels before it, also through a linear layer between.
    published = {"xresnet1d50_deeper": {"stem.0.conv.bias"}, "schirrmeister": {"layers.0.conv.norm.bias"}}
    assert silent == published.get(name, set())


@pytest.mark.parametrize("name", ["xresnet1d18", "resnet1d_wang", "wrn1d_22", "inception1d", "fcn_wang", "sen", "gru_bidir"])
def test_a_classifier_on_it_memorises_four_ecgs(name):
    encoder = small(name)
    head = ClassifierHead(encoder.width, 4, dropout=0.0)
    ecg, label = torch.randn(4, 12, 64), torch.arange(4)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(head(encoder.embed(ecg)), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


@pytest.mark.parametrize("name, layer", [("fcn_wang", "layers.1.dropout"), ("lstm", "rnn")])
def test_dropout_stands_behind_the_first_layer_and_acts_in_training_alone(name, layer):
    encoder, ecg = small(name, dropout=0.5), torch.randn(2, 12, 64)
    if name == "fcn_wang":
        seen = []
        encoder.get_submodule(layer).register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
        encoder.train()(ecg)
        (before, after), *_ = seen
        assert 0.4 < (after[before > 0] == 0).float().mean() < 0.6
        assert encoder.layers[0].dropout.p == 0.0
    else:
        torch.manual_seed(1)
        one = encoder.train()(ecg)
        assert not torch.equal(one, encoder(ecg)) and encoder.rnn.dropout == 0.5
    assert torch.equal(encoder.eval()(ecg), encoder(ecg))


def test_an_xresnet_begins_as_its_shortcuts_unless_told_otherwise():
    torch.manual_seed(0)
    encoder = XResNet1d(layers=(1, 2), widen=0.25).eval()
    ecg = torch.randn(2, 12, 100)
    before = encoder(ecg)
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if ".convs." in name and p.ndim == 3:
                p.normal_()
    assert torch.equal(encoder(ecg), before)
    assert all(bool((p == 1).all()) for name, p in XResNet1d(zero_last=False).named_parameters() if name.endswith("norm.weight"))


def test_deeper_stages_are_half_as_wide_and_keep_one_width():
    encoder = XResNet1d(layers=(1,) * 6, expansion=1)
    assert [stage[0].convs[0].conv.out_channels for stage in encoder.blocks] == [64] * 4 + [32] * 2 and encoder.dim == 32


def test_the_modules_of_inception_before_the_first_shortcut_learn_too():
    assert Inception1d().stages()[0] == ("inceptions.0.", "inceptions.1.", "inceptions.2.", "shortcuts.0.")


def test_a_recurrent_network_in_one_direction_does_not_look_ahead_and_in_both_ends_with_both_last_steps():
    torch.manual_seed(0)
    ecg = torch.randn(1, 12, 40)
    later = ecg.clone()
    later[:, :, 25:] = 0.0
    encoder = RNN1d(hidden=6)
    torch.testing.assert_close(encoder(later)[:, :25], encoder(ecg)[:, :25])
    both = RNN1d(hidden=6, depth=1, bidirectional=True)
    # The backward half of the last frame has seen the last sample alone, as in the published network.
    earlier = ecg.clone()
    earlier[:, :, :39] = 0.0
    assert torch.equal(both(ecg)[:, -1, 6:], both(earlier)[:, -1, 6:]) and not torch.equal(both(ecg)[:, -1, :6], both(earlier)[:, -1, :6])
    vector = both.embed(ecg)
    assert vector.shape == (1, 36) and torch.equal(vector[:, 24:], both(ecg)[:, -1])


@pytest.mark.parametrize("name", ["xresnet1d18", "resnet1d50", "wrn1d_22", "inception1d", "fcn", "lstm"])
def test_any_leads_at_any_rate_will_do_and_others_are_refused(name):
    encoder = small(name, leads=("I", "II", "V2"), fs=100.0)
    assert encoder(torch.randn(2, 3, 100)).shape[2] == encoder.dim and encoder.fs == 100.0
    with pytest.raises(ValueError, match="lead=3"):
        encoder(torch.randn(2, 12, 100))
    with pytest.raises(ValueError, match="transposed"):
        encoder(torch.randn(2, 100, 3))


def test_a_signal_too_short_for_a_frame_is_refused():
    encoder = small("fcn")
    with pytest.raises(ValueError, match=f"at least {encoder.least_samples} samples"):
        encoder(torch.randn(1, 12, encoder.least_samples - 1))


@pytest.mark.parametrize(
    "kind, options",
    [
        (XResNet1d, {"kernel": 4}), (XResNet1d, {"widen": 0.01}), (XResNet1d, {"layers": ()}), (ResNet1d, {"kernels": (7, 4)}),
        (ResNet1d, {"width": 0}), (WideResNet1d, {"kernel": 4}), (Inception1d, {"kernel": 3}), (RNN1d, {"cell": "rnn"}),
        (ENCODERS["basic_conv1d"], {"kernels": (3, 3)}), (ENCODERS["basic_conv1d"], {"activation": "tanh"}),
        (ENCODERS["basic_conv1d"], {"squeeze_excite": 256}),
    ],
)  # fmt: skip
def test_options_that_make_no_network_are_refused(kind, options):
    with pytest.raises(ValueError, match="expected"):
        kind(**options)
