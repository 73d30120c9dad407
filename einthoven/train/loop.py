"""The training loop: one for objectives and tasks, for one process and many, from the beginning or from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from einthoven.errors import CheckpointError, EinthovenError
from einthoven.objectives.step import Moment
from einthoven.train import checkpoint, sentinel
from einthoven.train.batch import to_batch
from einthoven.train.data import Order, View, micro_batches
from einthoven.train.distributed import Place, exact, processes
from einthoven.train.ema import averaged
from einthoven.train.engine import apart, local, whole
from einthoven.train.log import Log, speeds
from einthoven.train.optim import set_rate
from einthoven.train.run import CHECKPOINTS, ENVIRONMENT, MODEL, RECIPE, begin, go_on, locked, refuse_taken
from einthoven.train.schedule import factor, momentum
from einthoven.train.settings import Settings
from einthoven.train.state import Training
from einthoven.train.stop import StopSignals

INTERRUPTED = 130
"""Exit status of a run that was asked to stop: what shells give for Ctrl-C."""


@dataclass(frozen=True)
class Finished:
    """What came of a run.

    step       : updates made
    metrics    : the last validation's, {} where there was none
    best       : value of the metric that chose the best checkpoint, None where none was validated
    best_step  : its step; the exported weights are those of this step, or the last where nothing was validated
    checkpoint : folder of the checkpoint that was exported
    model      : folder that ``export`` filled, None where nothing was exported
    early      : whether it ended because the metric did not get better
    """

    step: int
    metrics: Mapping[str, float]
    best: float | None
    best_step: int | None
    checkpoint: Path
    model: Path | None
    early: bool


def fit(
    module: nn.Module,
    view: View,
    settings: Settings,
    run: Path,
    *,
    augment: Sequence[Callable[[dict[str, Any], Moment], dict[str, Any]]] = (),
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    export: Callable[[nn.Module, Path], None] | None = None,
    progress: bool = True,
    describe: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Finished:
    """Train an objective or a task; write a run folder.

    module   : ``forward(batch, moment) -> Step``; its ``check(view, n_items)``, where it has one, may refuse the data or the size of a
               micro-batch before training; its ``after_update(step, total)`` is called after every update
    view     : numbered items that come as raw batches (docs/architecture.md)
    augment  : called in order as ``augmentation(batch, moment) -> batch``
    validate : called by the first process with the module in evaluation mode
    export   : called by the first process as ``export(module, run / "model")`` with the best weights, at the end
    describe : the resolved recipe, for recipe.json
    resume   : go on from the last whole checkpoint of ``run`` (from the beginning where there is none yet); False: a new run

    Asked to stop by Ctrl-C or SIGTERM, it finishes the update, saves a checkpoint and raises SystemExit(130).
    Raises EinthovenError where the run folder, the data or a checkpoint do not allow it, or where training fails (``sentinel.NotFinite``).
    """
    with ExitStack() as stack:
        place = stack.enter_context(processes(settings.device))
        stack.enter_context(exact(place.device))
        if place.first:
            if not resume:
                refuse_taken(run)
            stack.enter_context(locked(run))
        order = Order(settings.seed, len(view), settings.batch, settings.accumulate, place.world)
        check = getattr(module, "check", None)
        if callable(check):
            check(view, order.batch // order.accumulate)
        total = settings.steps if settings.steps is not None else max(1, round(settings.epochs * order.per_epoch))  # type: ignore[operator]
        training = Training(module, settings, place, run / CHECKPOINTS, order)
        notes: list[str] = []
        if resume:
            training.restore(notes.append)
        if place.first and (run / ENVIRONMENT).exists() and (run / RECIPE).exists():  # both: it may have been killed between the two
            go_on(run, place, training.precision, training.step)
        elif place.first:
            begin(run, describe or {}, place, training.precision)
        log = Log(run if place.first else None, total, training.step, progress, settings.tensorboard, settings.metric)
        stack.callback(log.close)
        for note in notes:
            log.warn(training.step, note)
        signals = stack.enter_context(StopSignals())
        _train(training, view, total, log, signals, augment, validate)
        if signals.asked and training.step < total and not training.early:
            log.say(f"stopped at step {training.step} of {total}, checkpoint saved; go on with: einthoven resume {run}")
            raise SystemExit(INTERRUPTED)
        return _finish(training, run, export, log)


def _train(
    training: Training,
    view: View,
    total: int,
    log: Log,
    signals: StopSignals,
    augment: Sequence[Callable[[dict[str, Any], Moment], dict[str, Any]]],
    validate: Callable[[nn.Module], Mapping[str, float]] | None,
) -> None:
    """The loop itself, from ``training.step`` to ``total``."""
    settings, place, order, module, optimiser = training.settings, training.place, training.order, training.module, training.optimiser
    device, wide = place.device, torch.float32 if place.device.type == "mps" else torch.float64
    gradients = sentinel.Gradients(module)
    after_update = getattr(module, "after_update", None)
    raw_batches = micro_batches(view, order, training.step, total, place.rank, settings.workers, pin=device.type == "cuda")
    begun, waited, n_rows = time.monotonic(), 0.0, 0

    while training.step < total and not training.early:
        step = training.step
        engine = training.engine()
        rate = factor(settings.schedule, step, total, order.epoch(step) + 1)
        set_rate(optimiser, rate, momentum(settings.schedule, step, total))

        # 1. forward and backward: gradients of the sum of weight * loss
        sums = torch.zeros((), dtype=wide, device=device)
        records: list[Any] = []
        for micro in range(settings.accumulate):
            asked = time.monotonic()
            raw = next(raw_batches)
            waited += time.monotonic() - asked
            moment = _moment(settings.seed, step, micro, order, place, len(raw["counts"]))
            batch = to_batch(raw, device)
            for augmentation in augment:
                batch = augmentation(batch, moment)
            torch.manual_seed(moment.key(f"dropout/{place.rank}"))
            with apart(engine, last=micro == settings.accumulate - 1):
                with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
                    loss, parts, weight = engine(batch, moment)
                (loss * weight).backward()
            terms = [1.0, loss.detach(), *parts.values()]
            sums = sums + torch.stack([torch.as_tensor(term, dtype=wide, device=device) for term in terms]) * weight
            records += raw["record"].tolist() if "record" in raw else []
            n_rows += moment.n_rows or 0

        # 2. divided by the sum of weights over micro-batches and processes, which each engine has averaged over
        sums = place.sum(torch.cat([sums, torch.tensor([float(signals.asked)], dtype=wide, device=device)]))
        training.discard_frozen()
        with_gradient = [weight for weight in module.parameters() if weight.grad is not None]
        if not with_gradient:
            raise EinthovenError(f"no parameter received a gradient at step {step}: is everything frozen?")
        scale = torch.where(sums[0] > 0, place.world / sums[0], 0.0).float()
        torch._foreach_mul_([local(weight.grad) for weight in with_gradient], scale)  # type: ignore[arg-type]
        norm = get_total_norm([weight.grad for weight in with_gradient])  # type: ignore[misc]
        total_weight, *summed, stop, norm_value = torch.cat([sums, whole(norm).reshape(1).to(wide)]).tolist()
        values = {name: value / total_weight if total_weight else 0.0 for name, value in zip(["loss", *parts], summed, strict=True)}
        sentinel.check_finite(step, values["loss"], norm_value, {name: values[name] for name in parts}, records)
        if settings.clip is not None:
            clip_grads_with_norm_(with_gradient, settings.clip, norm)

        # 3. the update
        if names := gradients.look() if step >= settings.frozen_steps else []:
            _speak(training, log, sentinel.never_learns(names))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        training.step = step = step + 1
        if after_update is not None:
            after_update(step, total)
        if training.average is not None:
            training.average.update(module)

        # 4. what is said about it
        training.window.add(total_weight, values, norm_value)
        times = speeds(begun, waited, n_rows)
        log.step(step, {**values, **times})
        last = step == total
        if step % settings.log_every == 0 or last:
            means = training.window.take()
            if warning := sentinel.collapsed_codes(means, module):
                _speak(training, log, warning)
            log.line("train", step, {**means, "lr": settings.optim.lr * rate, "epoch": step / order.per_epoch, **times})
            begun, waited, n_rows = time.monotonic(), 0.0, 0

        # 5. validation and checkpoint
        better = False
        if validate is not None and (step % (settings.validate_every or order.per_epoch) == 0 or last):
            training.metrics = _validated(training, validate)
            log.line("valid", step, training.metrics)
            better = training.judge(training.metrics)
        if stop or last or better or training.early or step % settings.save_every == 0:
            if warning := _collapse(training, batch):
                _speak(training, log, warning)
            log.sync()
            training.save()
        if stop:
            signals.asked = True
            break


def _moment(seed: int, step: int, micro: int, order: Order, place: Place, n_own_rows: int) -> Moment:
    """Where this process's rows stand in the micro-batch; an item of the view is one or more rows, all of them as many."""
    first, end, n_items = order.bounds(micro, place.rank)
    rows_per_item = n_own_rows // (end - first)
    return Moment(seed, step, micro, first * rows_per_item, n_items * rows_per_item)


