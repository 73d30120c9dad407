"""How much of the machine a training step of the base model uses: W2V+CMSC, forward, backward and fused AdamW.

    python benchmarks/training_step.py                  # CPU: fp32 and bf16
    python benchmarks/training_step.py --device cuda --rows 128
    python benchmarks/training_step.py --profile        # where the time goes
    OMP_NUM_THREADS=1 python benchmarks/training_step.py --clock cpu   # on a machine that others use too

The step's FLOP/s, counted analytically, over the FLOP/s of a large matrix product in the same precision, both measured in
turn in the same run, so that the ratio hangs little on the machine. It does hang on who else uses it: on busy cores the
threads of a step's many small operations wait for each other (0.40 was seen with two threads), hence `--clock cpu`.
Goal: 0.6 in fp32 on a CPU, 0.45 in bf16 on a GPU. What is counted is the arithmetic that the model's definition asks for,
as multiply-adds of 2 FLOP:

    per row, L frames of D channels, M of them masked
    convolutions    sum over layers of frames x kernel x channels in x channels out
    projection      L x width x D
    positions       L x D x (D / groups) x kernel       as the plain grouped convolution, however it is computed
    N layers        L x (4 D^2 + 2 D ffn) + 2 L^2 D
    heads           M x (D x f + width x codes x groups + codes x f + f^2) + M^2 f
    backward        twice the forward; norms, GELU, dropout, softmax, losses and the optimiser count as nothing

On a CPU the positional convolution is computed by spectra, for a fourth of its time; hence the second ratio, which does
not count its arithmetic at all.

2026-11-20, AMD EPYC (Zen 5, AVX-512 bf16, no AMX), one thread, `--clock cpu` beside other busy processes, torch 2.13.0:

| 8 rows x 5 s | product TFLOP/s | step s | ratio | without positions |
| --- | --- | --- | --- | --- |
| fp32, plain convolution, torch's dropout and fused attention | 0.105 | 7.86 | 0.85 | 0.81 |
| fp32 | 0.105 | 7.40 | 0.91 | 0.86 |
| bf16, plain convolution, torch's dropout and fused attention | 0.377 | 3.26 | 0.57 | 0.54 |
| bf16 | 0.377 | 2.47 | 0.76 | 0.72 |

The two of a precision took turns in one process. bf16 is 3.0 x as fast as fp32 (2.4 x before), and its losses are those of
fp32 within 0.003 over the first steps (8.254, 7.940 and 8.256, 7.942 for 4 rows). No GPU was at hand.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch

from einthoven.layers.conv_frontend import frames_of
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives import W2VCMSC, Moment

MATRIX = {"cpu": 4096, "cuda": 16384}


def flop_per_row(encoder: ECGTransformer, objective: W2VCMSC, n_samples: int, n_masked: int) -> tuple[float, float]:
    """Of forward and backward, by the formula above; and how much of it is the positional convolution."""
    config, dim, width = encoder.config(), encoder.dim, encoder.local_dim
    frames = encoder.n_frames(n_samples)
    multiply_adds, channels = 0.0, len(encoder.leads)
    for i, (out, kernel, _) in enumerate(encoder.conv_layers):
        multiply_adds += frames_of(n_samples, encoder.conv_layers[: i + 1]) * kernel * channels * out
        channels = out
    multiply_adds += frames * width * dim if width != dim else 0
    positions = frames * dim * dim / config["conv_pos_groups"] * config["conv_pos"]
    multiply_adds += positions
    multiply_adds += config["depth"] * (frames * (4 * dim**2 + 2 * dim * config["ffn"]) + 2 * frames**2 * dim)
    final, quantiser = objective.masked.final_proj.out_features, objective.masked.quantizer
    assert quantiser is not None
    multiply_adds += n_masked * (dim * final + width * quantiser.n_vars + quantiser.n_codes * final + final**2) + n_masked**2 * final
    return 3 * 2 * multiply_adds, 3 * 2 * positions


def seconds_of(work: Callable[[], object], device: str, clock: Callable[[], float]) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


class Training:
    """A model, its batch and its optimiser; ``step()`` is one update."""

    def __init__(self, size: str, rows: int, seconds: float, device: str, half: bool):
        torch.manual_seed(0)
        # As the recipe w2v_cmsc_rlm trains it.
        self.encoder = ECGTransformer(**{**SIZES[size], "input_dropout": 0.1, "extractor_gradient": 0.1}).to(device)
        self.objective = W2VCMSC(self.encoder, dropout_features=0.1).to(device).train()
        self.optimiser = torch.optim.AdamW(self.objective.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
        self.n_samples = round(seconds * self.encoder.fs)
        person = torch.arange(rows // 2, device=device).repeat_interleave(2)
        self.batch = {"ecg": torch.randn(rows, 12, self.n_samples, device=device), "patient": person, "record": person}
        self.cast = torch.autocast(device, dtype=torch.bfloat16) if half else contextlib.nullcontext()
        self.rows, self.updates, self.flop, self.flop_of_positions, self.losses = rows, 0, 0.0, 0.0, []

    def step(self) -> None:
        with self.cast:
            step = self.objective(self.batch, Moment(step=self.updates))
        step.loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.updates += 1
        flop, of_positions = flop_per_row(self.encoder, self.objective, self.n_samples, int(step.weight) // self.rows)
        self.flop, self.flop_of_positions = self.rows * flop, self.rows * of_positions
        self.losses.append(step.loss.detach())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--size", default="base", choices=list(SIZES))
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch; two are a pair (8)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a row at 500 Hz (5)")
    parser.add_argument("--repeats", type=int, default=5, help="steps that are measured, after one that is not (5)")
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument(
        "--clock", default="wall", choices=["wall", "cpu"], help="cpu: seconds of work of all threads; set OMP_NUM_THREADS=1"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time of one step goes")
    options = parser.parse_args()
    device = options.device
    clock = time.perf_counter if options.clock == "wall" else time.process_time

    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}, {device}"
    )
    if device == "cuda":
        print(torch.cuda.get_device_name())
    times: dict[str, float] = {}
    for precision in options.precision.split(","):
        training = Training(options.size, options.rows, options.seconds, device, half=precision == "bf16")
        n = MATRIX[device]
        left, right = torch.randn(2, n, n, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
        training.step()
        torch.mm(left, right)
        if options.profile:
            with torch.profiler.profile(record_shapes=True) as profile:
                training.step()
            print(profile.key_averages().table(sort_by="self_cuda_time_total" if device == "cuda" else "self_cpu_time_total", row_limit=28))
            continue
        steps, products = [], []
        for _ in range(options.repeats):
            products.append(seconds_of(lambda: torch.mm(left, right), device, clock))  # noqa: B023 - called at once
            steps.append(seconds_of(training.step, device, clock))
        times[precision] = statistics.median(steps)
        peak = 2 * n**3 / statistics.median(products)
        achieved = training.flop / times[precision]
        print(
            f"{precision}: {options.rows} rows x {options.seconds:g} s, step {times[precision]:.3f} s ({min(steps):.3f} - {max(steps):.3f}), "
            f"{achieved / 1e12:.3f} TFLOP/s of a product's {peak / 1e12:.3f}: {achieved / peak:.2f} "
            f"({achieved / peak * (1 - training.flop_of_positions / training.flop):.2f} without the positional convolution's); "
            f"{options.rows / times[precision]:.1f} rows/s; loss {training.losses[0]:.3f} -> {training.losses[-1]:.3f}"
        )
    if len(times) == 2:
        print(f"bf16 is {times['fp32'] / times['bf16']:.2f} x as fast as fp32")


if __name__ == "__main__":
    main()
