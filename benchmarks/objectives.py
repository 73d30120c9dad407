"""What a method costs besides its encoder: the share of a training step outside encoder forward and backward; samples/s and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/objectives.py --clock cpu              # every objective, on the encoder of its recipe
    OMP_NUM_THREADS=1 python benchmarks/objectives.py --clock cpu --cases cpc ecg_cpc
    OMP_NUM_THREADS=1 python benchmarks/objectives.py --clock cpu --grid       # 3 encoders x 3 objectives, all with the same batch
    python benchmarks/objectives.py --device cuda
    python benchmarks/objectives.py --cases moco --profile                     # where the time of its step goes
    python benchmarks/objectives.py --quick                                    # does it run: small encoders, one repeat

A step is what the training loop does with a batch: augmentations, views, forward, loss, backward, ``after_update``, as the
recipe says, at the published size. The encoder's part is measured, not assumed: while one step runs, every call of an encoder
in the objective (momentum copies too) is written down with its inputs, whether it learns, and the gradient that came back to its
outputs. Then two things are made alone: exactly these calls and their backward, the encoder's part; and the step without them, where
an encoder answers at once with what it answered before, the rest. They and the whole step take turns in one process, so that
ratios hang little on the machine, and medians are taken. ``outside`` is 1 - encoder / whole; ``rest`` is rest / whole, the same
share measured from the other side: where it is small it is the surer number, as it is no difference of two large ones. The goal is
under 15 %. The optimiser is in neither; its share of a whole update is a column of its own. Reading data, moving it to the device,
gradient norms and logging belong to the loop and are not measured (benchmarks/loader.py). Pooling frames to a vector counts as outside.

rows/s is that of step and optimiser. Peak memory: of a process of its own, what its resident set grows by from after the
imports to the highest point of two updates; on CUDA what torch had allocated at most. A batch is
noise with full leads and no padding. SwAV's queue and prototypes are made as much smaller as the batch is.

2026-11-21, 2 cores of an AMD EPYC (Zen 5, AVX-512 bf16) that eight other busy processes used, one thread, `--clock cpu`, torch 2.13.0;
three turns or more. The neighbours make ``outside`` uncertain by 10 to 30 points, ``rest`` by one to four:

| case | encoder | batch | precision | step s | outside (least – most) | rest | optimiser | rows/s | peak MiB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| w2v | base | 8 × 5 s × 500 Hz | bf16 | 3.05 | 6.2 % (5.3 % – 7.6 %) | 1.3 % | 2.3 % | 2.57 | 2215 |
| cmsc | base | 8 × 5 s × 500 Hz | bf16 | 3.1 | −4.0 % (−4.1 % – −1.1 %) | 0.1 % | 2.5 % | 2.51 | 2187 |
| cmlc | base | 4 × 5 s × 500 Hz | bf16 | 5.88 | −0.4 % (−1.7 % – 4.8 %) | 0.1 % | 1.9 % | 0.668 | 2727 |
| cmsmlc | base | 4 × 5 s × 500 Hz | bf16 | 5.9 | 4.2 % (−3.0 % – 10.9 %) | 0.1 % | 2.3 % | 0.662 | 2768 |
| 3kg | base | 8 × 5 s × 500 Hz | bf16 | 5.4 | 4.5 % (−4.8 % – 5.2 %) | 0.2 % | 1.2 % | 1.46 | 2769 |
| w2v_cmsc | base | 8 × 5 s × 500 Hz | bf16 | 3.12 | 1.2 % (−1.7 % – 4.3 %) | 1.3 % | 2.8 % | 2.49 | 2176 |
| simclr | xresnet1d50 | 64 × 2.5 s × 100 Hz | bf16 | 0.312 | 4.3 % (−6.5 % – 29.6 %) | 3.6 % | 0.8 % | 203 | 247 |
| byol | xresnet1d50 | 64 × 2.5 s × 100 Hz | bf16 | 0.444 | 8.0 % (−11.0 % – 17.8 %) | 4.0 % | 0.5 % | 143 | 254 |
| swav | xresnet1d50 | 64 × 2.5 s × 100 Hz | bf16 | 0.951 | 3.3 % (0.2 % – 15.6 %) | 4.9 % | 0.4 % | 67 | 558 |
| moco | xresnet1d50 | 64 × 2.5 s × 100 Hz | bf16 | 0.231 | 8.3 % (−18.5 % – 34.8 %) | 10.5 % | 1.0 % | 274 | 212 |
| cpc | cpc | 8 × 10 s × 100 Hz | bf16 | 2.28 | 42.1 % (12.2 % – 43.0 %) | 13.5 % | 0.3 % | 3.5 | 636 |
| cpc_batch | cpc | 8 × 10 s × 100 Hz | bf16 | 3.57 | 33.1 % (28.9 % – 62.2 %) | 17.9 % | 0.1 % | 2.24 | 582 |
| ecg_cpc | ecg_cpc | 8 × 10 s × 240 Hz | fp32 | 3.92 | 8.2 % (4.9 % – 16.4 %) | 13.3 % | 0.1 % | 2.04 | 1823 |
| mae | st_mem | 8 × 9 s × 250 Hz | bf16 | 2.12 | 14.3 % (5.2 % – 23.1 %) | 14.0 % | 4.0 % | 3.63 | 1915 |
| jepa | vit_s | 16 × 10 s × 500 Hz | bf16 | 1.05 | 40.8 % (37.8 % – 48.7 %) | 40.3 % | 1.2 % | 15.1 | 798 |
| jepa_s4 | ecg_cpc | 16 × 2.5 s × 240 Hz | fp32 | 3.45 | 44.8 % (43.7 % – 50.0 %) | 41.7 % | 0.2 % | 4.63 | 1209 |

cpc once more: rest 9.2 %. By ``rest`` all but three are under 15 %; by ``outside`` alone it cannot be told for cpc, whose turns were too unlike
each other. The three:

- jepa: its predictor, as many blocks as the encoder has, on all patches, of which the encoder that learns sees a fifth: 81 of the
  step's 245 GFLOP of matrix products, 33 %. MAE's decoder, 61 of 512, is 12 %.
- jepa_s4: its predictor too, a block of attention as wide as the encoder: 106 of 217 GFLOP, Fourier transforms not counted.
- cpc_batch: vectors of 128 negatives for each of 1,000 frames are read from all rows, which no cache holds; two thirds of the rest.

Negatives of the same row (ecg_cpc) were read from a product of all frames with all; on a CPU the drawn products alone are made where
few are drawn: 0.72 -> 0.54 s of a step outside the encoder, about 18 -> 13 % of it.

`--grid`, 16 rows of 5 s at 250 Hz:

| case | precision | step s | rest | optimiser | rows/s | peak MiB |
| --- | --- | --- | --- | --- | --- | --- |
| simclr on base | bf16 | 5.99 | 0.2 % | 1.3 % | 2.64 | 2599 |
| cmsc on base | bf16 | 3.01 | 0.1 % | 2.5 % | 5.18 | 2058 |
| jepa on base | bf16 | 4.06 | 7.8 % | 1.9 % | 3.86 | 2571 |
| simclr on vit_s | bf16 | 0.564 | 1.5 % | 1.7 % | 27.9 | 549 |
| cmsc on vit_s | bf16 | 0.304 | 0.5 % | 3.6 % | 50.7 | 421 |
| jepa on vit_s | bf16 | 0.312 | 36.6 % | 3.5 % | 49.4 | 533 |
| simclr on ecg_cpc | bf16 | 4.26 | 0.6 % | 0.1 % | 3.75 | 2331 |
| cmsc on ecg_cpc | bf16 | 2.2 | 0.5 % | 0.1 % | 7.27 | 1396 |
| jepa on ecg_cpc | bf16 | 4.51 | 25.6 % | 0.3 % | 3.54 | 1966 |

No GPU was at hand.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import platform
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from einthoven.models import Encoder
from einthoven.objectives import OBJECTIVES, Moment, Objective
from einthoven.recipes import recipe as named
from einthoven.recipes.build import build_augmentations, build_encoder, build_objective
from einthoven.signal.contract import SignalContract
from einthoven.train.distributed import choose_precision, exact
from einthoven.train.optim import build_optimiser

ENTRIES = ("forward", "frames", "context", "parts")
"""Ways into an encoder. What calls another one inside is one call."""

LEAST_SECONDS = 4.0
"""Of whole steps that a median is taken of, where ``--repeats`` are less."""

QUICK = {
    "base": "tiny",
    "xresnet1d50": "xresnet1d50_small",
    "cpc": "cpc_tiny",
    "ecg_cpc": "ecg_cpc_tiny",
    "vit_s": "vit_tiny",
    "st_mem": "st_mem_tiny",
}


@dataclass(frozen=True)
class Case:
    """A recipe of pretraining at ``fs``, on ``rows`` rows of a batch (``rows_cuda`` on a GPU), with ``changes`` as on the command line."""

    recipe: str
    encoder: str
    fs: float
    rows: int
    rows_cuda: int
    changes: tuple[str, ...] = ()


CASES: dict[str, Case] = {
    "w2v": Case("w2v", "base", 500, 8, 128),
    "cmsc": Case("cmsc_rlm", "base", 500, 8, 128),
    "cmlc": Case("cmlc", "base", 500, 4, 32),
    "cmsmlc": Case("cmsmlc", "base", 500, 4, 32),
    "3kg": Case("3kg", "base", 500, 8, 64),
    "w2v_cmsc": Case("w2v_cmsc_rlm", "base", 500, 8, 128),
    "simclr": Case("simclr", "xresnet1d50", 100, 64, 1024),
    "byol": Case("byol", "xresnet1d50", 100, 64, 1024),
    "swav": Case("swav", "xresnet1d50", 100, 64, 1024, ("objective.queue=512", "objective.queue_from=0", "objective.prototypes=500")),
    "moco": Case("moco", "xresnet1d50", 100, 64, 1024),
    "cpc": Case("cpc", "cpc", 100, 8, 32),
    "cpc_batch": Case("cpc", "cpc", 100, 8, 32, ("objective.negatives=batch",)),
    "ecg_cpc": Case("ecg_cpc", "ecg_cpc", 240, 8, 64),
    "mae": Case("st_mem", "st_mem", 250, 8, 128),
    "jepa": Case("jepa", "vit_s", 500, 16, 256),
    "jepa_s4": Case("jepa_s4", "ecg_cpc", 240, 16, 256),
}
"""One or more for every objective."""

GRID_ENCODERS = ("base", "vit_s", "ecg_cpc")
GRID_OBJECTIVES = {"simclr": "simclr", "cmsc": "cmsc", "jepa": "jepa"}
"""Objective: the recipe it is taken from."""


def grid(encoders: list[str]) -> dict[str, Case]:
    """Every encoder with every objective, on the same batch: 16 rows of 5 s at 250 Hz."""
    same = ("seconds=5.0", "precision=auto")
    return {
        f"{method} on {encoder}": Case(name, encoder, 250, 16, 256, same)
        for encoder in encoders
        for method, name in GRID_OBJECTIVES.items()
    }


@dataclass
class Call:
    """One call of an encoder in a step: what it was given, what it gave, and which gradients came back to that."""

    method: Callable[..., Any]
    arguments: tuple[Any, ...]
    learns: bool
    answer: Any = None
    gradients: dict[int, Tensor] = field(default_factory=dict)

    def watch(self, outcome: Any) -> None:
        self.answer = cut_off(outcome)
        for place, tensor in enumerate(tensors_in(outcome)):
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient, place=place: self.gradients.__setitem__(place, gradient.detach()))

    def again(self) -> list[tuple[Tensor, Tensor]]:
        """Made once more; those of its outputs that a gradient came back to, with it."""
        for argument in self.arguments:
            if isinstance(argument, Tensor):
                argument.grad = None
        with torch.set_grad_enabled(self.learns):
            outcome = tensors_in(self.method(*self.arguments))
        return [(outcome[place], gradient) for place, gradient in self.gradients.items()]


def tensors_in(outcome: Any) -> list[Tensor]:
    """An encoder's output, or the tensors of what its halves give, in order."""
    if isinstance(outcome, Tensor):
        return [outcome]
    values = [getattr(outcome, part.name) for part in dataclasses.fields(outcome)]
    return [value for value in values if isinstance(value, Tensor)]


