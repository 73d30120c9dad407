"""Several updates of the old CPC training (AdamW, in float64) end at its weights."""

import pytest
import torch
from parity_cases import ssl_cases
from test_cpc_pretraining import cpc_for, draws_for

from einthoven.models.cpc import split_legacy_state


@pytest.mark.parametrize("case", ssl_cases("cpc_training"))
def test_updates_end_at_the_weights_of_the_old_code(case):
    objective = cpc_for(case).double().train()
    assert case.config["optimizer"] == "AdamW"
    optimiser = torch.optim.AdamW(objective.parameters(), case.config["lr"], weight_decay=case.config["weight_decay"])
    losses, accuracies = [], []
    for update in range(len(case.config["losses"])):
        ecg = torch.from_numpy(case.arrays[f"x_{update}"]).double()
        step = objective({"ecg": ecg}, draws=draws_for(case.arrays[f"neg_draws_{update}"], ecg.shape[0]))
        published = step.loss * (step.weight / ecg.shape[0])
        optimiser.zero_grad()
        published.backward()
        optimiser.step()
        losses.append(float(published.detach()))
        accuracies.append(float(step.parts["accuracy"]))
    close = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    assert losses == pytest.approx(case.config["losses"], rel=close["rtol"], abs=close["atol"])
    assert accuracies == pytest.approx(case.config["accs"], rel=close["rtol"], abs=close["atol"])
    final = {name.removeprefix("final_"): torch.from_numpy(value) for name, value in case.npz("final_state.npz").items()}
    encoder, head = split_legacy_state(final)
    ours = objective.encoder.state_dict()
    assert ours.keys() == encoder.keys()
    for name, value in encoder.items():
        torch.testing.assert_close(ours[name].to(value.dtype), value, **close, msg=lambda text, name=name: f"{name}: {text}")
    for name, value in objective.proj.state_dict().items():
        torch.testing.assert_close(value.to(head[f"proj.{name}"].dtype), head[f"proj.{name}"], **close)
