from __future__ import annotations

import functools
import http.server
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fake_corpus import Corpus
from fsspec.implementations.local import LocalFileSystem

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store import transfer
from einthoven.store.cache import Cache
from einthoven.store.layout import shard_bytes, store_location
from einthoven.store.read import Store
from einthoven.store.split import assign
from einthoven.store.views import Segments


class Far(LocalFileSystem):
    """``far://`` is a folder of this machine behind a wire that counts, fails as it is told, and cuts what it sends."""

    protocol = "far"
    cachable = False
    asked: list[str] = []
    failing: list[Exception] = []
    cut = 0
    on_file = None

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._answer(f"{Path(path).name} {start} {end}")
        return super().cat_file(path, start=start, end=end, **kwargs)

    def get_file(self, path1, path2, **kwargs):
        self._answer(Path(path1).name)
        content = Path(path1).read_bytes()
        if Far.cut:
            Far.cut -= 1
            content = content[: len(content) // 2]
        Path(path2).write_bytes(content)
        if Far.on_file is not None:
            Far.on_file(path1)

    def _answer(self, what):
        Far.asked.append(what)
        if Far.failing:
            raise Far.failing.pop(0)


@pytest.fixture(autouse=True)
def wire(monkeypatch):
    fsspec.register_implementation("far", Far, clobber=True)
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.001)
    Far.asked, Far.failing, Far.cut, Far.on_file = [], [], 0, None
    return Far


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    ingest(Corpus(), folder, folder / "heart", shard_records=7, workers=1)
    return Store(folder / "heart")


@pytest.fixture
def url(local):
    return f"far://{local.path}"


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 10**9)


def shards_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/shards/[0-9]*.npy"))


def same_signals(store: Store, local: Store) -> None:
    for row in range(len(local)):
        np.testing.assert_array_equal(store.counts(row), local.counts(row))
        assert repr(store.record(row)) == repr(local.record(row))


# -------------------------------------------------------------------------------------------------------------------- names


def test_a_location_is_a_folder_or_a_url_also_after_it_went_through_path():
    assert store_location("stores/ptbxl") == Path("stores/ptbxl")
    assert store_location("C:/stores") == Path("C:/stores")
    for text in ("s3://bucket/a/store", "gs://bucket/store", "memory://store", "https://host:80/store", "file:///data/store"):
        assert store_location(text) == text
        assert store_location(Path(text)) == text
        assert store_location(text + "/") == text


def test_a_store_at_a_url_is_not_written_to():
    with pytest.raises(StoreError, match="memory://store: cannot be split in an object store"):
        assign("memory://store", ["train"])


# ------------------------------------------------------------------------------------------------------------------ reading


def test_from_a_store_in_memory_everything_reads_as_from_the_folder(local, cache):
    memory = fsspec.filesystem("memory")
    memory.put(str(local.path), "/lake/heart", recursive=True)
    try:
        store = Store("memory://lake/heart", cache=cache)
        assert store.path.name == "heart" and (store.path / "records.parquet").is_file() and "memory://lake/heart" in repr(store)
        assert store.column("record").tolist() == local.column("record").tolist() and store.facts == local.facts
        same_signals(store, local)
        there, here = (Segments(one, seconds=2.0).__getitems__(np.arange(40)) for one in (store, local))
        np.testing.assert_array_equal(there["counts"], here["counts"])
        same_signals(Store("memory://lake/heart", "pread", cache=cache), local)
    finally:
        memory.rm("/lake", recursive=True)


