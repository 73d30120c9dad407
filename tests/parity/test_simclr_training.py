"""Four updates of SimCLR in float64 are the old ECG code's: losses, accuracies, and every weight and running statistic afterwards."""

import pytest
import torch
from legacy_contrastive import by_our_names, encoder_names, encoder_of, part
from parity_cases import ssl_cases

from einthoven.objectives.simclr import SimCLR, candidates, nt_xent

LAYERS = {"0": "1", "2": "3"}


def head_of(state, prefix):
    own = part(state, f"{prefix}model.")
    return {f"{ours}.{kind}": own[f"{theirs}.{kind}"] for ours, theirs in LAYERS.items() for kind in ("weight", "bias")}


@pytest.mark.parametrize("case", ssl_cases("simclr_training"))
def test_the_updates_are_the_old_code_s(case):
    config, state, arrays = case.config, case.state, case.arrays
    widths = (config["projection"]["hidden_dim"], config["projection"]["output_dim"])
    simclr = SimCLR(encoder_of(state, "encoder."), temperature=config["temperature"], projection=widths)
    simclr.projection.load_state_dict(head_of(state, "projection."))
    simclr = simclr.double().train()
    names = encoder_names(simclr.encoder, "encoder.", "encoder.")
    names |= {f"projection.{a}.{kind}": f"projection.model.{b}.{kind}" for a, b in LAYERS.items() for kind in ("weight", "bias")}
    undecayed = [weight for name, weight in simclr.named_parameters() if "bias" in names[name] or "bn" in names[name]]
    decayed = [weight for name, weight in simclr.named_parameters() if not ("bias" in names[name] or "bn" in names[name])]
    # The old module held two linear layers more, l1 and l2 of the wrapper, that no gradient reached.
    assert [len(decayed) + 2, len(undecayed) + 2] == config["param_group_sizes"]
    decays = config["weight_decays"]
    optimiser = torch.optim.Adam([{"params": decayed, "weight_decay": decays[0]}, {"params": undecayed, "weight_decay": decays[1]}])
    for number, (expected, rate) in enumerate(zip(arrays["losses"], arrays["lrs"], strict=True)):
        first, second = (simclr.embed(view) for view in torch.from_numpy(arrays["xs"][number]).double())
        loss = nt_xent(first, second, config["temperature"], "published")
        assert loss.item() == pytest.approx(expected, rel=config["rtol"], abs=config["atol"])
        logits, positive = candidates(first, second, 1.0)
        nearest = logits.masked_fill(logits == float("-inf"), 0.0).argmax(dim=1)  # there a view is unlike itself by 1 - 1
        assert (nearest == positive)[len(first) :].double().mean().item() == pytest.approx(config["accs"][number])
        for group in optimiser.param_groups:
            group["lr"] = float(rate)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = case.npz("final_state.npz")
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    ours = simclr.float()
    torch.testing.assert_close(dict(ours.encoder.state_dict()), by_our_names(simclr.encoder, after, "final_encoder."), **close)
    torch.testing.assert_close(dict(ours.projection.state_dict()), head_of(after, "final_projection."), **close)
