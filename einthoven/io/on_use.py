"""Functions that are imported when they are first used: who reads one WFDB file need not load eighteen readers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class OnUse:
    """A function of a module of einthoven.io, by their names; called, and asked for its signature, like the function itself."""

    module: str
    name: str

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(import_module(f"einthoven.io.{self.module}"), self.name)(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(getattr(import_module(f"einthoven.io.{self.module}"), self.name))
