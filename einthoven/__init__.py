"""Einthoven: self-supervised learning on the electrocardiogram, from raw files to an answer one can check.

>>> record = einthoven.read("A0001.hea")          # any format we know, found by content
>>> store = einthoven.Store("stores/ptbxl")       # recordings that were read, checked and converted once
>>> model = einthoven.Model.from_pretrained("runs/diagnosis")
>>> model.predict(record)

Importing this module imports neither torch nor anything else that is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Model", "Record", "Store", "read"]

if TYPE_CHECKING:
    from einthoven.infer.model import Model
    from einthoven.io import read
    from einthoven.record import Record
    from einthoven.store.read import Store

_HOME = {"Model": "einthoven.infer.model", "Record": "einthoven.record", "Store": "einthoven.store.read", "read": "einthoven.io"}


def __getattr__(name: str):
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'einthoven' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
