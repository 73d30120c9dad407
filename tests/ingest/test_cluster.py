from __future__ import annotations

import builtins
import csv
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest import cluster as clusters
from einthoven.ingest.cluster import DaskExecutor, cluster
from einthoven.ingest.run import ingest
from einthoven.ingest.shard import Job, make_shard
from einthoven.store.read import Store

pytest.importorskip("distributed")


def every_byte(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    ingest(Corpus(), folder / "root", folder / "store", shard_records=7, workers=1)
    return folder / "store"


@pytest.fixture(scope="module")
def two_workers():
    import importlib

    # the workers import the corpus of the tests by its name
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), path])
    importlib.invalidate_caches()
    try:
        with cluster("local:2") as executor:
            yield executor
    finally:
        os.environ["PYTHONPATH"] = path


@pytest.mark.slow
def test_a_cluster_writes_the_bytes_that_one_process_writes_and_tells_how_far_it_is(two_workers, whole, tmp_path):
    seen = []
    root = whole.parent / "root"
    ingest(Corpus(), root, tmp_path / "store", shard_records=7, executor=two_workers, progress=lambda at: seen.append(at.n_done))
    assert every_byte(tmp_path / "store") == every_byte(whole)
    assert seen[-1] == 60 and seen == sorted(seen)


@pytest.mark.slow
def test_what_came_to_a_corpus_is_taken_by_a_cluster_as_by_one_process(two_workers, tmp_path):
    root = tmp_path / "root"
    for name, more in (("alone", {"workers": 1}), ("cluster", {"executor": two_workers})):
        for n in (30, 60):
            ingest(Corpus(n=n), root, tmp_path / name, shard_records=7, append=n == 60, **more)
    assert len(Store(tmp_path / "cluster")) == 51 and every_byte(tmp_path / "cluster") == every_byte(tmp_path / "alone")


@pytest.mark.slow
def test_a_worker_that_dies_on_a_cluster_loses_no_recording(two_workers, whole, tmp_path):
    corpus = Corpus(deadly=23, once=tmp_path / "died")
    ingest(corpus, whole.parent / "root", tmp_path / "store", shard_records=7, executor=two_workers)
    assert (tmp_path / "died").exists()
    assert every_byte(tmp_path / "store") == every_byte(whole)


@pytest.mark.slow
def test_a_file_that_kills_every_worker_is_rejected_as_by_processes_of_our_own(two_workers, whole, tmp_path):
    root = whole.parent / "root"
    summary = ingest(Corpus(deadly=23), root, tmp_path / "store", shard_records=7, executor=two_workers)
    assert (summary.n_refs, summary.n_records, summary.n_rejected) == (60, 50, 10)
    with open(tmp_path / "store" / "rejected.csv", newline="") as file:
        assert "ended the process that read it" in {line["record"]: line["reason"] for line in csv.DictReader(file)}["rec0023"]
    ingest(Corpus(deadly=23), root, tmp_path / "own", shard_records=7, workers=2)
    assert every_byte(tmp_path / "store") == every_byte(tmp_path / "own")


SCRIPT = """
import sys
from fake_corpus import Corpus
from einthoven.ingest.cluster import cluster
from einthoven.ingest.run import ingest
if __name__ == "__main__":
    with cluster("local:2") as executor:
        ingest(Corpus(nap=0.05), sys.argv[1], sys.argv[2], shard_records=7, executor=executor)
"""


@pytest.mark.slow
def test_interrupted_by_ctrl_c_what_is_done_stays_done(whole, tmp_path):
    script, root, store = tmp_path / "script.py", whole.parent / "root", tmp_path / "store"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, str(script), str(root), str(store)], env=environment, start_new_session=True, stderr=subprocess.PIPE
    )
    try:
        for _ in range(600):
            if len(list((store / "unfinished").glob("0*.parquet"))) >= 2:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all
        assert process.wait(timeout=30) != 0 and b"KeyboardInterrupt" in process.stderr.read()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stderr.close()
    done = {path: path.stat().st_mtime_ns for path in (store / "shards").iterdir()}
    assert len(done) >= 2
    ingest(Corpus(), root, store, shard_records=7, workers=1)
    kept = [path for path, when in done.items() if path.stat().st_mtime_ns == when]
    assert len(kept) >= 2 and every_byte(store) == every_byte(whole)


# -------------------------------------------------------------------------------------------- without a cluster to wait for


class KilledWorker(Exception):
    """What dask says of a job during which workers died; it is known by its name."""


class Grim(Executor):
    """Runs jobs one by one; the first that reads ``deadly`` is given up, and innocent ones with it, as dask does."""

    def __init__(self, deadly: str, innocent: int):
        self.deadly, self.innocent, self.n_jobs = deadly, innocent, 0

    def submit(self, fn, /, job, *args, **kwargs):
        self.n_jobs += 1
        future: Future = Future()
        position = next((at for at, ref in enumerate(job.refs) if ref.record == self.deadly), None)
        if self.innocent and position is None:
            self.innocent -= 1
            future.set_exception(KilledWorker("with another"))
        elif position is not None and position not in job.blamed:
            job.journal.write_text(f"{position}\n")
            future.set_exception(KilledWorker("dead"))
        else:
            future.set_result(fn(job))
        return future


