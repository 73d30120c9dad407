from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_corpus import Corpus

from einthoven.ingest.finish import write_table
from einthoven.ingest.run import ingest
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef
from einthoven.store.distinct import distinct
from einthoven.store.layout import ROWS
from einthoven.store.read import Store

TINY = np.random.default_rng(0).normal(0, 0.3, size=(1, 500)).astype(np.float32)


class Many:
    """``n`` recordings that cost nothing to read."""

    FACTS = Facts("many")

    def __init__(self, n: int):
        self.n = n

    def records(self, root):
        return (RecordRef(Path(root) / f"{i}.dat", f"r{i}", f"p{i // 2}", {"a": float(i % 3 == 0)}, "SNOMED CT") for i in range(self.n))

    def read(self, ref):
        return Record(TINY, 500.0, ("II",), ref.record)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three groups of rows, 500 shards."""
    folder = tmp_path_factory.mktemp("many")
    ingest(Many(2 * ROWS + 100), folder, folder / "store", shard_records=17, workers=1)
    return Store(folder / "store")


def test_one_record_reads_a_piece_of_the_table_and_not_all_of_it(many):
    store = Store(many.path)
    assert store._file.metadata.num_row_groups == 3
    for row in (0, ROWS - 1, ROWS, 2 * ROWS + 99, -1):
        record = store.record(row)
        assert record.record == f"r{row % len(store)}" and record.patient == f"p{row % len(store) // 2}"
        assert record.labels == {"a": float(row % len(store) % 3 == 0)}
    assert "table" not in vars(store) and "record" not in store._columns and len(store._entries.groups) == 3


def test_who_reads_at_random_gets_the_words_into_memory_once_if_they_are_not_too_large(many, monkeypatch):
    from einthoven.store import entries as module

    monkeypatch.setattr(module, "GROUPS_KEPT", 1)
    monkeypatch.setattr(module, "AT_RANDOM", 10)
    rows = [row for pair in zip(range(8), range(8000, 8008)) for row in pair]
    expected = [repr(many.record(row)) for row in rows]
    for kept, there in ((10**9, True), (1000, False)):
        monkeypatch.setattr(module, "BYTES_KEPT", kept)
        store = Store(many.path)
        assert [repr(store.record(row)) for row in rows] == expected
        assert (store._entries.all is not None) == there


SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), int(sys.argv[4])))
from einthoven.store.read import Store
store = Store(sys.argv[1], sys.argv[2])
total = sum(int(store.counts(row).sum()) for row in range(0, len(store), 17))
print(total, len(store.shards.open), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("access", ["mmap", "pread"])
@pytest.mark.parametrize(("soft", "hard"), [(256, 4096), (250, 250)])
def test_more_shards_than_a_process_may_have_files_open(access, soft, hard, many):
    command = [sys.executable, "-c", SCRIPT, str(many.path), access, str(soft), str(hard)]
    total, n_open, limit = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert total == sum(int(many.counts(row).sum()) for row in range(0, len(many), 17))
    assert len(many.facts["shards"]) > 480 and limit == hard
    assert n_open == len(many.facts["shards"]) if hard > 1000 else n_open < 250


def test_what_a_table_s_bytes_are_depends_on_its_rows_alone(many, tmp_path):
    whole = pq.read_table(many.path / "records.parquet")

    pieces = [whole.slice(first, n) for first, n in ((0, 1), (1, 5000), (5001, 10), (5011, 10_000))]
    for name, rows in (("one", [whole]), ("some", pieces)):
        write_table(tmp_path / name, rows, whole.schema)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "some").read_bytes()


def test_codes_are_the_columns_in_numbers(tmp_path):
    ingest(Corpus(), tmp_path, tmp_path / "store", workers=1)
    store = Store(tmp_path / "store")
    for name in ("sex", "label_system", "patient", "record", "leads", "fold"):
        codes, words = store.codes(name)
        assert words[codes].tolist() == store.column(name).tolist() == store.table[name].to_pylist() and words[-1] is None


def test_patients_of_several_sources_are_numbered_as_a_plain_loop_numbers_them(tmp_path):
    ingest(Corpus(), tmp_path, tmp_path / "store", workers=1)
    for name in ("b", "c"):
        ingest(Corpus(n=30), tmp_path / name, tmp_path / "store", workers=1, append=True, name=name)
    store = Store(tmp_path / "store")
    seen: dict[tuple[str, str], int] = {}
    expected = [
        None if patient is None else seen.setdefault((source, patient), len(seen))
        for source, patient in zip(store.column("source"), store.column("patient"))
    ]
    number = store.patient_number
    assert [value for value, known in zip(number.tolist(), expected) if known is not None] == [one for one in expected if one is not None]
    unknown = [value for value, known in zip(number.tolist(), expected) if known is None]
    assert len(unknown) == len(set(unknown)) and min(unknown) == len(seen)


def test_distinct_rows_are_those_of_a_plain_loop_also_over_many_blocks(monkeypatch):
    from einthoven.store import distinct as module

    monkeypatch.setattr(module, "_BLOCK", 7)
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 4, 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    codes = rng.integers(0, 2, offsets[-1]).astype(np.int32)
    values = rng.choice(np.array([0.0, -0.0, 1.0, np.nan], dtype=np.float32), offsets[-1])
    apart = rng.integers(0, 2, 200)
    which, first = distinct(offsets, codes, values, apart=apart)
    seen: dict[tuple, int] = {}
    expected = []
    for row in range(200):
        there = slice(offsets[row], offsets[row + 1])
        expected.append(seen.setdefault((apart[row], codes[there].tobytes(), values[there].tobytes()), len(seen)))
    assert which.tolist() == expected and [expected.index(number) for number in range(len(seen))] == first.tolist()


def test_sums_that_meet_by_chance_do_not_make_rows_equal(monkeypatch):
    from einthoven.store import distinct as module

    real, seeds = module._signatures, []

    def blind(offsets, bits, apart, rng):
        seeds.append(rng)
        return np.zeros(len(offsets) - 1, dtype=np.uint64) if len(seeds) == 1 else real(offsets, bits, apart, rng)

    monkeypatch.setattr(module, "_signatures", blind)
    which, _ = distinct(np.array([0, 1, 2, 3]), np.array([5, 6, 5], dtype=np.int32))
    assert which.tolist() == [0, 1, 0] and len(seeds) == 2


def anonymous() -> int:
    """Bytes of memory that are this process's own."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory of a process is read from /proc")
def test_reading_records_again_and_again_takes_no_more_memory(many):
    store = Store(many.path)
    rows = np.random.default_rng(0).integers(0, len(store), 600).tolist()
    for row in rows:
        store[row]
    before = anonymous()
    for row in rows * 2:
        store[row]
    assert anonymous() - before < 4e6


def test_a_store_of_before_that_has_large_pieces_and_no_parts_opens(many, tmp_path):
    """As einthoven wrote it until now: one group of all rows."""
    import shutil

    old = shutil.copytree(many.path, tmp_path / "old")
    pq.write_table(pq.read_table(old / "records.parquet"), old / "records.parquet", row_group_size=10**6)
    store = Store(old)
    assert store._file.metadata.num_row_groups == 1
    assert repr(store.record(7000)) == repr(many.record(7000))
    ingest(replace_n(Many(20), "z"), tmp_path, old, workers=1, append=True, name="z")
    assert len(Store(old)) == len(many) + 20 and Store(old).record(len(many)).record == "r0"


def replace_n(source: Many, name: str) -> Many:
    source.FACTS = replace(Many.FACTS, name=name)
    return source
