"""The CPC model and loss of ecg-selfsupervised: frames, predictions, loss and gradients, with its own random draws."""

import numpy as np
import pytest
import torch
from parity_cases import manifest, ssl_cases

from einthoven.models.cpc import PRESETS, CPCEncoder, from_legacy_arguments, split_legacy_state
from einthoven.objectives.cpc import CPC


def cpc_for(case) -> CPC:
    """The objective with the old weights: every one of them, and no other."""
    arguments, loss = case.config["model_kwargs"], case.config["loss_kwargs"]
    leads = tuple(f"lead{i + 1}" for i in range(arguments["input_channels"]))
    objective = CPC(
        CPCEncoder(leads, 100.0, **from_legacy_arguments(arguments)),
        steps_ahead=loss["steps_predicted"],
        n_negatives=loss["n_false_negatives"],
        negatives="same_sequence" if loss["negatives_from_same_seq_only"] else "batch",
        head="mlp" if arguments["mlp"] else "linear",
        bias=arguments["bias_proj"],
    )
    encoder, head = split_legacy_state({name: torch.from_numpy(np.asarray(value)) for name, value in case.state.items()})
    objective.encoder.load_state_dict(encoder)
    objective.proj.load_state_dict({name.removeprefix("proj."): value for name, value in head.items()})
    return objective


def draws_for(stored: np.ndarray, n_rows: int) -> torch.Tensor:
    """(position, row * negative) as stored -> (row, position, negative)"""
    drawn = torch.from_numpy(stored).long()
    return drawn.view(drawn.shape[0], n_rows, -1).transpose(0, 1).contiguous()


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("case", ssl_cases("cpc_pretraining"))
def test_frames_predictions_loss_and_gradients_are_those_of_the_old_code(case, mode):
    objective, arrays = cpc_for(case).train(mode == "train"), {name: torch.from_numpy(value) for name, value in case.arrays.items()}
    close = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    ecg = arrays["x"]
    before = {name: value.clone() for name, value in objective.encoder.state_dict().items()}
    frames = objective.encoder.frames(ecg)
    torch.testing.assert_close(frames.local, arrays[f"{mode}_encoded"], **close)
    torch.testing.assert_close(objective.proj(objective.encoder.context(frames.tokens)), arrays[f"{mode}_proj"], **close)

    objective.encoder.load_state_dict(before)
    step = objective({"ecg": ecg}, draws=draws_for(case.arrays[f"{mode}_neg_draws"], ecg.shape[0]))
    # Theirs is averaged over rows and summed over positions.
    n_positions = step.weight / ecg.shape[0]
    published = step.loss * n_positions
    torch.testing.assert_close(published, arrays[f"{mode}_loss"], **close)
    torch.testing.assert_close(step.parts["accuracy"], arrays[f"{mode}_acc"], **close)
    torch.testing.assert_close(float(published.detach()), case.config[f"{mode}_loss"], **close)
    published.backward()
    norms = {name.removeprefix("encoder.") if ".rnn." in name else name: p.grad.norm() for name, p in objective.named_parameters()}
    norms = {name.replace("encoder.encoder.", "encoder."): float(norm) for name, norm in norms.items()}
    assert norms == pytest.approx(case.config[f"{mode}_grad_norms"], rel=close["rtol"], abs=close["atol"])
    if mode == "train":
        for name, value in objective.encoder.state_dict().items():
            if f"after_{name}" in arrays:
                torch.testing.assert_close(value, arrays[f"after_{name}"], **close)


@pytest.mark.parity
def test_weights_have_the_names_and_shapes_of_the_published_sizes():
    stated = manifest("models_cpc.json")
    for preset, name in (("cpc", "cpc_fc_pretrain"), ("cpc_conv", "cpc_conv_pretrain")):
        with torch.device("meta"):
            objective = CPC(CPCEncoder(fs=100.0, **PRESETS[preset]))
        encoder, head = split_legacy_state({key: torch.Size(shape) for key, shape in stated[name]["keys"]})
        assert {key: value.shape for key, value in objective.encoder.state_dict().items()} == encoder
        assert {f"proj.{key}": value.shape for key, value in objective.proj.state_dict().items()} == head
        assert sum(parameter.numel() for parameter in objective.parameters()) == stated[name]["num_parameters"]
