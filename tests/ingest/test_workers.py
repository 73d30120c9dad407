"""Processes of an ingest that is asked to stop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

STOPPED = """
import signal, sys
from fake_corpus import Corpus
from einthoven.ingest.run import ingest
def stop(*_):
    raise KeyboardInterrupt
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        ingest(Corpus(n=2000, nap=0.05), sys.argv[1], sys.argv[2], shard_records=500, workers=2)
    except KeyboardInterrupt:
        sys.exit(143)
"""


@pytest.mark.slow
def test_whoever_is_asked_to_stop_ends_the_workers_at_once_and_leaves_nothing_half_made(tmp_path):
    script, store = tmp_path / "script.py", tmp_path / "store"
    script.write_text(STOPPED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(store)], env=environment, stderr=subprocess.PIPE)
    while len(list(store.glob("unfinished/*.tmp"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    asked = time.monotonic()
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and said == b""  # no word of leaked semaphores
    assert time.monotonic() - asked < 15  # the shards under way take 25 s
    assert not list(store.glob("unfinished/*.tmp")) and not list((store / "shards").iterdir())
