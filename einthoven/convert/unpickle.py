"""Reads a PyTorch checkpoint (``torch.save``, the zip format of PyTorch 1.6 and later) without executing anything in it.

What is built: tensors, numbers, strings, bytes, lists, tuples, sets, dicts (``OrderedDict`` among them), NumPy scalars (as
Python numbers) and arrays, paths (as strings), and ``argparse.Namespace`` (as a dict). A file that names anything else is
refused (``pickle_reader``). Every size that the file states is compared with the bytes that are there before memory is
taken for it.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from einthoven.errors import CheckpointError
from einthoven.io.pickle_reader import Buildable, hashable, read_pickle

STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


def read_legacy(path: str | Path, *, placeholders: bool = False) -> Any:
    """What a checkpoint holds. Raises CheckpointError, in one line, where it is damaged or names what we refuse to execute.

    placeholders : names that we do not know become inert placeholders (``pickle_reader.Placeholder``, ``Inert``) instead: Lightning's
                   checkpoints name callbacks and hyper-parameters by their classes. Nothing is executed either way
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not head.startswith(b"PK"):
        old = head[:1] == b"\x80"
        reason = "a checkpoint in the format before PyTorch 1.6" if old else "not a PyTorch checkpoint"
        remedy = (
            "load it where you trust it with an older PyTorch and torch.save it again"
            if old
            else "expected a .pt file written by torch.save"
        )
        raise CheckpointError(f"{path}: {reason}; {remedy}")
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive, path.stat().st_size).read(placeholders)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the archive is damaged or truncated ({error}); fetch it again") from error


class _Archive:
    """One open checkpoint: its entries, and how many bytes of tensors have been taken from it."""

    def __init__(self, archive: zipfile.ZipFile, n_bytes: int):
        self.archive, self.left = archive, n_bytes
        self.storages: dict[str, torch.Tensor] = {}
        roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("data.pkl") and name.count("/") <= 1]
        if len(roots) != 1:
            raise CheckpointError("expected one data.pkl in the archive, as torch.save writes it; found " + str(len(roots)))
        self.root = roots[0]

    def read(self, placeholders: bool) -> Any:
        if self.root + "byteorder" in self.archive.namelist() and self.entry("byteorder") != b"little":
            raise CheckpointError("its tensors are big-endian; save it again on a little-endian machine")
        return read_pickle(self.entry("data.pkl"), {**NAMES, **_storage_names()}, self.storage, placeholders=placeholders)

    def entry(self, name: str) -> bytes:
        try:
            info = self.archive.getinfo(self.root + name)
        except KeyError:
            raise CheckpointError(f"the archive lacks its entry {name}; it is damaged") from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"its entry {name} is compressed, which torch.save never does; refused")
        # Entries may overlap in a forged archive, so that a small file unfolds to a large one.
        self.left -= info.file_size
        if self.left < 0:
            raise CheckpointError("its entries together are larger than the file; refused")
        return self.archive.read(info)

    def storage(self, key: Any) -> torch.Tensor:
        """A persistent id ``("storage", type, name, device, n elements)`` -> its elements, (n,)."""
        if not (isinstance(key, tuple) and len(key) == 5 and key[0] == "storage" and isinstance(key[1], torch.dtype)):
            raise CheckpointError("it refers to something beside its storages; refused")
        _, dtype, name, _, n_elements = key
        if not (isinstance(name, str) and name.isdecimal() and isinstance(n_elements, int) and n_elements >= 0):
            raise CheckpointError(f"it has a storage of a strange name or size: {str(name)[:40]!r}, {n_elements!r}")
        if name not in self.storages:
            data = self.entry(f"data/{name}")
            if len(data) != n_elements * dtype.itemsize:
                raise CheckpointError(
                    f"storage {name} has {len(data)} bytes; {n_elements} elements of {dtype} need {n_elements * dtype.itemsize}"
                )
            self.storages[name] = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
        found = self.storages[name]
        if found.dtype != dtype or len(found) != n_elements:
            raise CheckpointError(
                f"storage {name} is named twice, once as {len(found)} of {found.dtype} and once as {n_elements} of {dtype}"
            )
        return found


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """``torch._utils._rebuild_tensor_v2``: a view of a storage, inside which its last element must lie. Not copied: a small
    file can name one storage a million times."""
    numbers = (offset, *size, *stride)
    if not (isinstance(storage, torch.Tensor) and len(size) == len(stride) and len(size) <= 16):
        raise CheckpointError("it has a tensor without a storage, or whose size and strides do not fit each other")
    if not all(isinstance(number, int) and 0 <= number < 2**62 for number in numbers):
        raise CheckpointError(f"it has a tensor of impossible size {tuple(size)!r}, stride {tuple(stride)!r} or offset {offset!r}")
    n_elements = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if n_elements else offset - 1
    if last >= len(storage) or n_elements > len(storage):
        raise CheckpointError(f"it has a tensor of size {tuple(size)} that needs more than the {len(storage)} elements of its storage")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _parameter(data: Any, *_: Any) -> torch.Tensor:
    if not isinstance(data, torch.Tensor):
        raise CheckpointError("it has a parameter that is no tensor")
    return data