def test_jobs_that_dask_gives_up_are_made_again_alone_and_only_the_file_to_blame_is_left_out(whole, tmp_path):
    executor = Grim("rec0023", innocent=2)
    summary = ingest(Corpus(), whole.parent / "root", tmp_path / "store", shard_records=7, executor=executor)
    assert (summary.n_refs, summary.n_records, summary.n_rejected) == (60, 50, 10)
    assert executor.n_jobs == 9 + 2 + 2  # every shard, the innocent ones again, the guilty one until its file is known and without it


class Hopeless(Executor):
    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        future.set_exception(KilledWorker("before it began"))
        return future


def test_workers_that_die_before_they_begin_end_the_ingest(whole, tmp_path):
    with pytest.raises(StoreError, match="die before they begin with shard"):
        ingest(Corpus(), whole.parent / "root", tmp_path / "store", shard_records=7, executor=Hopeless())


class Alone:
    """A client whose cluster has ``n`` workers."""

    status = "running"

    def __init__(self):
        self.n = 0

    def get_executor(self, **options):
        assert options == {"pure": False}

    def nthreads(self):
        return {f"tcp://{i}": 4 for i in range(self.n)}


def test_a_cluster_without_workers_is_waited_for_and_not_for_ever(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clusters, "time", SimpleNamespace(monotonic=lambda: now[0]))  # not time itself: the cluster above runs by it
    client = Alone()
    executor = DaskExecutor(client)
    executor.check()
    now[0] = 200.0
    client.n = 2
    executor.check()
    assert executor.n_workers() == 8
    client.n, now[0] = 0, 250.0
    executor.check()
    now[0] = 500.0
    executor.check()
    now[0] = 551.0
    with pytest.raises(StoreError, match="no dask worker for 300 s"):
        executor.check()
    client.status = "closed"
    with pytest.raises(StoreError, match="scheduler is gone"):
        executor.check()


def test_what_is_no_cluster_is_said(monkeypatch, caplog):
    silent, connect = clusters._SILENT, clusters._CONNECT
    monkeypatch.setattr(clusters, "_CONNECT", 0.4)
    monkeypatch.setattr(clusters, "_SILENT", 0.1)
    with pytest.raises(StoreError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"), cluster("tcp://127.0.0.1:9"):
        pass
    assert [record.getMessage() for record in caplog.records if record.name == clusters.__name__] == [
        "no dask scheduler answers at tcp://127.0.0.1:9 yet; it is tried for 0 s"
    ]
    assert silent < 3 and connect < 10
    for text in ("local", "local:0", "machine:8786 "):
        with pytest.raises(StoreError, match="expected the address of a dask scheduler"), cluster(text):
            pass
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "distributed":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StoreError, match=r"pip install 'einthoven\[cluster\]'"), cluster("local:2"):
        pass


def test_a_worker_that_does_not_see_the_folders_says_so_instead_of_rejecting_everything(tmp_path):
    refs = tuple(Corpus(n=3).records(tmp_path / "root"))
    job = Job(tmp_path / "store", 0, refs, Corpus(), "made up", tmp_path / "root", 500.0)
    with pytest.raises(StoreError, match="unfinished is not to be seen on"):
        make_shard(job)
    (tmp_path / "store" / "unfinished").mkdir(parents=True)
    (tmp_path / "store" / "shards").mkdir()
    with pytest.raises(StoreError, match="root is not to be seen on"):
        make_shard(Job(tmp_path / "store", 0, refs, Corpus(), "made up", tmp_path / "root", 500.0, root_is_there=True))
    assert make_shard(job).n_records == 3


# ------------------------------------------------------------------------------------------------------------- job arrays


def test_parts_of_a_job_array_that_begin_at_the_same_moment_make_one_store(whole, tmp_path):
    """Eight calls on one folder at once, thrice; the last call finishes, also when several do."""
    root = whole.parent / "root"
    for turn in range(3):
        store = tmp_path / f"store{turn}"
        errors: list[BaseException] = []
        barrier = threading.Barrier(8)

        def part(i, turn=turn, store=store, errors=errors, barrier=barrier):
            try:
                barrier.wait()
                ingest(Corpus(), root, store, shard_records=7, workers=1, shards=(i, 4) if i < 6 - 2 * (turn % 2) else None)
            except BaseException as error:  # a thread's would be lost
                errors.append(error)

        threads = [threading.Thread(target=part, args=(i % 4 if i < 6 else i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        ingest(Corpus(), root, store, shard_records=7, workers=1)
        assert every_byte(store) == every_byte(whole)


def test_of_two_different_ingests_that_begin_at_once_in_one_folder_one_stops(tmp_path):
    results: list[object] = []
    barrier = threading.Barrier(2)

    def one(fs):
        barrier.wait()
        try:
            results.append(ingest(Corpus(n=10, nap=0.02), tmp_path, tmp_path / "store", fs=fs, workers=1))
        except StoreError as error:
            results.append(error)

    threads = [threading.Thread(target=one, args=(fs,)) for fs in (500.0, 250.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [result for result in results if isinstance(result, StoreError)]
    assert len(refused) == 1 and "unfinished ingest of something else" in str(refused[0])
    assert len(Store(tmp_path / "store")) == 10
