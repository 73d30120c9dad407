"""What holds for every encoder: its shapes, its configuration, lead subsets, lengths, padding, and the groups of its parameters."""

from __future__ import annotations

import json

import pytest
import torch

from einthoven.layers.pool import POOLINGS, pooled_dim
from einthoven.leads import TWELVE
from einthoven.models import ENCODERS, PRESETS, Encoder

SMALL = {
    "ecg_transformer": "tiny",
    "convnet": "convnet_tiny",
    "nejedly2021": "nejedly2021_tiny",
    "se_wrn": "se_wrn_small",
    "vanilla_resnet1d": "vanilla_resnet18_tiny",
    "xresnet1d": "xresnet1d18_small",
    "resnet1d": "resnet1d_wang_small",
    "wide_resnet1d": "wrn1d_22",
    "inception1d": "inception1d_small",
    "basic_conv1d": "sen",
    "rnn1d": "gru_small",
    "cpc": "cpc_tiny",
    "s4": "s4_tiny",
    "vit1d": "vit_tiny",
}
"""A variant of every encoder that is quick."""
TRIED = [*SMALL.values(), "ecg_cpc_tiny", "st_mem_tiny", "fcn_wang", "schirrmeister"]
LEADS = [TWELVE, ("II",), ("V2", "I", "aVF")]


def built(preset: str, leads=TWELVE, fs: float = 100.0) -> Encoder:
    torch.manual_seed(0)
    name, options = PRESETS[preset]
    return ENCODERS[name](leads, fs, **options).eval()


def test_every_encoder_is_tried():
    assert set(SMALL) == set(ENCODERS)
    assert all(PRESETS[preset][0] == name for name, preset in SMALL.items())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_belongs_to_one_stage_and_every_stage_has_parameters(preset):
    name, options = PRESETS[preset]
    with torch.device("meta"):
        encoder = ENCODERS[name](**options)
    prefixes = [prefix for stage in encoder.stages() for prefix in stage]
    wrong = {name for name, _ in encoder.named_parameters() if sum(name.startswith(prefix) for prefix in prefixes) != 1}
    assert not wrong
    for stage in encoder.stages():
        assert any(name.startswith(prefix) for name, _ in encoder.named_parameters() for prefix in stage), stage


@pytest.mark.parametrize("preset", TRIED)
@pytest.mark.parametrize("leads", LEADS, ids=lambda leads: f"{len(leads)}leads")
def test_any_leads_and_any_length_give_frames_of_the_promised_number_and_width(preset, leads):
    encoder = built(preset, leads)
    for n_samples in (encoder.least_samples, encoder.least_samples + 1, 250, 257):
        ecg = torch.randn(2, len(leads), max(n_samples, encoder.least_samples))
        with torch.no_grad():
            frames = encoder(ecg)
        assert frames.shape == (2, encoder.n_frames(ecg.shape[2]), encoder.dim) and frames.isfinite().all()
    assert encoder.pooling in POOLINGS and encoder.width == pooled_dim(encoder.dim, encoder.pooling)
    assert encoder.embed(torch.randn(3, len(leads), 300)).shape == (3, encoder.width)
    lengths = torch.tensor([encoder.least_samples, 250, 311])
    assert torch.as_tensor(encoder.n_frames(lengths)).tolist() == [int(encoder.n_frames(int(n))) for n in lengths]


@pytest.mark.parametrize("preset", TRIED)
def test_what_it_cannot_take_is_refused_with_what_was_expected(preset):
    encoder = built(preset)
    with pytest.raises(ValueError, match="lead=12"):
        encoder(torch.randn(2, 300, 12))
    with pytest.raises(ValueError, match="expected valid"):
        encoder(torch.randn(2, 12, 300), torch.ones(2, 200, dtype=torch.bool))
    if encoder.least_samples > 1:
        with pytest.raises(ValueError, match=f"at least {encoder.least_samples} samples"):
            encoder(torch.randn(2, 12, encoder.least_samples - 1))


@pytest.mark.parametrize("preset", TRIED)
def test_its_configuration_is_json_and_builds_it_again(preset):
    encoder = built(preset, ("I", "V5"), 250.0)
    again = type(encoder)(**json.loads(json.dumps(encoder.config())))
    again.load_state_dict(encoder.state_dict())
    ecg = torch.randn(2, 2, 320)
    assert (again.leads, again.fs, again.pooling) == (("I", "V5"), 250.0, encoder.pooling)
    with torch.no_grad():
        assert torch.equal(encoder(ecg), again.eval()(ecg))


@pytest.mark.parametrize("preset", TRIED)
def test_padding_marks_the_frames_behind_the_end_and_an_unpadded_batch_is_the_same_with_and_without_valid(preset):
    encoder, ecg = built(preset), torch.randn(2, 12, 300)
    valid = torch.arange(300) < torch.tensor([[300], [200]])
    frame_valid = encoder.frame_valid(valid)
    assert frame_valid.shape == (2, encoder.n_frames(300)) and frame_valid[0].all()
    assert int(frame_valid[1].sum()) == int(encoder.n_frames(200))
    with torch.no_grad():
        assert encoder(ecg * valid[:, None], valid).shape == (2, encoder.n_frames(300), encoder.dim)
        torch.testing.assert_close(encoder(ecg, torch.ones_like(valid)), encoder(ecg), rtol=1e-5, atol=1e-6)
        assert encoder.embed(ecg * valid[:, None], valid).isfinite().all()


@pytest.mark.parametrize("preset", TRIED)
def test_the_halves_make_the_whole(preset):
    encoder, ecg = built(preset), torch.randn(2, 12, 320)
    if not encoder.has_context:
        with pytest.raises(NotImplementedError):
            encoder.frames(ecg)
        return
    with torch.no_grad():
        frames = encoder.frames(ecg)
        torch.testing.assert_close(encoder.context(frames.tokens, frames.valid), encoder(ecg))
    assert frames.local.shape == (*frames.tokens.shape[:2], encoder.local_dim) and frames.energy.shape == ()


@pytest.mark.parametrize("preset", TRIED)
def test_a_frozen_encoder_stays_as_it_is_whatever_mode_is_asked_for(preset):
    encoder = built(preset)
    encoder.freeze()
    task = torch.nn.Sequential(encoder)
    task.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert torch.equal(encoder(torch.ones(2, 12, 320)), encoder(torch.ones(2, 12, 320)))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any(weight.requires_grad for weight in encoder.parameters())


@pytest.mark.parametrize("preset", TRIED)
def test_every_parameter_learns(preset):
    encoder = built(preset).train()
    encoder.embed(torch.randn(4, 12, 320)).square().sum().backward()
    silent = [name for name, weight in encoder.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not silent
