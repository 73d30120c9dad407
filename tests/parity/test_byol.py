"""BYOL's step is the old ECG code's: vectors, losses, gradients, the copy's move and its decay."""

import pytest
import torch
from legacy_contrastive import by_our_names, encoder_names, encoder_of, part
from parity_cases import ssl_cases

from einthoven.objectives.byol import BYOL, byol_loss, target_decay


def byol_of(case):
    state = case.state
    hidden, dim = state["online_network.projector.model.0.weight"].shape[0], state["online_network.projector.model.3.weight"].shape[0]
    byol = BYOL(encoder_of(state, "online_network.encoder."), hidden=hidden, dim=dim, decay=case.config["initial_tau"])
    byol.projector.load_state_dict(part(state, "online_network.projector.model."))
    byol.predictor.load_state_dict(part(state, "online_network.predictor.model."))
    byol.target_encoder.load_state_dict(by_our_names(byol.encoder, state, "target_network.encoder."))
    byol.target_projector.load_state_dict(part(state, "target_network.projector.model."))
    return byol.train()


def old_names_of(byol):
    """Our name of each parameter that learns -> theirs; layers of the heads had the numbers that they have here."""
    heads = {
        name: f"online_network.{name.replace('.', '.model.', 1)}"
        for name in byol.state_dict()
        if name.startswith(("projector.", "predictor."))
    }
    return {**encoder_names(byol.encoder, "encoder.", "online_network.encoder."), **heads}


@pytest.mark.parametrize("case", ssl_cases("byol"))
def test_vectors_losses_and_gradients_are_the_old_code_s(case):
    close = {"rtol": case.config.get("rtol", 1e-4), "atol": case.config.get("atol", 1e-5)}
    arrays = {name: torch.from_numpy(array) for name, array in case.arrays.items()}
    byol = byol_of(case)
    first, second = arrays["x1"], arrays["x2"]
    y = byol.encoder.embed(first)
    z = byol.projector(y)
    h = byol.predictor(z)
    for name, ours in (("online_y", y), ("online_z", z), ("online_h", h)):
        torch.testing.assert_close(ours.detach(), arrays[name], **close)
    one = byol_loss(h, byol.target(second))
    two = byol_loss(byol.predict(second), byol.target(first))
    # Theirs is -2 cos, without the 2.
    torch.testing.assert_close(one.detach() - 2, arrays["loss_a"], **close)
    torch.testing.assert_close(two.detach() - 2, arrays["loss_b"], **close)
    torch.testing.assert_close((one + two).detach() - 4, arrays["loss"], **close)
    (one + two).backward()
    names = old_names_of(byol)
    norms = {name: norm for name, norm in case.config["grad_norms"].items() if norm is not None}
    ours = {names[name]: weight.grad.norm().item() for name, weight in byol.named_parameters() if weight.requires_grad}
    assert ours.keys() == norms.keys()
    for name, norm in norms.items():
        # Biases in front of a norm have a gradient of zero but for rounding.
        assert ours[name] == pytest.approx(norm, rel=1e-3, abs=5e-5), name


@pytest.mark.parametrize("case", ssl_cases("byol"))
def test_the_objective_itself_gives_the_old_loss(case):
    byol = byol_of(case)
    views = iter((torch.from_numpy(case.arrays["x1"]), torch.from_numpy(case.arrays["x2"])))
    byol.augment = lambda batch, moment: {**batch, "ecg": next(views)}
    step = byol({"ecg": torch.from_numpy(case.arrays["x1"])})
    assert step.loss.item() - 4 == pytest.approx(case.config["loss"], rel=case.config["rtol"], abs=case.config["atol"])


@pytest.mark.parametrize("case", ssl_cases("byol"))
def test_the_copy_moves_as_the_old_one_did_where_only_weights_do(case):
    config, byol = case.config, byol_of(case)
    byol.move(config["tau_used"], only=lambda name: "weight" in name)
    after, close = case.npz("ema_target.npz"), {"rtol": config["rtol"], "atol": config["atol"]}
    ours = dict(byol.target_encoder.state_dict())
    torch.testing.assert_close(ours, by_our_names(byol.encoder, after, "target_network.encoder."), **close)
    torch.testing.assert_close(dict(byol.target_projector.state_dict()), part(after, "target_network.projector.model."), **close)


@pytest.mark.parametrize("case", ssl_cases("byol"))
def test_the_decay_is_the_old_code_s(case):
    config = case.config
    ours = torch.tensor([target_decay(step, config["max_steps"], config["initial_tau"]) for step in range(config["max_steps"] + 1)])
    torch.testing.assert_close(ours.double(), torch.from_numpy(case.arrays["taus"]), rtol=1e-6, atol=0)
    assert target_decay(config["global_step_at_update"], config["max_steps"], config["initial_tau"]) == pytest.approx(config["tau_after"])
