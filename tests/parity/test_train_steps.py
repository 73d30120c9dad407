"""Several whole updates end at the old code's weights: forward, backward, summed micro-batches, clipping, Adam."""

import ast

import pytest
import torch
from legacy_models import batch_for, choices_for, encoder_for, tensors, w2v_cmsc_for, w2v_for
from parity_cases import cases
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from einthoven.layers.pool import pool
from einthoven.objectives.step import Moment
from einthoven.objectives.wav2vec2 import split_legacy_state
from einthoven.train.optim import LegacyAdam


def optimiser_for(case, module):
    options = case.config["optimizer"]
    betas = options["adam_betas"]
    betas = ast.literal_eval(betas) if isinstance(betas, str) else betas
    return LegacyAdam([{"params": list(module.parameters())}], 0.0, tuple(betas), options["adam_eps"], options["weight_decay"])


def micro_batches(case, arrays):
    """For each update its micro-batches, each the arrays of one forward pass."""
    has_axis = arrays["in.source"].dim() == 5
    for update in range(case.config["steps"]):
        for micro in range(case.config["update_freq"]):
            yield (
                update,
                micro,
                {
                    name: (value if value.dim() == 1 else value[update][micro] if has_axis else value[update])
                    for name, value in arrays.items()
                    if name.startswith("in.")
                },
            )


def follow(case, module, optimiser, arrays, loss_and_weight):
    """Run the updates; compare each loss (a sum), gradient norm and, at the end, the weights."""
    last, total = case.config["update_freq"] - 1, 0.0
    losses = []
    for update, micro, own in micro_batches(case, arrays):
        loss, weight = loss_and_weight(update, own)
        (loss * weight).backward()
        losses.append(float(loss.detach()) * weight)
        total += weight
        if micro == last:
            learning = [p for p in module.parameters() if p.grad is not None]
            for parameter in learning:
                parameter.grad /= total
            clip = case.config["clip_norm"] or float("inf")
            torch.testing.assert_close(clip_grad_norm_(learning, clip), arrays["out.gnorm"][update], rtol=1e-4, atol=1e-5)
            for group in optimiser.param_groups:
                group["lr"] = float(arrays["out.lr"][update])
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            total = 0.0
    torch.testing.assert_close(torch.tensor(losses), arrays["out.loss"].flatten(), rtol=1e-4, atol=0)


def compare_weights(module, expected):
    """Adam's first steps follow the gradient's sign: where that is near zero an entry may differ, hence a quantile."""
    off = torch.cat([(value - expected[name]).abs().flatten() for name, value in module.state_dict().items()])
    assert float(off.quantile(0.995)) < 1e-4


@pytest.mark.parametrize("case", cases("train_steps"))
def test_updates_end_at_the_weights_of_the_old_trainer(case):
    arrays = tensors(case)
    if "num_labels" in case.config:
        finetune(case, arrays)
    else:
        pretrain(case, arrays)


def pretrain(case, arrays):
    model = (w2v_cmsc_for(case) if "temp" in case.config["criterion"] else w2v_for(case)).train()

    def loss_and_weight(update, own):
        step = model(batch_for(own), Moment(step=update), choices_for(case, own))
        return step.loss, step.weight

    follow(case, model, optimiser_for(case, model), arrays, loss_and_weight)
    compare_weights(model, split_legacy_state(case.tensors("final_state.pt")))


def finetune(case, arrays):
    model = torch.nn.Module()
    model.encoder = encoder_for(case)
    model.proj = torch.nn.Linear(case.config["encoder_embed_dim"], case.config["num_labels"])
    model.load_state_dict(case.state)
    model.train()

    def loss_and_weight(update, own):
        batch = batch_for(own)
        with torch.set_grad_enabled(update >= case.config["freeze_finetune_updates"]):
            frames = model.encoder.frames(batch["ecg"], batch.get("valid"))
            context = model.encoder.context(frames.tokens, frames.valid)
        logits = model.proj(pool(context, frames.valid))
        return F.binary_cross_entropy_with_logits(logits, own["in.label"]), float(logits.numel())

    follow(case, model, optimiser_for(case, model), arrays, loss_and_weight)
    compare_weights(model, case.tensors("final_state.pt"))
