"""The classifier of ecg-selfsupervised's CPC: its encoder, mean, maximum and last frame (or the last alone), and fastai's head."""

import numpy as np
import pytest
import torch
from parity_cases import ssl_cases

from einthoven.layers.head import ClassifierHead
from einthoven.models.cpc import CPCEncoder, from_legacy_arguments, split_legacy_state


def head_for(arguments, width, weights) -> ClassifierHead:
    """The head with the old weights, which are numbered by their place among pooling, flattening, norms, dropouts and layers."""
    head = ClassifierHead(
        width,
        arguments["num_classes"],
        hidden=arguments.get("lin_ftrs_head") or (),
        dropout=arguments.get("ps_head", 0.5),
        batch_norm=arguments.get("bn_head", True),
    )
    numbers = sorted({int(name.split(".")[1]) for name in weights})
    are_norms = {number: f"head.{number}.running_mean" in weights for number in numbers}
    norms, linears = ([number for number in numbers if are_norms[number] == kind] for kind in (True, False))
    state = {}
    for part, places in (("norms", norms), ("linears", linears)):
        for ours, theirs in enumerate(places):
            state |= {f"{part}.{ours}.{name.split('.')[2]}": value for name, value in weights.items() if name.startswith(f"head.{theirs}.")}
    head.load_state_dict(state)
    return head


@pytest.mark.parametrize("case", ssl_cases("cpc_classifier"))
def test_logits_are_those_of_the_old_classifier(case):
    arguments = case.config["model_kwargs"]
    leads = tuple(f"lead{i + 1}" for i in range(arguments["input_channels"]))
    encoder = CPCEncoder(leads, 100.0, **from_legacy_arguments(arguments)).eval()
    weights, head_weights = split_legacy_state({name: torch.from_numpy(np.asarray(value)) for name, value in case.state.items()})
    encoder.load_state_dict(weights)
    head = head_for(arguments, encoder.width, head_weights).eval()
    with torch.inference_mode():
        logits = head(encoder.embed(torch.from_numpy(case.arrays["x"])))
    torch.testing.assert_close(logits, torch.from_numpy(case.arrays["eval_logits"]), rtol=case.config["rtol"], atol=case.config["atol"])
