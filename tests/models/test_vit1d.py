"""The vision transformers over patches: published sizes, tokens that carry their places, leads that go by name."""

import json

import pytest
import torch
from torch import nn

from einthoven.layers.sincos import sincos
from einthoven.layers.vit_block import Block
from einthoven.leads import TWELVE
from einthoven.models.vit1d import PRESETS, ViT1D, patchify, unpatchify

SMALL = {"dim": 32, "depth": 2, "heads": 4, "patch": 20}
KINDS = ["vit_s", "st_mem", "mtae", "cross_pattern"]


def small(name, leads=TWELVE, **changes):
    torch.manual_seed(0)
    return ViT1D(leads, **{**PRESETS[name], **SMALL, "drop_path": 0.0, **changes})


def louder(encoder):
    """The same encoder with weights large enough that attention and positions matter in what comes out."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return encoder


# KW's published code, counted: 3.6 M, 14.3 M and 85.2 M.
@pytest.mark.parametrize("name, parameters", [("vit_xs", 3_600_000), ("vit_s", 14_277_888), ("vit_b", 85_185_024)])
def test_sizes_have_the_published_numbers_of_parameters(name, parameters):
    with torch.device("meta"):
        encoder = ViT1D(**PRESETS[name])
    assert sum(weight.numel() for weight in encoder.parameters()) == parameters
    assert encoder.n_frames(5000) == 200


def test_st_mem_has_the_published_tokens():
    with torch.device("meta"):
        encoder = ViT1D(TWELVE, 250.0, **PRESETS["st_mem"])
    assert encoder.n_frames(2250) == 360
    block = 12 * 768**2 + 13 * 768  # weights; biases and norms
    front = 2 * 75 + 75 * 768 + 768 + 2 * 768 + 12 * 768 + 768  # norms, linear, lead embeddings, separator
    assert sum(weight.numel() for weight in encoder.parameters()) == 12 * block + front + 2 * 768


@pytest.mark.parametrize("name", PRESETS)
def test_an_encoder_keeps_the_contract(name):
    torch.manual_seed(0)
    encoder = ViT1D(**{**PRESETS[name], **SMALL}).eval()
    ecg, valid = torch.randn(2, 12, 210), torch.ones(2, 210, dtype=torch.bool)
    out = encoder(ecg, valid)
    rows = 12 if encoder.patching == "lead_time" else 1
    assert out.shape == (2, rows * 10, 32) and encoder.least_samples == 20
    assert torch.equal(encoder.n_frames(torch.tensor([0, 19, 20, 210])), rows * torch.tensor([0, 0, 1, 10]))
    assert encoder.frame_valid(valid).shape == out.shape[:2]
    frames = encoder.frames(ecg)
    assert frames.local.shape == (2, rows * 10, encoder.local_dim) and frames.energy > 0
    torch.testing.assert_close(encoder.context(frames.tokens, frames.valid), out)
    again = ViT1D(**json.loads(json.dumps(encoder.config()))).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(ecg, valid), out) and again.config() == encoder.config()
    for parameter, _ in encoder.named_parameters():
        assert sum(parameter.startswith(prefix) for stage in encoder.stages() for prefix in stage) == 1, parameter
    assert len(encoder.stages()) == 1 + encoder.depth
    out.square().sum().backward()
    assert not [parameter for parameter, weight in encoder.named_parameters() if weight.grad is None]


def test_the_transformer_is_that_of_torch():
    encoder = louder(small("vit_s")).eval()
    ecg = torch.randn(2, 12, 200)
    layer = nn.TransformerEncoderLayer(32, 4, 128, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True, bias=False)
    other = nn.TransformerEncoder(layer, 2, nn.LayerNorm(32, 1e-6, bias=False), enable_nested_tensor=False).eval()
    for theirs, ours in zip(other.layers, encoder.layers):
        theirs.self_attn.in_proj_weight.data = ours.attention.qkv.weight.data
        theirs.self_attn.out_proj.weight.data = ours.attention.project.weight.data
        theirs.linear1.weight.data, theirs.linear2.weight.data = ours.network[0].weight.data, ours.network[2].weight.data
        theirs.norm1.weight.data, theirs.norm2.weight.data = ours.norm1.weight.data, ours.norm2.weight.data
    other.norm.weight.data = encoder.norm.weight.data
    # A patch of all leads by a convolution whose kernel is its stride.
    tokens = nn.functional.conv1d(ecg, encoder.patch_embedding.weight.view(32, 12, 20), stride=20).transpose(1, 2)
    tokens = tokens + sincos(torch.arange(10), 32)
    expected = other(torch.cat([encoder.registers.expand(2, -1, -1), tokens], dim=1))[:, 1:]
    torch.testing.assert_close(encoder(ecg), expected)


def test_patches_put_together_are_the_signal_and_the_rest_is_dropped():
    ecg = torch.randn(2, 12, 215)
    patches = patchify(ecg, 20)
    assert patches.shape == (2, 12, 10, 20) and torch.equal(unpatchify(patches), ecg[:, :, :200])
    encoder = small("st_mem").eval()
    torch.testing.assert_close(encoder(ecg), encoder(ecg[:, :, :200]))


@pytest.mark.parametrize("name", KINDS)
def test_tokens_carry_their_places(name):
    encoder = louder(small(name)).eval()
    tokens = encoder.frames(torch.randn(2, 12, 200)).tokens
    order = torch.randperm(tokens.shape[1])
    whole = encoder.context(tokens)
    mixed = encoder.context(tokens[:, order], grid=encoder.grid(tokens.shape[1])[order].expand(2, -1, -1))
    torch.testing.assert_close(mixed, whole[:, order], rtol=1e-4, atol=1e-4)
    same = torch.randn(1, 12, 20).repeat(1, 1, 10)  # one patch over and over: it is told apart by its place alone
    out = encoder(same)[0]
    assert torch.pdist(out).min() > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_a_subset_is_what_remains_when_the_others_are_hidden_from_attention(name):
    encoder = louder(small(name)).eval()
    tokens = encoder.frames(torch.randn(3, 12, 200)).tokens
    keep = torch.rand(tokens.shape[1]) < 0.4
    index = keep.nonzero()[:, 0]
    hidden = encoder.context(tokens, keep.expand(3, -1))
    few = encoder.context(tokens[:, index], grid=encoder.grid(tokens.shape[1])[index].expand(3, -1, -1))
    torch.testing.assert_close(few, hidden[:, index], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_a_padded_record_gives_what_it_gives_alone(name):
    encoder = louder(small(name)).eval()
    ecg, valid = torch.randn(2, 12, 200), torch.ones(2, 200, dtype=torch.bool)
    valid[1, 130:] = False
    frame_valid = encoder.frame_valid(valid)
    rows = encoder.n_rows
    assert frame_valid[1].view(rows, 10).tolist() == [[True] * 6 + [False] * 4] * rows
    torch.testing.assert_close(encoder(ecg, valid)[1][frame_valid[1]], encoder(ecg[1:, :, :130])[0], rtol=1e-4, atol=1e-4)
    nothing = encoder(ecg, torch.zeros(2, 200, dtype=torch.bool))
    assert nothing.isfinite().all()


@pytest.mark.parametrize("name", KINDS)
def test_leads_go_by_name(name):
    encoder = louder(small(name)).eval()
    order = torch.randperm(12).tolist()
    other = small(name, leads=[TWELVE[i] for i in order]).eval()
    other.load_state_dict(encoder.weights_for(other.leads))
    ecg = torch.randn(2, 12, 200)
    torch.testing.assert_close(other.embed(ecg[:, order]), encoder.embed(ecg), rtol=1e-4, atol=1e-4)


def test_with_patches_of_all_leads_fewer_leads_are_as_if_the_others_were_zero():
    encoder = louder(small("vit_s")).eval()
    few = small("vit_s", leads=("V5", "II")).eval()
    few.load_state_dict(encoder.weights_for(few.leads))
    ecg = torch.zeros(2, 12, 200)
    ecg[:, [TWELVE.index("V5"), TWELVE.index("II")]] = some = torch.randn(2, 2, 200)
    torch.testing.assert_close(few(some), encoder(ecg))


@pytest.mark.parametrize("changes", [{"separators": False}, {"positions": "lead_and_time", "lead_embedding": False, "separators": False}])
def test_with_patches_of_each_lead_fewer_leads_are_as_if_the_others_were_absent(changes):
    encoder = louder(small("st_mem", **changes)).eval()
    few = small("st_mem", leads=("V5", "II"), **changes).eval()
    few.load_state_dict(encoder.weights_for(few.leads))
    ecg = torch.randn(2, 12, 200)
    rows = [TWELVE.index("V5"), TWELVE.index("II")]
    index = torch.cat([torch.arange(10) + 10 * row for row in rows])
    tokens = encoder.frames(ecg).tokens[:, index]
    torch.testing.assert_close(few(ecg[:, rows]), encoder.context(tokens), rtol=1e-4, atol=1e-4)


def test_each_lead_stands_between_two_equal_separators_with_its_embedding():
    encoder = louder(small("st_mem")).eval()
    parts = encoder.parts(encoder.frames(torch.randn(2, 12, 200)).tokens)
    assert parts.separators.shape == (2, 12, 2, 32) and parts.registers.shape == (2, 0, 32) and parts.frames.shape == (2, 120, 32)
    # They go in alike and without position, so they come out alike; those of two leads differ by the embeddings.
    torch.testing.assert_close(parts.separators[:, :, 0], parts.separators[:, :, 1], rtol=1e-4, atol=1e-4)
    assert torch.pdist(parts.separators[0, :, 0]).min() > 1e-2


def test_with_cross_attention_one_block_sees_the_row_and_the_column():
    encoder = louder(small("cross_pattern", depth=1)).eval()
    ecg = torch.randn(1, 12, 100, requires_grad=True)
    out = encoder(ecg)[0].unflatten(0, (12, 5))
    (gradient,) = torch.autograd.grad(out[7, 2].square().sum(), ecg)
    reached = patchify(gradient, 20)[0].abs().sum(-1) > 0
    expected = torch.zeros(12, 5, dtype=torch.bool)
    expected[7, :], expected[:, 2] = True, True
    assert torch.equal(reached, expected)
    tokens = encoder.frames(ecg).tokens
    with pytest.raises(ValueError, match="say where they stand"):
        encoder.context(tokens[:, :7])


def test_positions_that_are_added_again_count_in_every_block():
    encoder = louder(small("cross_pattern")).eval()
    tokens = encoder.frames(torch.randn(1, 12, 100)).tokens
    once = ViT1D(**{**encoder.config(), "again": False}).eval()
    once.load_state_dict(encoder.state_dict())
    place = encoder.positions(encoder.grid(60))
    mask = encoder._mask(None, encoder.grid(60)[None], 0)
    expected = encoder.norm(encoder.layers[1](encoder.layers[0](tokens, mask) + place, mask))
    torch.testing.assert_close(encoder.context(tokens), expected)
    assert (once.context(tokens) - expected).abs().max() > 1e-2


def test_a_branch_left_out_leaves_the_row_and_the_others_grow():
    torch.manual_seed(0)
    block = Block(8, 2, drop=0.25)
    with torch.no_grad():
        block.network[2].weight.zero_()
        block.network[2].bias.zero_()
    x = torch.randn(4000, 3, 8)
    change = block.train()(x) - x
    whole = block.eval()(x) - x
    left = change.abs().amax(dim=(1, 2)) == 0
    assert abs(left.float().mean().item() - 0.25) < 0.03
    torch.testing.assert_close(change[~left], whole[~left] / 0.75)
    assert [layer.drop for layer in ViT1D(**{**PRESETS["vit_tiny"], "depth": 5, "drop_path": 0.2}).layers] == pytest.approx(
        [0, 0.05, 0.1, 0.15, 0.2]
    )


def test_options_that_contradict_each_other_are_refused():
    for option in ({"separators": True}, {"lead_embedding": True}, {"attention": "cross"}, {"positions": "lead_and_time"}):
        with pytest.raises(ValueError, match=f"{next(iter(option))}=.*patching=lead_time"):
            ViT1D(**{**PRESETS["vit_tiny"], **option})
    with pytest.raises(ValueError, match="got X1: use lead_embedding"):
        ViT1D(["I", "X1"], **PRESETS["cross_pattern"])
    with pytest.raises(ValueError, match="multiple of the heads"):
        ViT1D(dim=30, heads=4)
    with pytest.raises(ValueError, match="depth of 1 or more"):
        ViT1D(depth=0)
    with pytest.raises(ValueError, match="got V7"):
        small("mtae").weights_for(["V7"])
    with pytest.raises(ValueError, match="at least 25 samples"):
        ViT1D(**PRESETS["vit_tiny"])(torch.randn(1, 12, 24))


@pytest.mark.parametrize("name", ["vit_tiny", "st_mem_tiny"])
def test_half_precision_says_the_same_within_its_rounding(name):
    encoder = small(name).eval()
    ecg = torch.randn(2, 12, 200)
    valid = torch.arange(200) < torch.tensor([[200], [130]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder(ecg, valid)
    torch.testing.assert_close(half.float()[0], encoder(ecg, valid)[0], rtol=0.1, atol=0.1)
