"""Everything that has to be shown on a GPU, in one go: for a machine with a GPU, Python 3.12 and a torch of its own, and perhaps no network.

    python benchmarks/device.py wheels wheels/         # where there is a network: the packages that a bare machine with torch lacks
    python benchmarks/device.py run --wheels wheels/   # there; 10 to 20 minutes; --parts step share …: some of it
    python benchmarks/device.py run --device cpu --quick   # here: whether the script itself is in order

| part | what is shown |
| --- | --- |
| agree | every encoder gives the same frames and gradients on the device as on the CPU, in fp32 |
| resume | every objective: a run that was broken off and resumed ends with the bytes of one that was not, in the device's precision |
| processes | every objective: two processes have the losses of one (NCCL with two GPUs or more; gloo where they share one device) |
| step | benchmarks/training_step.py: FLOP/s of the base model's step over those of a matrix product |
| share | benchmarks/objectives.py: share of a step outside the encoder, rows/s, peak memory, for every objective |
| grid | the same for 3 encoders x 3 objectives on one batch |

Each part is a process of its own; one that fails does not stop the others, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NEEDED = ("numpy", "pydantic", "safetensors", "PyYAML")
"""What the measurements import, beside torch."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
STEPS, BREAK_OFF = 6, 4


# -------------------------------------------------------------------------------------------------- a bare machine


def fetch_wheels(folder: Path, python: str) -> None:
    """Download NEEDED and what it needs, for Linux on x86-64 and that Python."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    asked = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *asked, "-d", str(folder), *NEEDED], check=True)
    names = sorted(folder.glob("*.whl"))
    print("\n".join(name.name for name in names))
    print(f"{sum(name.stat().st_size for name in names) / 2**20:.0f} MiB in {folder}")


def lacking() -> list[str]:
    """Of NEEDED, what this Python has not."""
    absent = []
    for name in NEEDED:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    return absent


def install(wheels: Path | None, site: Path) -> None:
    """Put what is lacking into ``site``, from the wheels alone. Exits with what to do where there are none."""
    absent = lacking()
    if not absent:
        return
    if wheels is None:
        raise SystemExit(
            f"{', '.join(absent)}: not installed here; install them, or fetch them with `device.py wheels FOLDER` and give --wheels FOLDER"
        )
    asked = ["--no-index", "--find-links", str(wheels), "--no-cache-dir", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *asked, *absent], check=True)


# -------------------------------------------------------------------------------------------------- agree


def agree(device: str) -> None:
    """Frames and the gradient of their mean square, of each encoder's smallest variant, here and on the CPU."""
    import torch

    from einthoven.models import ENCODERS, PRESETS

    torch.backends.cudnn.allow_tf32 = False
    worst: dict[str, tuple[str, float, float]] = {}
    for preset, (name, options) in PRESETS.items():
        if name in worst and not preset.endswith(("tiny", "small")):
            continue
        torch.manual_seed(0)
        encoder = ENCODERS[name](**options).eval()
        for recurrent in (part for part in encoder.modules() if isinstance(part, torch.nn.RNNBase)):
            recurrent.dropout = 0.0
            recurrent.train()  # cuDNN goes backward through one in training mode alone
        ecg, found = torch.randn(2, 12, 1000), []
        for place in ("cpu", device):
            encoder = encoder.to(place)
            encoder.zero_grad()
            frames = encoder(ecg.to(place))
            frames.square().mean().backward()
            gradients = [weight.grad.flatten() for weight in encoder.parameters() if weight.grad is not None]
            found.append((frames.detach().cpu(), torch.cat(gradients).cpu()))
        of_frames, of_gradients = (float((there - here).norm() / here.norm().clamp(min=1e-12)) for here, there in zip(*found, strict=True))
        worst[name] = (preset, of_frames, of_gradients)
    print("| encoder | variant | frames differ by | gradients differ by |\n| --- | --- | --- | --- |")
    for name, (preset, of_frames, of_gradients) in worst.items():
        print(f"| {name} | {preset} | {of_frames:.1e} | {of_gradients:.1e} |")
    if far := [name for name, (_, *differences) in worst.items() if not max(differences) < 1e-3]:
        raise SystemExit(f"on {device} and on the CPU not the same: {', '.join(far)}")