def cut_off(value: Any) -> Any:
    """An argument or an outcome without what made it; it still wants a gradient where it did."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{part.name: cut_off(getattr(value, part.name)) for part in dataclasses.fields(value)})
    return value


@contextlib.contextmanager
def instead(objective: Objective, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """While it lasts, each way into an encoder of the objective is what ``make`` makes of it."""
    encoders = [module for module in objective.modules() if isinstance(module, Encoder)]
    ways = [(encoder, entry) for encoder in encoders for entry in ENTRIES if hasattr(encoder, entry)]
    for encoder, entry in ways:
        setattr(encoder, entry, make(getattr(encoder, entry)))
    try:
        yield
    finally:
        for encoder, entry in ways:
            delattr(encoder, entry)


@contextlib.contextmanager
def written_down(objective: Objective) -> Iterator[list[Call]]:
    """While it lasts, all calls of the objective's encoders are kept."""
    calls: list[Call] = []
    inside = False

    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal inside
            if inside:
                return method(*arguments)
            kept = Call(method, tuple(cut_off(argument) for argument in arguments), torch.is_grad_enabled())
            calls.append(kept)
            inside = True
            try:
                outcome = method(*arguments)
            finally:
                inside = False
            kept.watch(outcome)
            return outcome

        return call

    with instead(objective, recording):
        yield calls


