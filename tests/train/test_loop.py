"""What one update is, and what the loop does around it."""

from __future__ import annotations

import json
import multiprocessing

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy_run import ToyObjective, ToyView, toy_module, train, validate

from einthoven.errors import EinthovenError, RecipeError
from einthoven.objectives.step import Step
from einthoven.train.batch import to_batch
from einthoven.train.checkpoint import steps_saved
from einthoven.train.data import permutation
from einthoven.train.engine import compile_layers
from einthoven.train.run import locked
from einthoven.train.sentinel import NotFinite


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def lines(folder, kind: str) -> list[dict]:
    return [line for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if line["kind"] == kind]


def test_an_update_is_adamw_on_the_mean_over_all_terms_of_the_batch(tmp_path):
    """Written out plainly: the same loss as one mean over all frames of all rows, torch's own AdamW, no loop of ours."""
    changes = {"steps": 3, "accumulate": 1, "clip": 0.05, "optim": {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-6}}
    module, _ = train(tmp_path, module=toy_module(dropout=0.0, mask=False), **changes)
    plain, view = toy_module(dropout=0.0, mask=False), ToyView()
    optimiser = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-6)
    for step in range(3):
        batch = to_batch(view.__getitems__(permutation(1, 0, 40)[8 * step : 8 * step + 8].tolist()))
        logits = plain.head(plain.encoder(batch["ecg"])).squeeze(-1)
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits, batch["label"].expand_as(logits)).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.05)
        optimiser.step()
    for name, value in weights(plain).items():
        torch.testing.assert_close(module.get_parameter(name), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_micro_batches_of_unequal_weight_give_the_update_of_the_whole_batch(accumulate, tmp_path):
    """Each row decides from its own signal how many of its frames count: the micro-batches' weights differ."""

    class OwnWeights(ToyObjective):
        def forward(self, batch, moment):
            frames = self.encoder(batch["ecg"])
            kept = torch.arange(frames.shape[1]) < 1 + batch["record"][:, None] % 7
            logits, target = self.head(frames).squeeze(-1)[kept], batch["label"].expand(-1, frames.shape[1])[kept]
            return Step(nn.functional.binary_cross_entropy_with_logits(logits, target), {}, float(kept.sum()))

    ended = []
    for n in (1, accumulate):
        torch.manual_seed(3)
        module, _ = train(tmp_path / str(n), module=OwnWeights(dropout=0.0), accumulate=n, steps=6, log_every=1)
        ended.append((weights(module), [line["loss"] for line in lines(tmp_path / str(n), "train")]))
    for name, value in ended[0][0].items():
        torch.testing.assert_close(ended[1][0][name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ended[1][1], ended[0][1], rtol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_reading_processes_does_not_change_a_bit(workers, tmp_path):
    alone, _ = train(tmp_path / "alone")
    module, _ = train(tmp_path / "several", workers=workers)
    for name, value in weights(alone).items():
        assert torch.equal(module.get_parameter(name), value), name


def test_the_exported_weights_are_those_of_the_best_validation(tmp_path):
    scores = iter([0.1, 0.7, 0.9, 0.3, 0.2, 0.8])
    seen = []

    def scored(module):
        seen.append(weights(module))
        return {"auroc": next(scores), "loss": 0.0}

    changes = {"validate_every": 2, "metric": "auroc", "maximise": True, "save_every": 100, "keep": 1}
    _, done = train(tmp_path, validate=scored, **changes)
    assert (done.best, done.best_step, done.step, done.early) == (0.9, 6, 12, False)
    exported = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(exported[name], value) for name, value in seen[2].items())
    assert sorted(steps_saved(tmp_path / "checkpoints")) == [6, 12]
    assert [line["auroc"] for line in lines(tmp_path, "valid")] == [0.1, 0.7, 0.9, 0.3, 0.2, 0.8]


def test_it_stops_when_patience_ends_and_a_nan_is_never_the_best(tmp_path):
    scores = iter([float("nan"), 2.0, 1.0, 1.0, 1.5, 0.5])
    _, done = train(tmp_path, validate=lambda module: {"loss": next(scores)}, validate_every=2, patience=2)
    assert (done.step, done.best, done.best_step, done.early) == (10, 1.0, 6, True)
    _, again = train(tmp_path, validate=validate, resume=True, validate_every=2, patience=2)
    assert (again.step, again.early) == (10, True)


def test_a_metric_that_validation_does_not_give_is_named_with_the_nearest_one(tmp_path):
    with pytest.raises(EinthovenError, match=r"metric=auroc_macro is not among .* did you mean macro_auroc"):
        train(tmp_path, validate=lambda module: {"macro_auroc": 1.0, "loss": 2.0}, metric="auroc_macro", validate_every=1)


def test_a_frozen_encoder_keeps_its_bits_until_it_is_thawed(tmp_path):
    begun = weights(toy_module())
    frozen, _ = train(tmp_path / "frozen", frozen_steps=12)
    thawed, _ = train(tmp_path / "thawed", frozen_steps=6)
    for name, value in begun.items():
        in_encoder = name.startswith("encoder.")
        assert torch.equal(frozen.get_parameter(name), value) == in_encoder, name
        assert not torch.equal(thawed.get_parameter(name), value), name
    assert not (tmp_path / "frozen" / "warnings.txt").exists()


def test_the_average_is_what_is_validated_and_exported(tmp_path):
    seen = []

    def look(module):
        seen.append(weights(module))
        return {"loss": -float(len(seen))}

    module, _ = train(tmp_path, validate=look, ema=0.5, steps=3, validate_every=1, optim={"lr": 0.1})
    plain = []
    train(tmp_path / "plain", validate=lambda m: plain.append(weights(m)) or {"loss": 0.0}, steps=3, validate_every=1, optim={"lr": 0.1})
    expected = weights(toy_module())
    for step in range(3):
        expected = {name: (value + plain[step][name]) / 2 for name, value in expected.items()}
        for name, value in expected.items():
            torch.testing.assert_close(seen[step][name], value)
    exported = load_file(tmp_path / "model" / "model.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(exported[name], value)
        assert torch.equal(module.get_parameter(name), plain[2][name])


class Spoiled(ToyObjective):
    """Becomes NaN in its third update: in the loss, or in the gradient alone."""

    where = "loss"

    def forward(self, batch, moment):
        step = super().forward(batch, moment)
        if moment.step == 2 and self.where == "loss":
            return Step(step.loss * float("nan"), step.parts, step.weight)
        if moment.step == 2:  # the root of 0 has an infinite slope, and 0 times that is NaN
            return Step(step.loss + (0 * self.head.weight.sum()).sqrt(), step.parts, step.weight)
        return step


@pytest.mark.parametrize(("where", "text"), [("loss", "the loss is nan at step 2"), ("gradient", "norm of its gradient is nan at step 2")])
def test_a_loss_or_gradient_that_is_not_finite_ends_the_run_with_step_parts_and_records(where, text, tmp_path):
    torch.manual_seed(3)
    module = Spoiled()
    module.where = where
    records = permutation(1, 0, 40)[16:24].tolist()
    with pytest.raises(NotFinite, match=f"{text}; parts: accuracy=0.*records: {records[0]}, {records[0]}, {records[1]}"):
        train(tmp_path, module=module, save_every=2)
    assert sorted(steps_saved(tmp_path / "checkpoints")) == [2]
    saved = load_file(tmp_path / "checkpoints" / "step-00000002" / "weights.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in weights(module).items())


def test_a_parameter_that_never_learns_is_named_and_strict_stops_for_it(tmp_path):
    def with_spare():
        module = toy_module()
        module.spare = nn.Linear(2, 2)
        return module

    train(tmp_path / "told", module=with_spare())
    text = (tmp_path / "told" / "warnings.txt").read_text()
    assert "step 2: 2 parameters received no gradient in the first 3 updates: spare.weight, spare.bias" in text
    with pytest.raises(EinthovenError, match=r"spare\.weight"):
        train(tmp_path / "strict", module=with_spare(), strict=True)


def test_an_encoder_that_gives_every_ecg_the_same_embedding_is_noticed(tmp_path):
    class Constant(ToyObjective):
        def forward(self, batch, moment):
            return super().forward({**batch, "ecg": batch["ecg"] * 0}, moment)

    module = Constant()
    with torch.no_grad():
        module.encoder.front.weight.zero_()
    train(tmp_path, module=module)
    assert "the embedding has collapsed" in (tmp_path / "warnings.txt").read_text()
    train(tmp_path / "healthy")
    assert not (tmp_path / "healthy" / "warnings.txt").exists()


def test_a_task_may_refuse_its_labels_before_anything_is_written(tmp_path):
    class Picky(ToyObjective):
        def check(self, view, n_items):
            raise EinthovenError(f"labels of {len(view)} items are all 1")

    with pytest.raises(EinthovenError, match="labels of 40 items"):
        train(tmp_path / "run", module=Picky())
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_augmentations_see_the_moment_and_change_what_is_learned(tmp_path):
    moments = []

    def remember(batch, moment):
        moments.append((moment.step, moment.micro, moment.first_row, moment.n_rows))
        return {**batch, "ecg": -batch["ecg"]}

    plain, _ = train(tmp_path / "plain", steps=2)
    module, _ = train(tmp_path / "augmented", steps=2, augment=(remember,))
    assert moments == [(0, 0, 0, 8), (0, 1, 0, 8), (1, 0, 0, 8), (1, 1, 0, 8)]
    assert not torch.equal(plain.head.weight, module.head.weight)


def test_bf16_computes_in_bf16_and_learns_nearly_the_same(tmp_path):
    kinds = []

    class Noting(ToyObjective):
        def forward(self, batch, moment):
            kinds.append(self.encoder.front(batch["ecg"]).dtype)
            return super().forward(batch, moment)

    losses = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(3)
        train(tmp_path / precision, module=Noting(), precision=precision)
        losses[precision] = [line["loss"] for line in lines(tmp_path / precision, "train")]
    assert kinds[0] == torch.float32 and kinds[-1] == torch.bfloat16
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=0.02)
    assert losses["bf16"] != losses["fp32"]


def test_two_processes_cannot_write_one_run(tmp_path):
    context = multiprocessing.get_context("fork")
    with locked(tmp_path):
        heard, told = context.Pipe(duplex=False)
        process = context.Process(target=_try_to_lock, args=(tmp_path, told))
        process.start()
        assert heard.poll(20)
        assert "another process is training in" in heard.recv()
        process.join()
    with locked(tmp_path):
        pass


def _try_to_lock(folder, told):
    try:
        with locked(folder):
            told.send("locked")
    except EinthovenError as error:
        told.send(str(error))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch": 41}, r"batch=41 is more than there is to train on \(40 items\)"),
        ({"device": "abacus"}, "device=abacus is not a device"),
        ({"device": "cuda:7"}, "device=cuda:7"),
        ({"sharded": True}, "start it with torchrun"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(changes, text, tmp_path):
    with pytest.raises(RecipeError, match=text):
        train(tmp_path, **changes)


def test_the_environment_names_versions_and_no_machine(tmp_path):
    import platform

    train(tmp_path, steps=1)
    text = (tmp_path / "environment.json").read_text()
    assert torch.__version__ in text
    assert platform.node() not in text and str(tmp_path) not in text
    assert json.loads((tmp_path / "recipe.json").read_text()) == {"name": "toy"}


@pytest.mark.slow
def test_tensorboard_gets_what_the_log_has(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, tensorboard=True, steps=4)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    written = [event.value for event in events.Scalars("train/loss")]
    np.testing.assert_allclose(written, [line["loss"] for line in lines(tmp_path, "train")], rtol=1e-6)


def test_epochs_are_counted_in_whole_batches(tmp_path):
    _, done = train(tmp_path / "two", steps=None, epochs=2)
    assert done.step == 10
    assert [line["epoch"] for line in lines(tmp_path / "two", "train")] == [0.4, 0.8, 1.2, 1.6, 2.0]
    _, done = train(tmp_path / "part", steps=None, epochs=0.4)
    assert done.step == 2


def test_another_seed_is_another_run_and_the_same_seed_the_same(tmp_path):
    one, again, other = (train(tmp_path / str(n), seed=seed, steps=3)[0] for n, seed in enumerate((1, 1, 2)))
    assert torch.equal(one.head.weight, again.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_the_learning_rate_that_is_logged_is_the_schedules(tmp_path):
    train(tmp_path, schedule={"name": "cosine", "warmup": 4}, log_every=1)
    rates = [line["lr"] for line in lines(tmp_path, "train")]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01]) and rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_compile_is_of_the_encoders_layers_alone():
    module = toy_module()
    compile_layers(module)
    compiled = {name for name, part in module.named_modules() if part._compiled_call_impl is not None}
    assert compiled == {"encoder.layers.0", "encoder.layers.1"}


@pytest.mark.slow
def test_compiled_layers_learn_the_same(tmp_path):
    import torch._dynamo.utils

    plain, _ = train(tmp_path / "plain", module=toy_module(dropout=0.0), steps=4)
    compiled = torch._dynamo.utils.counters["frames"]["ok"]
    module, _ = train(tmp_path / "compiled", module=toy_module(dropout=0.0), steps=4, compile=True)
    assert torch._dynamo.utils.counters["frames"]["ok"] > compiled
    for name, value in weights(plain).items():
        torch.testing.assert_close(module.get_parameter(name), value, rtol=1e-3, atol=1e-4)
    assert sorted(load_file(tmp_path / "compiled" / "model" / "model.safetensors")) == sorted(plain.state_dict())