# -------------------------------------------------------------------------------------------------- resume, processes


class Noise:
    """A view of noise for an objective: items of one row, or of two; asked for the ``broken_off``-th time it raises KeyboardInterrupt."""

    def __init__(self, pairs: bool, n_time: int, broken_off: int = -1):
        import numpy as np

        self.per_item, self.n_time, self.broken_off, self.n_asked = 2 if pairs else 1, n_time, broken_off, 0
        self.counts = np.random.default_rng(1).integers(-1000, 1000, (64, 12, n_time)).astype(np.int16)

    def __len__(self) -> int:
        return len(self.counts) // self.per_item

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        import numpy as np

        if self.n_asked == self.broken_off:
            raise KeyboardInterrupt
        self.n_asked += 1
        items = np.asarray(indices)
        rows = (items[:, None] * self.per_item + np.arange(self.per_item)).ravel()
        n, person = len(rows), np.repeat(items, self.per_item)
        return {
            "counts": self.counts[rows],
            "gain": np.full((n, 12), 0.001, np.float32),
            "offset": np.zeros((n, 12), np.float32),
            "scale": np.ones((n, 12), np.float32),
            "n_valid": np.full(n, self.n_time),
            "lead_present": np.ones((n, 12), bool),
            "patient": person,
            "record": person,
            "segment": np.tile(np.arange(self.per_item), len(items)),
        }


def train(name: str, device: str, precision: str, folder: Path, *, broken_off: int = -1, resume: bool = False) -> None:
    """Six updates of one objective on its small encoder, as the training loop makes them."""
    import torch
    from objectives import CASES, QUICK

    from einthoven.recipes import recipe as named
    from einthoven.recipes.build import build_augmentations, build_encoder, build_objective
    from einthoven.signal.contract import SignalContract
    from einthoven.train.loop import fit
    from einthoven.train.settings import Optim, Settings

    torch.backends.cudnn.allow_tf32 = False  # or convolutions of fp32 are not, and halves of a batch differ from the whole
    case = CASES[name]
    small = ("objective.queue=64", "objective.prototypes=20", "objective.queue_from=0") if name == "swav" else case.changes
    recipe: Any = named(case.recipe, [f"encoder={QUICK[case.encoder]}", *small])
    torch.manual_seed(1)
    encoder, _ = build_encoder(recipe, SignalContract(fs=case.fs, leads=recipe.leads, scaling="none", seconds=recipe.seconds))
    objective = build_objective(recipe, encoder)
    augment = build_augmentations(recipe, encoder).steps if recipe.augment and objective.n_views == 1 else ()
    settings = Settings(
        steps=STEPS, batch=8, save_every=2, log_every=1, keep=3, device=device, precision=precision, optim=Optim(lr=1e-4)
    )  # fmt: skip
    view = Noise(objective.view == "pairs", round(recipe.seconds * case.fs), broken_off)
    fit(objective, view, settings, folder, augment=augment, progress=False, resume=resume)


def same_bytes(one: Path, other: Path) -> bool:
    last = Path("checkpoints") / f"step-{STEPS:08d}"
    files = sorted(path.name for path in (one / last).glob("*.safetensors"))
    return bool(files) and all((one / last / file).read_bytes() == (other / last / file).read_bytes() for file in files)


def resume(device: str) -> None:
    from objectives import CASES

    different = []
    for name in CASES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            train(name, device, "auto", folder / "straight")
            try:
                train(name, device, "auto", folder / "resumed", broken_off=BREAK_OFF)
            except KeyboardInterrupt:
                train(name, device, "auto", folder / "resumed", resume=True)
            same = same_bytes(folder / "straight", folder / "resumed")
        print(f"{name}: {'the same bytes' if same else 'DIFFERENT'}", flush=True)
        different += [] if same else [name]
    if different:
        raise SystemExit(f"resumed and not the same: {', '.join(different)}")


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line][:STEPS]


