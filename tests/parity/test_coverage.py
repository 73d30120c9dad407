"""Every kind of golden case has a test file; a kind that no test knows yet is an expected failure by its name, never silence."""

from pathlib import Path

import pytest
from parity_cases import ROOT, ssl_kind

HERE = Path(__file__).parent


def kinds() -> list[tuple[str, str]]:
    """(system, kind) of every case folder."""
    found = {("fairseq_signals", folder.name) for folder in (ROOT / "fairseq_signals").glob("*") if folder.is_dir()}
    found |= {("ecg_selfsupervised", ssl_kind(path)) for path in (ROOT / "ecg_selfsupervised").rglob("config.json")}
    return sorted(found)


def test_file(system: str, kind: str) -> Path | None:
    """tests/parity/test_<kind>.py, where it takes its cases from that system's folder, so that it runs on other cases of the kind."""
    path = HERE / f"test_{kind}.py"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    found = "ssl_cases" in text if system == "ecg_selfsupervised" else "parity_cases" in text or "legacy_models" in text
    return path if found else None


test_file.__test__ = False  # type: ignore[attr-defined]


def parameters() -> list:
    if not kinds():
        return [
            pytest.param("", "", id="none", marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")])
        ]
    return [pytest.param(system, kind, id=f"{system}-{kind}", marks=pytest.mark.parity) for system, kind in kinds()]


@pytest.mark.parametrize("system, kind", parameters())
def test_a_kind_of_golden_case_has_a_test(system, kind):
    if test_file(system, kind) is None:
        pytest.xfail(f"no test knows this kind yet: {system}/{kind} (expected tests/parity/test_{kind}.py)")


KNOWN = {
    *(
        "adam",
        "checkpoints",
        "cinc_score",
        "classification_losses",
        "contrastive_losses",
        "conv_feature_extraction",
        "conv_positional_encoding",
    ),
    *(
        "ecg_transformer",
        "ecg_transformer_classifier",
        "full_size_models",
        "gumbel_vector_quantizer",
        "lr_schedules",
        "multi_head_attention",
    ),
    "preprocess_code15",
    *("span_mask", "train_steps", "transformer_encoder", "wav2vec2", "wav2vec2_cmsc"),
    *("arcface", "augmentations", "contrastive_losses", "convnet", "nejedly_resnet", "resnet1d", "se_wrn", "vcg_augmentation_3kg"),
}
"""Kinds of fairseq-signals that were covered once; they may not fall back to an expected failure."""


def test_every_kind_of_ecg_selfsupervised_is_covered():
    missing = [kind for system, kind in kinds() if system == "ecg_selfsupervised" and not test_file(system, kind)]
    assert not missing


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_a_kind_that_was_covered_stays_covered(kind):
    assert test_file("fairseq_signals", kind), f"tests/parity/test_{kind}.py is gone, or no longer discovers its cases"
