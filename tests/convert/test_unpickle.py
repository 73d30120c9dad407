"""A checkpoint is read as torch reads it, and a forged one is refused without anything being executed."""

import argparse
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from einthoven.convert.unpickle import read_legacy
from einthoven.errors import CheckpointError


def test_a_checkpoint_is_what_was_saved(tmp_path):
    shared = torch.arange(24, dtype=torch.float32)
    content = {
        "model": OrderedDict(whole=shared.view(4, 6), turned=shared.view(4, 6).T, part=shared[3:7], scalar=torch.tensor(2.5)),
        "kinds": [
            torch.ones(3, dtype=kind) for kind in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
        ],
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "numbers": (1, -(2**70), 2.5, True, None, float("inf")),
        "text": ["é", b"\x00\xff", b"", "x" * 300],
        "containers": {1: {"a", "b"}, (1, "b"): [[], {}, ()]},
        "size": torch.Size([2, 3]),
        "path": Path("manifest") / "cmsc",
        "dtype": torch.float32,
    }
    torch.save(content, tmp_path / "a.pt")
    read = read_legacy(tmp_path / "a.pt")
    for name, tensor in content["model"].items():
        assert torch.equal(read["model"][name], tensor)
    for ours, theirs in zip(read["kinds"], content["kinds"], strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    assert read["empty"].shape == (0, 3) and torch.equal(read["parameter"], torch.ones(2))
    assert {name: read[name] for name in ("numbers", "text", "containers")} == {
        name: content[name] for name in ("numbers", "text", "containers")
    }
    assert read["size"] == (2, 3) and read["path"] == str(Path("manifest/cmsc")) and read["dtype"] is torch.float32


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy_values_and_old_arguments_are_read_under_every_protocol(tmp_path, protocol):
    array = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    content = {
        "scalars": [np.float64(1.5), np.int64(-3), np.bool_(True), np.float32(0.1)],
        "arrays": [array, array, np.arange(4, dtype=np.int32), np.zeros((0, 2))],
        "args": argparse.Namespace(lr=[5e-5], arch="wav2vec2"),
    }
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    read = read_legacy(tmp_path / "a.pt")
    assert read["scalars"] == [1.5, -3, True, float(np.float32(0.1))] and read["args"] == {"lr": [5e-5], "arch": "wav2vec2"}
    for ours, theirs in zip(read["arrays"], content["arrays"], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["pretrained", "pretrained_legacy_keys", "finetuned"])
def test_a_genuine_checkpoint_is_what_torch_reads_when_it_trusts_the_file(parity_root, name):
    path = parity_root / "fairseq_signals" / "checkpoints" / f"{name}.pt"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the golden values")
    scalar, rebuild = np._core.multiarray.scalar, np._core.multiarray._reconstruct
    old_names = [(scalar, "numpy.core.multiarray.scalar"), (rebuild, "numpy.core.multiarray._reconstruct")]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    with torch.serialization.safe_globals([np.dtype, np.ndarray, scalar, rebuild, *old_names, *kinds]):
        theirs = torch.load(path, weights_only=True)
    ours = read_legacy(path)
    assert_same(ours, theirs)


def assert_same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for one, two in zip(ours, theirs):
            assert_same(one, two)
    else:
        np.testing.assert_array_equal(ours, theirs)


class Payload:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def touched(tmp_path: Path) -> Path:
    return tmp_path / "executed"


PAYLOADS = {
    "os.system": lambda path: Payload(os.system, f"touch {path}"),
    "builtins.eval": lambda path: Payload(eval, f"open({str(path)!r}, 'w')"),
    "builtins.exec": lambda path: Payload(exec, f"open({str(path)!r}, 'w')"),
    "builtins.open": lambda path: Payload(open, str(path), "w"),
    "builtins.getattr": lambda path: Payload(getattr, "x", "upper"),
    "pathlib._local.Path.touch or alike": lambda path: Payload(Path.touch, path),
    "torch.load": lambda path: Payload(torch.load, str(path)),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("where", ["top", "model", "inside a numpy array", "as a key's value"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_malicious_pickle_is_refused_by_name_and_nothing_runs(tmp_path, name, where, protocol):
    payload = PAYLOADS[name](touched(tmp_path))
    array = np.empty(1, dtype=object)
    array[0] = payload
    content = {
        "top": payload,
        "model": {"model": {"w": payload}},
        "inside a numpy array": {"extra_state": array},
        "as a key's value": [{"a": (payload,)}],
    }[where]
    torch.save(content, tmp_path / "evil.pt", pickle_protocol=protocol)
    with pytest.raises(CheckpointError) as refusal:
        read_legacy(tmp_path / "evil.pt")
    message = str(refusal.value)
    assert "refused, nothing was executed" in message or "expected numbers" in message
    assert "\n" not in message and str(tmp_path / "evil.pt") in message
    assert not touched(tmp_path).exists()


def test_the_refusal_names_what_was_asked_for(tmp_path):
    torch.save(PAYLOADS["os.system"](touched(tmp_path)), tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=rf"{os.system.__module__}\.system"):
        read_legacy(tmp_path / "evil.pt")


def forged(path: Path, data: bytes, storages: dict[str, bytes] | None = None, compress=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        for name, content in (storages or {}).items():
            archive.writestr(f"archive/data/{name}", content)
    return path


def tensor_pickle(n_elements: int, size: tuple, stride: tuple, offset: int = 0, kind: str = "FloatStorage") -> bytes:
    """What torch writes for one tensor, with any numbers in it."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, obj):
            return self.key if isinstance(obj, Storage) else None

    class Name:
        def __init__(self, name):
            self.name = name

        def __reduce__(self):
            return f"{self.name}"

    buffer = io.BytesIO()
    pickler = Pickler(buffer, protocol=2)

    def save_name(self, obj):
        self.write(b"c" + obj.name.encode() + b"\n")

    pickler.dispatch = {**pickle._Pickler.dispatch, Name: save_name}
    pickler.key = ("storage", Name(f"torch\n{kind}"), "0", "cpu", n_elements)
    arguments = (Storage(), offset, size, stride, False, OrderedDict())
    pickler.write(pickle.PROTO + b"\x02")
    pickler.save(Name("torch._utils\n_rebuild_tensor_v2"))
    pickler.save(arguments)
    pickler.write(pickle.REDUCE + pickle.STOP)
    return buffer.getvalue()


def test_a_forged_tensor_that_is_in_order_is_read(tmp_path):
    """So that the refusals below are about what is wrong in them."""
    path = forged(tmp_path / "a.pt", tensor_pickle(6, (2, 3), (3, 1)), {"0": np.arange(6, dtype=np.float32).tobytes()})
    assert torch.equal(read_legacy(path), torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_elements": 6, "size": (2, 4), "stride": (4, 1)},
        {"n_elements": 6, "size": (2, 3), "stride": (3, 1), "offset": 1},
        {"n_elements": 6, "size": (2, 3), "stride": (3, 1), "offset": -1},
        {"n_elements": 6, "size": (2, 3), "stride": (-3, 1)},
        {"n_elements": 6, "size": (10**12,), "stride": (0,)},
        {"n_elements": 6, "size": (2**61, 8), "stride": (0, 0)},
        {"n_elements": 7, "size": (2, 3), "stride": (3, 1)},
        {"n_elements": 10**15, "size": (10**15,), "stride": (1,)},
        {"n_elements": 6, "size": (2, 3), "stride": (3,)},
        {"n_elements": 6, "size": (6,), "stride": (1,), "kind": "DoubleStorage"},
    ],
)
def test_sizes_that_do_not_fit_the_bytes_are_refused_before_memory_is_taken(tmp_path, arguments):
    path = forged(tmp_path / "a.pt", tensor_pickle(**arguments), {"0": bytes(24)})
    with pytest.raises(CheckpointError, match=r"a\.pt: "):
        read_legacy(path)


def test_a_compressed_entry_and_overlapping_entries_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="compressed"):
        read_legacy(forged(tmp_path / "bomb.pt", tensor_pickle(10**7, (10**7,), (1,)), {"0": bytes(4 * 10**7)}, zipfile.ZIP_DEFLATED))
    whole = forged(tmp_path / "a.pt", pickle.dumps([1], 2), {"0": bytes(1000), "1": bytes(1000)}).read_bytes()
    first, second = (whole.index(b"archive/data/" + name, whole.index(b"PK\x01\x02")) for name in (b"0", b"1"))
    same = bytearray(whole)
    same[second - 4 : second] = whole[first - 4 : first]  # the second entry's local header is now the first one's
    (tmp_path / "b.pt").write_bytes(bytes(same))
    assert read_legacy(tmp_path / "b.pt") == [1]  # what is not asked for does no harm


@pytest.mark.parametrize(
    "data, message",
    [
        (b"\x80\x02]q\x00.", None),
        (b"", "damaged"),
        (pickle.dumps({"a": 1}, 2)[:-1], "no end|damaged"),
        (b"\x80\x02K\x01K\x02.", "2 values"),
        (b"\x80\x02(.", "1 values"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b".", "damaged"),
        (b"\x80\x02X" + struct.pack("<I", 2**31) + b"abc.", "damaged"),
        (b"(S'rm'\nios\nsystem\n.", "operation INST"),
        (b"\x80\x02K\x01d.", "damaged"),
        (b"\x80\x02}K\x01K\x02\x86" + b"2\x86" * 90 + b"K\x01s.", "cannot be a key"),
    ],
)
def test_forged_opcodes_are_refused_in_one_line(tmp_path, data, message):
    path = forged(tmp_path / "a.pt", data)
    if message is None:
        assert read_legacy(path) == []
        return
    with pytest.raises(CheckpointError, match=message) as refusal:
        read_legacy(path)
    assert "\n" not in str(refusal.value)


def test_every_single_damaged_byte_of_the_structure_is_read_or_refused_and_never_anything_else(tmp_path):
    torch.save({"a": torch.ones(2), "b": np.float64(2), "c": argparse.Namespace(x=1)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        data = archive.read("a/data.pkl") if "a/data.pkl" in archive.namelist() else archive.read("archive/data.pkl")
    generator, refused = np.random.default_rng(0), 0
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] = int(generator.integers(256))
        try:
            read_legacy(forged(tmp_path / "b.pt", bytes(broken), {"0": bytes(8)}))
        except CheckpointError:
            refused += 1
    assert refused > len(data) / 4


def test_other_files_are_refused_with_what_they_are(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before PyTorch 1\.6"):
        read_legacy(tmp_path / "old.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        read_legacy(tmp_path / "text.pt")
    with pytest.raises(CheckpointError, match="No such file"):
        read_legacy(tmp_path / "none.pt")
    torch.save({"a": torch.ones(2000)}, tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:4000])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_legacy(tmp_path / "half.pt")