@contextlib.contextmanager
def answered(objective: Objective, calls: list[Call]) -> Iterator[None]:
    """While it lasts, the encoders give, call by call, what they gave before."""
    left = iter(calls)

    def repeating(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: cut_off(next(left).answer)

    with instead(objective, repeating):
        yield


class Training:
    """A recipe's objective with a batch; ``step()`` is everything but the optimiser, ``encode()`` the encoder's part of it."""

    def __init__(self, case: Case, device: str, precision: str, quick: bool):
        encoder_name = QUICK[case.encoder] if quick else case.encoder
        # A variant of the recipe's own encoder keeps its options; another one comes with its defaults.
        own = named(case.recipe).encoder.name or "base"
        changes = list(case.changes) + ([f"encoder={encoder_name}"] if encoder_name != own else [])
        recipe: Any = named(case.recipe, changes)
        torch.manual_seed(0)
        contract = SignalContract(fs=case.fs, leads=recipe.leads, scaling="none", seconds=recipe.seconds)
        self.encoder = build_encoder(recipe, contract)[0].to(device)
        self.objective = build_objective(recipe, self.encoder).to(device).train()
        self.rows = case.rows_cuda if device == "cuda" and not quick else case.rows
        self.objective.check(None, self.rows // (2 if self.objective.view == "pairs" else 1))
        self.augment = build_augmentations(recipe, self.encoder) if recipe.augment and self.objective.n_views == 1 else None
        self.optimiser = build_optimiser(self.objective, recipe.optim)
        self.precision = choose_precision(recipe.precision if precision == "auto" else precision, torch.device(device))
        self.device, self.updates = device, 0
        self.n_samples, self.seconds, self.fs = round(recipe.seconds * case.fs), recipe.seconds, case.fs
        person = torch.arange(self.rows, device=device) // 2
        self.batch: dict[str, Any] = {
            "ecg": 0.3 * torch.randn(self.rows, len(recipe.leads), self.n_samples, device=device),
            "valid": torch.ones(self.rows, self.n_samples, dtype=torch.bool, device=device),
            "padded": False,
            "lead_present": torch.ones(self.rows, len(recipe.leads), dtype=torch.bool, device=device),
            "scale": torch.ones(self.rows, len(recipe.leads), device=device),
            "patient": person,
            "record": person,
            "segment": torch.arange(self.rows, device=device) % 2,
        }

    @property
    def cast(self) -> Any:
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def step(self) -> None:
        moment = Moment(step=self.updates)
        batch = dict(self.batch)
        if self.augment is not None:
            for augmentation in self.augment.steps:
                batch = augmentation(batch, moment)
        with self.cast:
            step = self.objective(batch, moment)
        (step.loss * step.weight).backward()
        self.updates += 1
        self.objective.after_update(self.updates, 100_000)

    def encode(self, calls: list[Call]) -> None:
        with self.cast:
            learnt = [pair for call in calls for pair in call.again()]
        if learnt:
            torch.autograd.backward([output for output, _ in learnt], [gradient for _, gradient in learnt])

    def forget(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Outcome:
    encoder: str
    shape: str
    precision: str
    calls: str
    seconds: float
    outside: list[float]
    rest: float
    optimiser: float
    rows_per_second: float
    peak_mib: float


def told(calls: list[Call]) -> str:
    """2 forward, 2 forward without gradient."""
    names = Counter((call.method.__name__, call.learns) for call in calls)
    return ", ".join(f"{count} {name}{'' if learns else ' without gradient'}" for (name, learns), count in names.items())


def peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if platform.system() == "Darwin" else 2**10)


def measure(case: Case, options: argparse.Namespace) -> Outcome:
    """In a process of its own."""
    device, clock = options.device, time.process_time if options.clock == "cpu" else time.perf_counter
    before = peak_mib(device)

    def seconds_of(work: Callable[[], object]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    with exact(torch.device(device)):  # as the training loop computes
        training = Training(case, device, options.precision, options.quick)
        for _ in range(2):
            training.step()
            training.optimiser.step()
            training.forget()
        peak = peak_mib(device) - before
        if options.profile:
            with torch.profiler.profile(record_shapes=True) as profile:
                training.step()
            sort_by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
            print(
                profile.key_averages(group_by_input_shape=True).table(sort_by=sort_by, row_limit=30, max_shapes_column_width=60), flush=True
            )
            training.forget()
        at = training.updates
        with written_down(training.objective) as calls:
            training.step()
        training.forget()
        training.encode(calls)
        wholes: list[float] = []
        parts: list[float] = []
        rests: list[float] = []
        updates: list[float] = []
        least, turns = (0.0, 1) if options.quick else (LEAST_SECONDS, options.repeats)
        while len(wholes) < turns or sum(wholes) < least:
            training.forget()
            parts.append(seconds_of(lambda: training.encode(calls)))
            training.forget()
            training.updates = at  # the choices that the answers belong to
            with answered(training.objective, calls):
                rests.append(seconds_of(training.step))
            training.forget()
            wholes.append(seconds_of(training.step))
            updates.append(seconds_of(training.optimiser.step))
    whole, update = statistics.median(wholes), statistics.median(updates)
    return Outcome(
        encoder=QUICK[case.encoder] if options.quick else case.encoder,
        shape=f"{training.rows} × {training.seconds:g} s × {training.fs:g} Hz",
        precision=training.precision,
        calls=told(calls),
        seconds=whole,
        outside=sorted(1 - part / step for part, step in zip(parts, wholes, strict=True)),
        rest=statistics.median(rests) / whole,
        optimiser=update / (whole + update),
        rows_per_second=training.rows / (whole + update),
        peak_mib=peak,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--grid", action="store_true", help=f"instead: the objectives {', '.join(GRID_OBJECTIVES)} on each of --encoders")
    parser.add_argument("--encoders", nargs="+", default=list(GRID_ENCODERS), help="of --grid")
    parser.add_argument("--repeats", type=int, default=5, help="least number of turns (5)")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"], help="auto: the recipe's (auto)")
    parser.add_argument(
        "--clock", default="wall", choices=["wall", "cpu"], help="cpu: seconds of work of all threads; set OMP_NUM_THREADS=1"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes, too")
    parser.add_argument("--quick", action="store_true", help="small encoders, one turn: whether it runs")
    options = parser.parse_args()
    cases = grid(options.encoders) if options.grid else {name: CASES[name] for name in options.cases}
    recipes: list[Any] = [named(case.recipe) for case in CASES.values()]
    if without := OBJECTIVES.keys() - {recipe.objective.name for recipe in recipes}:
        print(f"not measured, add a case: {', '.join(sorted(without))}")

    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}, {options.device}"
        + (f" {torch.cuda.get_device_name()}" if options.device == "cuda" else "")
    )
    print(
        "\n| case | encoder | batch | precision | calls of the encoder | step s | outside (least – most) | rest | optimiser | rows/s | peak MiB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name, case in cases.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(measure, case, options).result()
        middle = statistics.median(found.outside)
        print(
            f"| {name} | {found.encoder} | {found.shape} | {found.precision} | {found.calls} | {found.seconds:.3g} "
            f"| {middle:.1%} ({found.outside[0]:.1%} – {found.outside[-1]:.1%}) | {found.rest:.1%} | {found.optimiser:.1%} | {found.rows_per_second:.3g} "
            f"| {found.peak_mib:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
