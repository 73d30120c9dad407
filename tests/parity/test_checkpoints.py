"""Genuine checkpoints of the old code, read without executing their pickles, answer as they did there."""

from types import SimpleNamespace

import pytest
import torch
from legacy_models import CLOSE, LOGITS, choices_for, tensors
from parity_cases import cases

from einthoven.convert.fairseq_signals import convert_checkpoint, from_fairseq_signals
from einthoven.convert.unpickle import read_legacy
from einthoven.models.folder import build, load_weights, open_model
from einthoven.objectives import OBJECTIVES
from einthoven.objectives.step import Moment

EVERY = cases("checkpoints")


def module_of(converted):
    return load_weights(build(converted.config), converted.state, "the checkpoint").eval()


def batch_of(arrays):
    batch = {"ecg": arrays["in.source"]}
    if "in.padding_mask" in arrays:
        batch["valid"] = ~arrays["in.padding_mask"].any(dim=1)
    return batch


@pytest.mark.parametrize("case", EVERY)
def test_every_tensor_is_taken_over_unchanged_or_named_as_dropped(case):
    model, converted = read_legacy(case.path("pt"))["model"], from_fairseq_signals(case.path("pt"))
    assert len(model) == case.expect["num_state_entries"]
    new = {
        key.replace("weight_g", "parametrizations.weight.original0").replace("weight_v", "parametrizations.weight.original1"): key
        for key in model
    }
    for name, key in new.items():
        if name in converted.state:
            assert torch.equal(converted.state[name], model[key])
        else:
            assert any(name in note for note in converted.notes), name
    assert set(converted.state) <= set(new)


@pytest.mark.parametrize("case", EVERY)
def test_the_sizes_are_those_of_the_run(case):
    encoder = from_fairseq_signals(case.path("pt")).config["encoder"]
    assert (encoder["dim"], encoder["depth"]) == (case.expect["encoder_embed_dim"], case.expect["encoder_layers"])


@pytest.mark.parametrize("case", EVERY)
def test_a_pretrained_encoder_and_its_objective_answer_as_the_old_model(case):
    converted, arrays = from_fairseq_signals(case.path("pt")), tensors(case)
    if converted.kind != "encoder":
        pytest.skip("a fine-tuned model")
    encoder, objective = module_of(converted), converted.objective
    with torch.no_grad():
        torch.testing.assert_close(encoder(arrays["in.source"]), arrays["out.plain_features"], **CLOSE)
        whole = load_weights(OBJECTIVES[objective["name"]](encoder, **objective["options"]), objective["state"], "the checkpoint").eval()
        # These cases have no config.json; the old configuration stands in the file itself.
        settings = SimpleNamespace(config=read_legacy(case.path("pt"))["cfg"]["model"])
        prediction = whole.masked(whole.encoder, batch_of(arrays), Moment(), choices_for(settings, arrays))
    torch.testing.assert_close(prediction.logits.transpose(0, 1).flatten(0, 1), arrays["out.logits"], **LOGITS)
    torch.testing.assert_close(prediction.context, arrays["out.features"], **CLOSE)


@pytest.mark.parametrize("case", EVERY)
def test_a_fine_tuned_model_answers_as_the_old_one_also_from_its_folder(case, tmp_path):
    converted, arrays = from_fairseq_signals(case.path("pt")), tensors(case)
    if converted.kind != "diagnosis":
        pytest.skip("a pretrained model")
    convert_checkpoint(case.path("pt"), tmp_path / "model")
    for module in (module_of(converted), open_model(tmp_path / "model")[0]):
        with torch.no_grad():
            frames, valid = module.frames(batch_of(arrays))
            if valid is not None:
                frames = frames.masked_fill(~valid[:, :, None], 0.0)  # as the old code left them
            torch.testing.assert_close(module.logits(batch_of(arrays)), arrays["out.logits"], **CLOSE)
            torch.testing.assert_close(frames, arrays["out.encoder_out"], **CLOSE)
