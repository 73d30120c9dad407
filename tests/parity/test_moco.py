"""MoCo's logits, queue, place in it and moved copy are the old ECG code's, pass after pass."""

import pytest
import torch
from legacy_contrastive import by_our_names, encoder_of, part
from parity_cases import ssl_cases
from torch.nn import functional as F

from einthoven.objectives.moco import MoCo, moco_logits


def projection_of(state, prefix):
    old = part(state, prefix)
    return {"0.weight": old["l1.weight"], "0.bias": old["l1.bias"], "2.weight": old["l2.weight"], "2.bias": old["l2.bias"]}


def moco_of(case):
    config, state = case.config, case.state
    widths = (state["encoder_q.l1.weight"].shape[0], config["emb_dim"])
    moco = MoCo(
        encoder_of(state, "encoder_q."),
        temperature=config["temperature"],
        projection=widths,
        queue=config["num_negatives"],
        momentum=config["encoder_momentum"],
    )
    moco.projection.load_state_dict(projection_of(state, "encoder_q."))
    moco.key_encoder.load_state_dict(by_our_names(moco.encoder, state, "encoder_k."))
    moco.key_projection.load_state_dict(projection_of(state, "encoder_k."))
    moco.keys.copy_(torch.from_numpy(state["queue"].T.copy()))  # they are columns there
    moco.place.fill_(int(state["queue_ptr"][0]))
    return moco.train()


@pytest.mark.parametrize("case", ssl_cases("moco"))
def test_pass_after_pass_is_the_old_code_s(case):
    config, arrays = case.config, case.arrays
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    moco, seen = moco_of(case), {}
    moco.query = lambda ecg, valid=None: seen.setdefault("query", MoCo.query(moco, ecg, valid))
    moco.key = lambda ecg, valid=None: seen.setdefault("key", MoCo.key(moco, ecg, valid))
    for number, expected in enumerate(config["losses"]):
        views = iter(torch.from_numpy(arrays[f"x_{number}"]).float())
        moco.augment = lambda batch, moment, views=views: {**batch, "ecg": next(views)}
        seen.clear()
        before = moco.keys.clone()
        # There the copy moves before the pass; where the network has not learned in between, that is a move after the last one.
        moco.after_update(number + 1, len(config["losses"]))
        step = moco({"ecg": torch.from_numpy(arrays[f"x_{number}"][0]).float()})
        logits = moco_logits(seen["query"], seen["key"], before, config["temperature"])
        torch.testing.assert_close(logits.detach(), torch.from_numpy(arrays[f"logits_{number}"]), **close)
        assert step.loss.item() == pytest.approx(expected, rel=config["rtol"], abs=config["atol"])
        torch.testing.assert_close(moco.keys, torch.from_numpy(arrays[f"queue_{number}"].T.copy()), **close)
        assert moco.place.item() == int(arrays[f"ptr_{number}"][0])
    after = case.npz("final_key_encoder.npz")
    torch.testing.assert_close(dict(moco.key_encoder.state_dict()), by_our_names(moco.encoder, after, "encoder_k."), **close)
    torch.testing.assert_close(dict(moco.key_projection.state_dict()), projection_of(after, "encoder_k."), **close)


def test_moving_after_the_update_is_moving_before_the_next_pass():
    """The copy begins as what it follows, so the published first move changes nothing; from then on both give the same keys."""
    torch.manual_seed(0)
    query = torch.randn(5, dtype=torch.float64)
    ours, theirs = query.clone(), query.clone()
    for _ in range(4):
        theirs = 0.9 * theirs + 0.1 * query
        torch.testing.assert_close(ours, theirs)
        query = query + torch.randn(5, dtype=torch.float64)
        ours = 0.9 * ours + 0.1 * query
    assert not torch.equal(F.normalize(ours, dim=0), F.normalize(query, dim=0))