def _validated(training: Training, validate: Callable[[nn.Module], Mapping[str, float]]) -> dict[str, float]:
    """The first process validates, with averaged weights where there are such; all hear of it."""
    module = training.whole_module()
    values: dict[str, float] = {}
    if training.place.first and module is not None:
        module.eval()
        device = training.place.device.type
        with (
            averaged(module, training.average),
            torch.no_grad(),
            torch.autocast(device, torch.bfloat16, enabled=training.precision == "bf16"),
        ):
            values = {name: float(value) for name, value in validate(module).items()}
        module.train()
    return training.place.tell(values)


def _collapse(training: Training, batch: dict[str, Any]) -> str | None:
    """Look at the embeddings of the last batch; not where the encoder is spread over processes."""
    encoder = getattr(training.module, "encoder", None)
    if encoder is None or training.settings.sharded or not training.place.first:
        return None
    return sentinel.collapsed_embedding(sentinel.spread(encoder, batch))


def _speak(training: Training, log: Log, warning: str) -> None:
    if training.settings.strict:
        raise EinthovenError(f"{warning} (strict=true; step {training.step})")
    log.warn(training.step, warning)


def _must_be_whole(best: Path) -> None:
    """Raise CheckpointError where the checkpoint with the best weights was damaged since: no others may be exported in its name."""
    try:
        checkpoint.verify(best)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. It holds the run's best weights: put back a copy of it; or remove it and the later ones, and resume to make them again"
        ) from error


def _finish(training: Training, run: Path, export: Callable[[nn.Module, Path], None] | None, log: Log) -> Finished:
    """Export the best weights (the last ones, where nothing was validated)."""
    best_step = training.step if training.best_step is None else training.best_step
    folder = training.checkpoints / checkpoint.folder_name(best_step)
    if export is not None:
        if best_step != training.step:
            if training.place.first:
                _must_be_whole(folder)
            training.load_weights_of(folder)
        module = training.whole_module()
        if training.place.first and module is not None:
            module.eval()
            with averaged(module, training.average):
                export(module, run / MODEL)
        training.place.wait()
    model = run / MODEL if export is not None else None
    return Finished(training.step, training.metrics, training.best, training.best_step, folder, model, training.early)