def one_of_two(rank: int, names: list[str], device: str, shared: bool, folder: str) -> None:
    """A process of two; on a device that they share they talk by gloo, which NCCL refuses to do."""
    import torch
    import torch.distributed as dist

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    if device == "cuda":
        torch.cuda.set_device(0 if shared else rank)
    dist.init_process_group("gloo" if shared else "nccl", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    place = "cuda:0" if device == "cuda" and shared else device
    for name in names:
        train(name, place, "fp32", Path(folder) / f"{name}-two")
    dist.barrier()
    dist.destroy_process_group()


def processes(device: str) -> None:
    import torch
    from objectives import CASES

    shared = device == "cpu" or torch.cuda.device_count() < 2
    names, far = list(CASES), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        torch.multiprocessing.spawn(one_of_two, args=(names, device, shared, place), nprocs=2)
        for name in names:
            train(name, device, "fp32", folder / f"{name}-one")
            one, two = losses(folder / f"{name}-one"), losses(folder / f"{name}-two")
            apart = [abs(a - b) / max(abs(a), 1e-12) for a, b in zip(one, two, strict=True)]
            print(f"{name}: losses differ by {apart[0]:.1e} at first, {max(apart):.1e} at most, of {one[0]:.4g}", flush=True)
            far += [] if apart[0] < 1e-4 else [name]
    print(f"two processes, {'one device, gloo' if shared else 'two devices, nccl'}")
    if far:
        raise SystemExit(f"two processes and one do not agree: {', '.join(far)}")


# -------------------------------------------------------------------------------------------------- all of it


def commands(device: str, quick: bool) -> dict[str, list[str]]:
    """Part -> the command that makes it, without the Python before it."""
    here = {name: [str(HERE / "device.py"), "part", name, "--device", device] for name in ("agree", "resume", "processes")}
    step = ["--rows", "2", "--seconds", "1", "--repeats", "1"] if quick else ["--rows", "128" if device == "cuda" else "8"]
    some = ["--quick"] if quick else []
    return {
        **here,
        "step": [str(HERE / "training_step.py"), "--device", device, *step],
        "share": [str(HERE / "objectives.py"), "--device", device, *some],
        "grid": [str(HERE / "objectives.py"), "--device", device, "--grid", *some],
    }


def run(options: argparse.Namespace) -> None:
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this torch finds no CUDA device; give --device cpu --quick to see whether the script runs")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(
        f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}, {platform.platform()}", flush=True
    )
    with tempfile.TemporaryDirectory() as site:
        install(options.wheels, Path(site))
        paths = [str(HERE.parent), site, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUNBUFFERED": "1"}
        outcomes = {}
        for part, command in commands(options.device, options.quick).items():
            if options.parts and part not in options.parts:
                continue
            print(f"\n## {part}\n", flush=True)
            begun = time.monotonic()
            status = subprocess.run([sys.executable, *command], env=environment, check=False).returncode
            outcomes[part] = status
            print(
                f"\n{part}: {'done' if status == 0 else f'FAILED (exit status {status})'} in {time.monotonic() - begun:.0f} s", flush=True
            )
    failed = [part for part, status in outcomes.items() if status]
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} parts done" + (f"; failed: {', '.join(failed)}" if failed else ""))
    raise SystemExit(1 if failed else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    fetch = verbs.add_parser("wheels", help="download what a bare machine lacks")
    fetch.add_argument("folder", type=Path)
    fetch.add_argument("--python", default="3.12", help="the Python there (3.12)")
    whole = verbs.add_parser("run", help="all parts, one after the other")
    whole.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    whole.add_argument("--wheels", type=Path, help="folder with the wheels of what is not installed")
    whole.add_argument("--parts", nargs="+", choices=list(commands("cpu", False)), help="some of them")
    whole.add_argument("--quick", action="store_true", help="small encoders, one repeat: whether it runs")
    part = verbs.add_parser("part", help="one part, in this process")
    part.add_argument("name", choices=["agree", "resume", "processes"])
    part.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    options = parser.parse_args()
    if options.verb == "wheels":
        fetch_wheels(options.folder, options.python)
    elif options.verb == "run":
        run(options)
    else:
        {"agree": agree, "resume": resume, "processes": processes}[options.name](options.device)


if __name__ == "__main__":
    main()
