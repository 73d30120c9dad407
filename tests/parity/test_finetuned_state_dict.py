"""Genuine results of ecg-selfsupervised's evaluation script: the classifier gives the old logits, and is a model folder of ours."""

import pytest
import torch
from parity_cases import ssl_cases

from einthoven.convert.ecg_selfsupervised import LEADS, from_ecg_selfsupervised
from einthoven.models.folder import open_model, save_model


@pytest.mark.parametrize("case", ssl_cases("finetuned_state_dict"))
@torch.no_grad()
def test_a_finetuned_network_gives_the_old_logits(case, tmp_path):
    converted = from_ecg_selfsupervised(case.folder / case.config["file"])
    save_model(tmp_path / "model", converted.state, converted.config)
    task, config = open_model(tmp_path / "model")
    close = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    batch = {"ecg": torch.from_numpy(case.arrays["x"])}
    torch.testing.assert_close(task.embed(batch), torch.from_numpy(case.arrays["features"]), **close)
    torch.testing.assert_close(task.logits(batch), torch.from_numpy(case.arrays["logits"]), **close)
    assert len(config["classes"]) == case.arrays["logits"].shape[1]
    assert tuple(config["contract"]["leads"]) == LEADS and config["contract"]["fs"] == 100.0 and config["contract"]["stride"] == 1.25
