"""Finds the golden cases of the old systems, so that the tests run on whatever cases the folder holds."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "parity"
ROOT = Path(os.environ.get("EINTHOVEN_PARITY") or SHARED)


@dataclass(frozen=True)
class Case:
    """One `<variant>.*` group of a kind's folder: configuration, inputs and outputs, weights."""

    folder: Path
    name: str

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"

    def has(self, suffix: str) -> bool:
        return self.path(suffix).exists()

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads(self.path("config.json").read_text())

    @cached_property
    def expect(self) -> dict[str, Any]:
        return json.loads(self.path("expect.json").read_text())

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path("io.npz"), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def tensors(self, suffix: str) -> dict[str, Any]:
        """A file of plain tensors by name: ``state.pt``, ``grads.pt``, ``final_state.pt``."""
        import torch

        return torch.load(self.path(suffix), weights_only=True)

    @property
    def state(self) -> dict[str, Any]:
        return self.tensors("state.pt")

    @property
    def grads(self) -> dict[str, Any]:
        return self.tensors("grads.pt")


def variants(kind: str) -> list[Case]:
    folder = ROOT / "fairseq_signals" / kind
    names = (
        {path.name.split(".")[0] for path in folder.iterdir() if path.is_file() and path.name != "README.md"} if folder.is_dir() else set()
    )
    return [Case(folder, name) for name in sorted(names)]


def cases(kind: str) -> list:
    """A pytest parameter per case of a kind; one that is skipped, visibly, where the folder is not there."""
    if not (ROOT / "fairseq_signals").is_dir():
        return [pytest.param(None, id=kind, marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")])]
    return [pytest.param(case, id=case.name, marks=pytest.mark.parity) for case in variants(kind)]


@dataclass(frozen=True)
class SslCase:
    """One case folder of ecg-selfsupervised or of the PTB-XL benchmark: configuration, inputs and outputs, weights."""

    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder.relative_to(ROOT / "ecg_selfsupervised"))

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text())

    def npz(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / name, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        return self.npz("io.npz")

    @cached_property
    def state(self) -> dict[str, np.ndarray]:
        return self.npz("state_dict.npz")


def ssl_kind(config: Path) -> str:
    """``kind`` in config.json; a network alone has its ``builder`` there, anything else goes by its folder's name."""
    stated = json.loads(config.read_text())
    return stated.get("kind") or ("model_forward" if "builder" in stated else config.parent.name)


def ssl_cases(kind: str) -> list:
    """A pytest parameter per case of a kind, at any depth; one that is skipped, visibly, where the folder is not there."""
    root = ROOT / "ecg_selfsupervised"
    if not root.is_dir():
        return [pytest.param(None, id=kind, marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")])]
    found = [SslCase(path.parent) for path in sorted(root.rglob("config.json")) if ssl_kind(path) == kind]
    return [pytest.param(case, id=case.name, marks=pytest.mark.parity) for case in found]


def manifest(name: str) -> dict[str, Any]:
    """A table of ecg_selfsupervised/manifest; the test is skipped, visibly, where it is not there."""
    path = ROOT / "ecg_selfsupervised" / "manifest" / name
    if not path.exists():
        pytest.skip(f"no {name} among the golden values: set EINTHOVEN_PARITY")
    return json.loads(path.read_text())