def test_a_plain_web_server_will_do(local, cache):
    pytest.importorskip("aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(local.path.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        store = Store(f"http://127.0.0.1:{server.server_port}/heart", cache=cache)
        same_signals(store, local)
        with pytest.raises(StoreError, match="there is no store at http"):
            Store(f"http://127.0.0.1:{server.server_port}/lungs", cache=cache)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_opening_fetches_the_table_once_and_no_shard_and_a_shard_comes_once(url, local, cache):
    store = Store(url, cache=cache)
    assert sorted(Far.asked) == ["records.parquet", "rejected.csv", "store.json None None"]
    store.shard(0)
    store.shard(0)
    Store(url, cache=cache).shard(0)
    assert Far.asked.count("00000.npy") == 1 and Far.asked.count("records.parquet") == 1
    assert len(shards_in(cache.folder)) == 1


def test_one_recording_of_a_shard_that_is_not_here_comes_alone_and_many_bring_the_shard(tmp_path, cache, monkeypatch):
    ingest(Corpus(), tmp_path, tmp_path / "heart", shard_records=60, workers=1)
    local, store = Store(tmp_path / "heart"), Store(f"far://{tmp_path}/heart", cache=cache)
    n = local.counts(30).size
    np.testing.assert_array_equal(store.counts(30), local.counts(30))
    first = shard_bytes(int(local.column("offset")[30]))
    assert Far.asked[-1] == f"00000.npy {first} {first + 2 * n}" and not shards_in(cache.folder)
    for row in range(10):
        np.testing.assert_array_equal(store.counts(row), local.counts(row))
    assert len(shards_in(cache.folder)) == 1 and Far.asked.count("00000.npy") == 1
    assert len([one for one in Far.asked if one.startswith("00000.npy ")]) < 6


def test_the_cache_stays_within_its_bytes_and_the_longest_unused_goes_first(url, local, tmp_path):
    sizes = [shard_bytes(n) for n in local.facts["shards"]]
    cache = Cache(tmp_path / "cache", max(sizes) * 3)
    store = Store(url, cache=cache)
    for shard in (0, 1):
        store.remote.shard(shard, local.facts["shards"][shard])
        time.sleep(0.02)
    store.remote.shard(0, local.facts["shards"][0])  # used again
    for shard in range(2, 9):
        time.sleep(0.02)
        store.remote.shard(0, local.facts["shards"][0])
        time.sleep(0.02)
        store.remote.shard(shard, local.facts["shards"][shard])
        assert sum(path.stat().st_size for path in shards_in(cache.folder)) <= cache.n_bytes
    assert shards_in(cache.folder)[0].name.startswith("00000")
    assert Far.asked.count("00000.npy") == 1
    same_signals(store, local)
    assert sum(sizes[number] for number in store.shards.open) <= cache.n_bytes  # open ones hold room, too
    with pytest.raises(StoreError, match="set EINTHOVEN_CACHE_GB"):
        Store(url, cache=Cache(tmp_path / "tiny", 1000)).shard(0)


def test_the_next_shards_come_meanwhile(url, local, tmp_path):
    store = Store(url, cache=Cache(tmp_path / "cache", 10**9, read_ahead=2))
    store.shard(3)
    for _ in range(200):
        if len(shards_in(tmp_path / "cache")) == 3:
            break
        time.sleep(0.01)
    assert [path.name[:5] for path in shards_in(tmp_path / "cache")] == ["00003", "00004", "00005"]
    np.testing.assert_array_equal(store.shard(4), local.shard(4))
    assert Far.asked.count("00004.npy") == 1


def test_a_store_that_was_put_there_anew_or_grew_is_seen_at_the_next_opening(local, tmp_path, cache):
    path = shutil.copytree(local.path, tmp_path / "heart")
    old = Store(f"far://{path}", cache=cache)
    old.shard(0)
    ingest(Corpus(n=20), tmp_path / "more", path, append=True, workers=1, name="more")
    new = Store(f"far://{path}", cache=cache)
    assert len(new) > len(old) == len(local)
    np.testing.assert_array_equal(new.counts(len(local)), Store(path).counts(len(local)))
    new.shard(0)
    assert Far.asked.count("00000.npy") == 1
    same_signals(old, local)
    shutil.rmtree(path)
    ingest(Corpus(n=20), tmp_path, path, fs=250, workers=1)
    same_signals(Store(f"far://{path}", cache=cache), Store(path))


def read_all(store: Store) -> int:
    fsspec.register_implementation("far", Far, clobber=True)
    return int(sum(int(store.shard(number).astype(np.int64).sum()) for number in range(len(store.facts["shards"]))))


def test_it_goes_into_other_processes_which_share_the_cache(url, local, cache):
    store = Store(url, cache=cache)
    store.shard(1)
    assert len(pickle.dumps(store)) < 50_000
    expected = read_all(local)
    import multiprocessing

    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
        assert [one.result() for one in [pool.submit(read_all, store) for _ in range(3)]] == [expected] * 3
    assert len(shards_in(cache.folder)) == len(local.facts["shards"])
    shutil.rmtree(cache.folder)  # arrived on another machine
    same_signals(pickle.loads(pickle.dumps(store)), local)


def test_a_process_that_was_forked_while_shards_were_coming_does_not_wait_for_the_other_s_threads(url, local, tmp_path):
    import multiprocessing

    store = Store(url, cache=Cache(tmp_path / "cache", 10**9, read_ahead=1))
    store.shard(0)
    store.remote._coming[5] = Future()  # under way in a thread of the parent's
    process = multiprocessing.get_context("fork").Process(target=read_all, args=(store,))
    process.start()
    process.join(20)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()
    assert len(shards_in(tmp_path / "cache")) == len(local.facts["shards"])


# ------------------------------------------------------------------------------------------------------------ when it fails


def test_what_passes_is_tried_again(url, local, cache):
    Far.failing = [ConnectionResetError("reset"), TimeoutError("slow")]
    store = Store(url, cache=cache)
    Far.failing = [OSError("503 slow down")] * 3
    np.testing.assert_array_equal(store.shard(0), local.shard(0))
    Far.cut = 2  # two answers end in the middle
    np.testing.assert_array_equal(store.shard(1), local.shard(1))
    Far.failing = [RuntimeError("of some client")] * 4
    with pytest.raises(StoreError, match=r"00002.npy could not be read in 4 tries \(RuntimeError: of some client\)"):
        store.shard(2)
    Far.cut = 4
    with pytest.raises(StoreError, match=r"bytes where .* were written"):
        store.shard(2)
    assert not list(cache.folder.glob("*/shards/.*"))


class NoCredentialsError(Exception):
    """As botocore calls it."""


@pytest.mark.parametrize("error", [PermissionError("403"), NoCredentialsError("Unable to locate credentials")])
def test_missing_rights_are_said_at_once(error, url, cache):
    Far.failing = [error]
    with pytest.raises(StoreError, match=r"may not be read .*give credentials"):
        Store(url, cache=cache)
    assert len(Far.asked) == 1


def test_what_is_not_there_is_said(url, local, tmp_path, cache, monkeypatch):
    with pytest.raises(StoreError, match=r"there is no store at far:///nowhere/at/all \(no store.json, or no such bucket\)"):
        Store("far:///nowhere/at/all", cache=cache)
    with pytest.raises(StoreError, match="expected s3://, gs:// or another protocol"):
        Store("fax://bucket/store", cache=cache)
    path = shutil.copytree(local.path, tmp_path / "heart")
    (path / "shards" / "00003.npy").unlink()
    with pytest.raises(StoreError, match=r"lacks its shard 00003\.npy"):
        Store(f"far://{path}", cache=cache)
    (path / "shards" / "00003.npy").write_bytes(b"short")
    with pytest.raises(StoreError, match=r"00003.npy has 5 bytes where \d+ were written"):
        Store(f"far://{path}", cache=cache)
    (path / "store.json").write_text("[]")
    with pytest.raises(StoreError, match="does not belong to a store of einthoven"):
        Store(f"far://{path}", cache=cache)
    with pytest.raises(StoreError, match="needs no cache"):
        Store(local.path, cache=cache)


@pytest.mark.parametrize(("protocol", "extra"), [("s3", "einthoven[s3]"), ("gs", "einthoven[gcs]")])
def test_a_missing_package_is_named_with_its_extra(protocol, extra, cache, monkeypatch):
    class Missing:
        @staticmethod
        def url_to_fs(url):
            raise ImportError("Install it")

    monkeypatch.setattr(transfer.importlib, "import_module", lambda name: Missing)
    with pytest.raises(StoreError) as error:
        Store(f"{protocol}://bucket/store", cache=cache)
    assert f"pip install '{extra}'" in str(error.value)


def test_the_cache_can_be_imported_from_where_the_remote_store_is():
    from einthoven.store import remote

    assert remote.Cache is Cache


def test_place_and_size_of_the_cache_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EINTHOVEN_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("EINTHOVEN_CACHE_GB", "2.5")
    assert (Cache().resolved().folder, Cache().resolved().n_bytes) == (tmp_path / "here", 2_500_000_000)
    assert Cache(tmp_path, 7).resolved().n_bytes == 7
    monkeypatch.setenv("EINTHOVEN_CACHE_GB", "much")
    with pytest.raises(StoreError, match="EINTHOVEN_CACHE_GB: expected a number of gigabytes; got 'much'"):
        Cache().resolved()
    monkeypatch.delenv("EINTHOVEN_CACHE")
    monkeypatch.delenv("EINTHOVEN_CACHE_GB")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().resolved().folder == tmp_path / "xdg" / "einthoven" and Cache().resolved().n_bytes == 50e9


SCRIPT = """
import os, signal, sys
import fsspec
from einthoven.store.read import Store
from einthoven.store.cache import Cache
from test_store_remote import Far
from pathlib import Path

class Dying(Far):
    cachable = False
    def get_file(self, path1, path2, **kwargs):
        if Path(path1).name == "00001.npy":
            Path(path2).write_bytes(Path(path1).read_bytes()[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
        super().get_file(path1, path2, **kwargs)

fsspec.register_implementation("far", Dying, clobber=True)
store = Store(sys.argv[1], cache=Cache(Path(sys.argv[2]), 10**9))
store.shard(0)
store.shard(1)
"""


def test_killed_in_the_middle_of_a_shard_nothing_half_is_left_under_its_name(url, local, cache):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.run([sys.executable, "-c", SCRIPT, url, str(cache.folder)], env=environment)
    assert process.returncode == -9
    assert [path.name[:5] for path in shards_in(cache.folder)] == ["00000"]
    assert list(cache.folder.glob("*/shards/.00001*"))  # what it had written
    store = Store(url, cache=cache)
    np.testing.assert_array_equal(store.shard(1), local.shard(1))
    assert not list(cache.folder.glob("*/shards/.00001*"))
