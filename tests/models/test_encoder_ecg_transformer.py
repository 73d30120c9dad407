"""The ECG transformer keeps the encoder contract, handles padding as promised, and learns in every parameter."""

import pytest
import torch

from einthoven.layers.pool import pool
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.ecg_transformer import from_legacy_config

TINY = SIZES["tiny"]


def seeded(**options):
    torch.manual_seed(0)
    return ECGTransformer(**{**TINY, **options})


# Published counts: spec of the old models.
@pytest.mark.parametrize("size, parameters", [("small", 62_531_584 - 509_824), ("base", 90_373_248), ("large", 311_364_736)])
def test_sizes_have_the_published_numbers_of_parameters(size, parameters):
    with torch.device("meta"):
        encoder = ECGTransformer(**SIZES[size])
    assert sum(p.numel() for p in encoder.parameters()) == parameters


def test_parts_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        encoder = ECGTransformer(**SIZES["base"])

    def count(module):
        return sum(p.numel() for p in module.parameters())

    parts = (encoder.feature_extractor, encoder.post_extract_proj, encoder.layer_norm, encoder.conv_pos, encoder.encoder)
    assert [count(part) for part in parts] == [399_872, 197_376, 512, 4_719_488, 85_056_000]


VARIANTS = [
    {},
    {"norm_first": True},
    {"extractor_mode": "layer_norm", "conv_bias": True},
    {"dim": 32},
    {"conv_layers": ((16, 7, 4), (32, 3, 2))},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_gradient_reaches_every_parameter(options):
    encoder = seeded(**options)
    (encoder(torch.randn(2, 12, 400)) * torch.randn(encoder.dim)).square().sum().backward()
    assert {name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_the_gradient_of_the_convolutions_is_scaled_and_no_other():
    grads = {}
    for factor in (1.0, 0.1, 0.0):
        encoder = seeded(extractor_gradient=factor)
        encoder(torch.randn(2, 12, 400, generator=torch.Generator().manual_seed(1))).square().mean(dim=1).sin().sum().backward()
        grads[factor] = {name: p.grad for name, p in encoder.named_parameters()}
    for name, grad in grads[1.0].items():
        if name.startswith("feature_extractor"):
            torch.testing.assert_close(grads[0.1][name], 0.1 * grad)
            assert grads[0.0][name] is None
        else:
            assert torch.equal(grads[0.1][name], grad) and torch.equal(grads[0.0][name], grad)


@pytest.mark.parametrize("norm_first", [False, True])
def test_with_ignore_padding_a_padded_batch_is_the_records_one_by_one(norm_first):
    encoder = seeded(ignore_padding=True, norm_first=norm_first).double().eval()
    lengths = [500, 333, 64]
    records = [torch.randn(12, length, dtype=torch.float64) for length in lengths]
    batch = torch.full((3, 12, 500), 7.0, dtype=torch.float64)  # what stands in the padding does not matter
    valid = torch.zeros(3, 500, dtype=torch.bool)
    for row, record in enumerate(records):
        batch[row, :, : record.shape[1]] = record
        valid[row, : record.shape[1]] = True
    together, mask = encoder(batch, valid), encoder.frame_valid(valid)
    for row, record in enumerate(records):
        alone = encoder(record[None])[0]
        assert int(mask[row].sum()) == alone.shape[0]
        torch.testing.assert_close(together[row, : alone.shape[0]], alone)


def test_as_published_padding_changes_the_frames_but_attention_leaves_it_out():
    encoder = seeded().eval()
    ecg = torch.randn(1, 12, 320)
    padded, valid = torch.nn.functional.pad(ecg, (0, 160)), torch.arange(480)[None] < 320
    assert not torch.allclose(encoder(padded, valid)[:, :20], encoder(ecg), atol=1e-3)
    frames = encoder.frames(padded, valid)
    attention = encoder.attention(frames.tokens, frames.valid)
    assert attention.shape == (1, TINY["depth"], 30, 30)
    assert not attention[..., 20:].any()
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(1, TINY["depth"], 30))


def test_the_input_dropout_acts_in_training_alone():
    encoder = seeded(input_dropout=0.5)
    ecg = torch.randn(2, 12, 400)
    dropped = encoder.train().frames(ecg)
    assert 0.4 < (dropped.tokens == 0).float().mean() < 0.6
    assert not (encoder.eval().frames(ecg).tokens == 0).any()
    assert not (dropped.local == 0).any()


def test_other_leads_and_rates_are_options():
    encoder = seeded(leads=("I", "II"), fs=250.0)
    assert encoder(torch.randn(1, 2, 160)).shape == (1, 10, 64) and encoder.fs == 250.0


@pytest.mark.parametrize(
    "ecg, valid, message",
    [
        (torch.zeros(2, 11, 500), None, "lead=12"),
        (torch.zeros(2, 500, 12), None, "transposed"),
        (torch.zeros(12, 500), None, "batch"),
        (torch.zeros(2, 12, 15), None, "at least 16 samples"),
        (torch.zeros(2, 12, 500), torch.ones(2, 400, dtype=torch.bool), "time=500"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_the_reason(ecg, valid, message):
    with pytest.raises(ValueError, match=message):
        seeded()(ecg, valid)


def test_a_classifier_on_it_memorises_four_ecgs():
    encoder = seeded()
    head = torch.nn.Linear(encoder.dim, 4)
    ecg, label = torch.randn(4, 12, 500), torch.arange(4)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(pool(encoder(ecg))), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.01


def test_old_configurations_are_read_and_never_evaluated():
    config = from_legacy_config({"conv_feature_layers": "[(64, 2, 2)] * 3 + [(32, 3, 2)]", "encoder_layers": 2, "in_d": 12})
    assert config["conv_layers"] == [[64, 2, 2]] * 3 + [[32, 3, 2]] and config["depth"] == 2
    for text in ("__import__('os').getcwd()", "[(1, 2)]", "[(64, 2, 2)] * 100000", "2 * 3", "[("):
        with pytest.raises(ValueError, match="expected convolutions"):
            from_legacy_config({"conv_feature_layers": text})