class _Dtype(Buildable):
    """``numpy.dtype("f4", False, True)``, whose byte order comes with BUILD."""

    def __init__(self, code: Any = None, *_: Any):
        if not (isinstance(code, str) and re.fullmatch(r"[biufc?][0-9]{0,2}", code)):
            raise CheckpointError(f"it has a NumPy array of type {str(code)[:20]!r}; expected numbers or truth values")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> _Dtype:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])
        return self


def _numpy_scalar(dtype: Any, data: Any = b"") -> int | float | bool | complex:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or len(data) != dtype.dtype.itemsize:
        raise CheckpointError("it has a NumPy number whose bytes do not fit its type")
    return np.frombuffer(data, dtype=dtype.dtype)[0].item()


class _Array(Buildable):
    """``numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")``, whose shape, type and bytes come with BUILD."""

    def __init__(self, *_: Any):
        pass

    def build(self, state: Any) -> np.ndarray:
        _, shape, dtype, fortran, data = state
        return _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not (
        isinstance(dtype, _Dtype)
        and isinstance(data, bytes | bytearray)
        and isinstance(shape, tuple)
        and all(isinstance(n, int) and n >= 0 for n in shape)
    ):
        raise CheckpointError("it has a NumPy array that is not made of numbers")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise CheckpointError(f"it has a NumPy array of shape {shape} and {len(data)} bytes, which do not fit")
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order="F" if order == "F" else "C").copy()


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    """``_codecs.encode(text, "latin1")``: how a pickle of protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("it has bytes in another encoding than Latin-1; refused")
    return text.encode("latin-1")


class _Namespace(Buildable):
    """``argparse.Namespace``, as the dict of its entries."""

    def build(self, state: Any) -> dict:
        return dict(state) if isinstance(state, dict) else {}


def _ordered(items: Any = ()) -> OrderedDict:
    return OrderedDict((hashable(key), value) for key, value in items)


def _set(items: Any = ()) -> set:
    return {hashable(item) for item in items}


def _path(*parts: Any) -> str:
    return str(Path(*(str(part) for part in parts)))


def _size(items: Any = ()) -> tuple:
    return tuple(items)


def _bytes(*nothing: Any) -> bytes:
    """``builtins.bytes()``: how a pickle of protocol 2 writes no bytes."""
    if nothing:
        raise CheckpointError("it makes bytes by a call with arguments; refused")
    return b""


def _storage_names() -> dict[tuple[str, str], Any]:
    return {(module, name): dtype for module in ("torch", "torch.storage") for name, dtype in STORAGES.items()}


NAMES: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _size,
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in STORAGES.values()},
    ("collections", "OrderedDict"): _ordered,
    ("argparse", "Namespace"): _Namespace,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): "ndarray",
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _numpy_scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
    ("_codecs", "encode"): _encode,
    **{(module, "set"): _set for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _bytes for module in ("builtins", "__builtin__")},
    **{
        (module, name): _path
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
}
"""(module, name) in a pickle -> what stands for it here. None of these is the thing that the name means in Python."""
