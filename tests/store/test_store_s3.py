"""A store in a bucket, by the real S3 client against a server of its protocol on this machine.

Both are heavy and not among the developer's packages: pip install 'einthoven[s3]' 'moto[server]'. Without them every other promise of a store
that is somewhere else is held by test_store_remote, on a file system that fails as it is told.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.read import Store
from einthoven.store.views import Segments

pytest.importorskip("s3fs", reason="pip install 'einthoven[s3]'")
boto3 = pytest.importorskip("boto3", reason="pip install 'moto[server]'")
server = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    ingest(Corpus(), folder, folder / "heart", shard_records=7, workers=1)
    return Store(folder / "heart")


@pytest.fixture(scope="module")
def bucket(local):
    """The address of ``local`` in a bucket; the client is told by its own environment variables."""
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*running.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="hospital")
        for file in local.path.rglob("*"):
            if file.is_file():
                client.upload_file(str(file), "hospital", f"stores/heart/{file.relative_to(local.path).as_posix()}")
        yield "s3://hospital/stores/heart"
    running.stop()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EINTHOVEN_CACHE", str(tmp_path / "cache"))


def test_a_store_in_a_bucket_gives_what_the_folder_gives(local, bucket):
    far = Store(bucket)
    assert len(far) == len(local) and bucket in repr(far)
    for row in range(len(local)):
        np.testing.assert_array_equal(far[row]["ecg"], local[row]["ecg"])
    every = np.arange(len(Segments(local, seconds=2.0)))
    there, here = Segments(far, seconds=2.0).__getitems__(every), Segments(local, seconds=2.0).__getitems__(every)
    for name in here:
        np.testing.assert_array_equal(there[name], here[name], err_msg=name)


def test_a_process_that_was_forked_reads_on(local, bucket):
    """The client keeps a thread and a loop of its own, which a fork does not take along."""
    script = (
        "import multiprocessing, sys\n"
        "import numpy as np\n"
        "from einthoven.store.read import Store\n"
        "def read(row): return float(np.nansum(abs(store[row]['ecg'])))\n"
        "store = Store(sys.argv[1]); read(0)\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(sum(pool.map(read, range(len(store)))))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, bucket], capture_output=True, text=True, timeout=60, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(sum(float(np.nansum(abs(local[row]["ecg"]))) for row in range(len(local))))


def test_what_is_not_there_and_what_may_not_be_read_is_said_in_a_line(bucket, monkeypatch):
    with pytest.raises(StoreError, match="there is no store at s3://hospital/elsewhere"):
        Store("s3://hospital/elsewhere")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=r"may not be read.*credentials"):
        Store(bucket)
