"""The encoders that CPC is made for: what they see, how long records may be, and that a stream is the whole."""

import json

import pytest
import torch

from einthoven.models import ENCODERS, PRESETS
from einthoven.models.cpc import ConvBlocks, CPCEncoder
from einthoven.models.s4 import S4Encoder

SMALL = {
    "s4": lambda **o: S4Encoder(**{"dim": 16, "depth": 2, "kernels": (), "strides": (), "bidirectional": True, "dropout": 0.0, **o}),
    "ecg_cpc": lambda **o: S4Encoder(**{"dim": 16, "depth": 2, "kernels": (3, 1), "strides": (2, 1), "dropout": 0.0, **o}),
    "s4_both_ways": lambda **o: S4Encoder(**{"dim": 16, "depth": 2, "kernels": (5, 4), "strides": (4, 2), "bidirectional": True, **o}),
    "cpc": lambda **o: CPCEncoder(**{"features": (8, 12), "kernels": (1, 1), "strides": (1, 1), "dim": 16, **o}),
    "cpc_conv": lambda **o: CPCEncoder(**{"features": (8, 12), "kernels": (10, 4), "strides": (2, 2), "dim": 16, "cell": "gru", **o}),
    "cpc_bias": lambda **o: CPCEncoder(**{"features": (8,), "kernels": (4,), "strides": (3,), "batch_norm": False, "dim": 16, **o}),
    "cpc_no_stem": lambda **o: CPCEncoder(**{"features": (), "kernels": (), "strides": (), "dim": 16, "depth": 1, **o}),
}
CAUSAL = [name for name in SMALL if "s4" not in name]


def built(name, **options):
    torch.manual_seed(0)
    encoder = SMALL[name](**options)
    for module in encoder.modules():  # as after some training, so that a norm of zeros is not zero
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    return encoder.eval()


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_as_many_as_published():
    with torch.device("cpu"):
        ecg_cpc, baseline = S4Encoder(**PRESETS["ecg_cpc"][1]), S4Encoder(**PRESETS["s4"][1])
    assert n_parameters(ecg_cpc) == 2_932_736 and n_parameters(ecg_cpc.stem) == 808_960
    assert n_parameters(baseline) + 512 * 71 + 71 == 2_183_239 and n_parameters(baseline.stem) == 6_656
    fully_connected, convolutional = (CPCEncoder(**PRESETS[name][1]) for name in ("cpc", "cpc_conv"))
    assert n_parameters(fully_connected) + 512 * 512 == 5_261_312 and n_parameters(convolutional) + 512 * 512 == 7_675_904


def test_published_frames_are_as_many_as_published():
    assert [S4Encoder(**PRESETS["ecg_cpc"][1]).n_frames(n) for n in (600, 2400)] == [300, 1200]
    assert [CPCEncoder(**PRESETS["cpc_conv"][1]).n_frames(n) for n in (250, 1000)] == [15, 62]
    assert [CPCEncoder(**PRESETS["cpc"][1]).n_frames(n) for n in (250, 1000)] == [250, 1000]


@pytest.mark.parametrize("name", ["ecg_cpc_tiny", "s4_tiny", "cpc_tiny"])
def test_a_preset_is_built_again_from_its_configuration(name):
    kind, options = PRESETS[name]
    torch.manual_seed(0)
    encoder = ENCODERS[kind](("I", "V2"), 250.0, **options).eval()
    again = ENCODERS[kind](**json.loads(json.dumps(encoder.config()))).eval()
    again.load_state_dict(encoder.state_dict())
    ecg = torch.randn(2, 2, 400)
    assert again.config() == encoder.config() and again.stages() == encoder.stages()
    torch.testing.assert_close(again(ecg), encoder(ecg), rtol=0, atol=0)
    assert encoder.embed(ecg).shape == (2, encoder.width)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_belongs_to_one_stage(name):
    encoder = built(name)
    for parameter, _ in encoder.named_parameters():
        assert sum(parameter.startswith(prefix) for stage in encoder.stages() for prefix in stage) == 1


