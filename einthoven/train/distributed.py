"""Which process this is among how many, which device it has, and what the processes tell each other.

Several processes are started by ``torchrun``, on one machine or many (SLURM and Kubernetes alike); without it there is one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from einthoven.errors import RecipeError


@dataclass(frozen=True)
class Place:
    """This process: its rank among ``world``, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, on each of them; in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()

    def tell(self, value: Any) -> Any:
        """The first process's JSON value, on every process (what the others pass is not looked at)."""
        if self.world == 1:
            return value
        text = json.dumps(value).encode() if self.first else b""
        length = torch.tensor([len(text)], dtype=torch.int64, device=self.device)
        dist.broadcast(length, 0)
        letters = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if self.first:
            letters.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(letters, 0)
        return json.loads(bytes(letters.cpu().numpy()))


@contextlib.contextmanager
def processes(device: str = "auto") -> Iterator[Place]:
    """Join the processes that torchrun started (gloo on CPU, nccl on CUDA), and leave them at the end; or be the only one."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)), world)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    started = world > 1 and not dist.is_initialized()
    if started:
        # The first process validates alone, and a validation may take long: the others wait for it.
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(hours=2))
    try:
        yield Place(rank, world, chosen)
        if started:
            dist.barrier()  # nobody leaves while another still talks: gloo aborts a process whose peer has gone
    finally:
        if started:
            dist.destroy_process_group()


def choose_device(name: str, local_rank: int = 0, world: int = 1) -> torch.device:
    """The device that a setting names; auto: CUDA, Apple's GPU, CPU, in this order. One CUDA device per process.

    Raises RecipeError where there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() and world == 1 else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RecipeError(f"device={name} is not a device; expected auto, cpu, cuda, cuda:0 or mps") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise RecipeError(f"device={name}: this torch finds no CUDA device; use device=cpu, or install torch for CUDA")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise RecipeError(
                f"device={name}: there are {torch.cuda.device_count()} CUDA devices, and process {local_rank} wants number {device.index}"
            )
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise RecipeError(f"device={name}: this torch finds no Apple GPU; use device=cpu")
    elif device.type not in ("cpu", "mps"):
        raise RecipeError(f"device={name}: expected auto, cpu, cuda or mps")
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """fp32 or bf16. auto: bf16 where the device multiplies bf16 matrices in hardware (CUDA from Ampere; AMX or AVX512-BF16), else fp32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return "bf16"
    return "fp32"


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """The same numbers from the same run on the same device: on CUDA, deterministic kernels where they exist, and no autotuning."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was[0], warn_only=was[1])
        torch.backends.cudnn.benchmark = was[2]
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