@pytest.mark.parametrize("name", SMALL)
def test_frames_are_as_many_as_announced_for_every_length(name):
    encoder = built(name)
    lengths = torch.tensor([0, 1, 2, 3, 5, 8, 13, 50, 51, 52, 53])
    assert encoder.n_frames(lengths).tolist() == [encoder.n_frames(int(n)) for n in lengths]
    for n in lengths.tolist():
        ecg = torch.randn(2, 12, n)
        if encoder.n_frames(n) < 1:
            with pytest.raises(ValueError, match="at least"):
                encoder(ecg)
        else:
            assert encoder(ecg).shape == (2, encoder.n_frames(n), encoder.dim)


@pytest.mark.parametrize("name", SMALL)
def test_a_padded_record_gives_the_frames_that_it_gives_alone(name):
    encoder, n_valid = built(name), [160, 97, 40]
    valid = torch.arange(160) < torch.tensor(n_valid)[:, None]
    ecg = torch.where(valid[:, None], torch.randn(3, 12, 160), torch.tensor(float("nan")))
    together, frame_valid = encoder(ecg, valid), encoder.frame_valid(valid)
    embedded = encoder.embed(ecg, valid)
    for row, n in enumerate(n_valid):
        alone = encoder(ecg[row : row + 1, :, :n])[0]
        torch.testing.assert_close(together[row, frame_valid[row]], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(embedded[row], encoder.embed(ecg[row : row + 1, :, :n])[0], rtol=1e-4, atol=1e-5)


def test_padding_takes_no_part_in_batch_statistics():
    def after(n_time):
        torch.manual_seed(0)
        blocks = ConvBlocks(12, (8, 6), (4, 3), (2, 1)).train()
        valid = torch.arange(n_time) < torch.tensor([80, 31])[:, None]
        ecg = torch.randn(2, 12, 80, generator=torch.Generator().manual_seed(1))
        ecg = torch.nn.functional.pad(ecg, (0, n_time - 80)).masked_fill(~valid[:, None], 0.0)
        return blocks(ecg, valid)[:, :, :39], blocks.state_dict()

    (frames, state), (longer, longer_state) = after(80), after(200)
    torch.testing.assert_close(longer, frames)
    torch.testing.assert_close(longer_state, state)
    # And without padding they are nn.BatchNorm1d's.
    torch.manual_seed(0)
    ours = ConvBlocks(12, (8,), (3,), (2,)).train()
    ecg = torch.randn(2, 12, 50)
    plain = torch.relu(torch.nn.BatchNorm1d(8)(torch.nn.functional.conv1d(ecg, ours.parts()[0][0].weight, stride=2, padding=1)))
    torch.testing.assert_close(ours(ecg), plain)
    torch.testing.assert_close(ours(ecg, torch.ones(2, 50, dtype=torch.bool)), plain)


@pytest.mark.parametrize("name", SMALL)
def test_context_looks_ahead_only_where_it_says_so(name):
    encoder = built(name)
    assert encoder.causal == (name in CAUSAL)
    tokens = torch.randn(2, 40, encoder.local_dim)
    changed = tokens.clone()
    changed[:, 25:] += 1
    with torch.inference_mode():
        before = float((encoder.context(tokens) - encoder.context(changed))[:, :25].abs().max())
    assert before < 1e-5 if encoder.causal else before > 1e-3


@pytest.mark.parametrize("chunks", [[1] * 61, [2, 1, 8] * 5 + [6], [7, 50, 1, 3], [61]])
@pytest.mark.parametrize(
    "options", [{}, {"kernels": (), "strides": ()}, {"kernels": (4, 3), "strides": (3, 2)}, {"kernels": (1, 2), "strides": (4, 3)}]
)
def test_a_stream_gives_the_frames_of_the_whole(options, chunks):
    encoder = built("ecg_cpc", **options)
    ecg = torch.randn(2, 12, 61)
    stream = encoder.stream(batch=2)
    frames = torch.cat([*(stream.push(part) for part in ecg.split(chunks, dim=2)), stream.finish()], dim=1)
    torch.testing.assert_close(frames, encoder(ecg), rtol=1e-4, atol=1e-5)


def test_ten_seconds_streamed_are_ten_seconds_at_once_in_single_precision():
    torch.manual_seed(0)
    encoder = S4Encoder(fs=240.0, dim=32, depth=4, kernels=(3, 1), strides=(2, 1)).eval()
    ecg = torch.randn(1, 12, 2400)
    stream = encoder.stream()
    first, rest = stream.push(ecg[:, :, :1001]), stream.push(ecg[:, :, 1001:])
    assert first.shape[1] == 500  # the stem waits for one sample
    with torch.inference_mode():
        torch.testing.assert_close(torch.cat([first, rest], dim=1), encoder(ecg), rtol=0, atol=1e-4)


def test_what_a_stream_remembers_does_not_grow():
    encoder = built("ecg_cpc")
    stream, sizes = encoder.stream(), set()
    for n in (300, 41, 300):
        stream.push(torch.randn(1, 12, n))
        sizes.add(sum(kept.numel() for kept in (*stream.states, *stream.tails)))
        assert all(tail.untyped_storage().nbytes() <= 4 * 16 * 4 for tail in stream.tails)
    assert max(sizes) <= 2 * 16 * 8 + 3 * 12 + 16


def test_after_an_interruption_a_stream_knows_nothing_of_before():
    encoder, ecg = built("ecg_cpc"), torch.randn(1, 12, 80)
    stream = encoder.stream()
    stream.push(torch.randn(1, 12, 77))
    stream.reset()
    torch.testing.assert_close(torch.cat([stream.push(ecg), stream.finish()], dim=1), encoder(ecg), rtol=1e-4, atol=1e-5)
    # finish() begins anew, too
    torch.testing.assert_close(torch.cat([stream.push(ecg), stream.finish()], dim=1), encoder(ecg), rtol=1e-4, atol=1e-5)


def test_what_cannot_stream_says_so():
    with pytest.raises(ValueError, match="bidirectional"):
        built("s4").stream()
    with pytest.raises(ValueError, match="evaluation"):
        built("ecg_cpc").train().stream()
    with pytest.raises(ValueError, match=r"lead=12"):
        built("ecg_cpc").stream().push(torch.randn(1, 11, 30))


def test_a_block_keeps_its_input_and_norms_last():
    encoder = built("ecg_cpc", depth=1)
    block, x = encoder.layers[0], torch.randn(2, 20, 16)
    branch = block.layer(x)
    expected = torch.nn.functional.layer_norm(x + branch, (16,), block.norm.weight, block.norm.bias)
    torch.testing.assert_close(encoder.context(x), expected)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="a kernel and a stride"):
        S4Encoder(kernels=(3, 1), strides=(2,))
    with pytest.raises(ValueError, match="2 kernels"):
        CPCEncoder(features=(8,), kernels=(3, 1), strides=(2,))
    with pytest.raises(ValueError, match="lstm or gru"):
        CPCEncoder(cell="rnn")


@pytest.mark.parametrize("name", ["s4_both_ways", "ecg_cpc", "cpc_conv"])
def test_a_small_encoder_memorises_four_ecgs(name):
    encoder = built(name, dropout=0.0).train() if "cpc_conv" != name else built(name).train()
    ecg, label = torch.randn(4, 12, 120), torch.tensor([0, 1, 2, 3])
    head = torch.nn.Linear(encoder.width, 4)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(encoder.embed(ecg)), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05
    assert all(parameter.grad is not None for parameter in encoder.parameters())
