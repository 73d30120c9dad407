"""Random windows: where they lie, and that nobody but seed, epoch and recording decides it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.read import Store
from einthoven.store.views import Crops, Segments
from einthoven.train.data import Order, in_order, micro_batches

FS, N_RECORDS = 50, 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six recordings of one lead in which every sample says its own number; the last one is shorter than a window."""
    folder = tmp_path_factory.mktemp("crops")
    for number in range(N_RECORDS):
        n = 60 if number == N_RECORDS - 1 else 140
        counts = (np.arange(n) + 100 * number).astype("<i2")
        counts.tofile(folder / f"r{number}.dat")
        (folder / f"r{number}.hea").write_text(f"r{number} 1 {FS} {n}\nr{number}.dat 16 100/mV 16 0 0 0 0 II\n")
    ingest("folder", folder, folder / "store", fs=FS, workers=1)
    return Store(folder / "store")


def starts(view: Crops, epoch: int) -> np.ndarray:
    """First sample of each recording's window in an epoch, read off the signal itself."""
    batch = view.__getitems__([item + epoch * len(view) for item in range(len(view))])
    first = batch["counts"][:, 0, 0] * batch["gain"][:, 0]
    return np.rint(first * 100).astype(int) % 100


def test_every_place_where_a_window_fits_is_as_likely(store: Store):
    view = Crops(store, range(N_RECORDS - 1), 2.0, seed=3, leads=["II"])  # windows of 100 samples in 140: 41 places
    found = np.concatenate([starts(view, epoch) for epoch in range(1640)])
    counted = np.bincount(found, minlength=41)
    assert len(counted) == 41 and chisquare(counted).pvalue > 0.001
    # And one epoch after another, one recording beside another, they have nothing to do with each other.
    by_epoch = found.reshape(1640, -1)
    assert abs(np.corrcoef(by_epoch[:-1, 0], by_epoch[1:, 0])[0, 1]) < 0.1 and abs(np.corrcoef(by_epoch[:, 0], by_epoch[:, 1])[0, 1]) < 0.1
    assert kstest(by_epoch.mean(axis=1), "norm", args=(20, np.sqrt((41**2 - 1) / 12 / 5))).pvalue > 0.001


def test_a_place_is_a_function_of_seed_epoch_and_recording_alone(store: Store):
    view = Crops(store, range(5), 2.0, seed=3, leads=["II"])
    fewer = Crops(store, [1, 3], 2.0, seed=3, leads=["II"])
    for epoch in range(5):
        np.testing.assert_array_equal(starts(view, epoch)[[1, 3]], starts(fewer, epoch))
        one_by_one = [view.__getitems__([item + epoch * 5])["counts"][0, 0, 0] for item in range(5)]
        np.testing.assert_array_equal(view.__getitems__([item + epoch * 5 for item in range(5)])["counts"][:, 0, 0], one_by_one)
    assert any((starts(view, epoch) != starts(Crops(store, range(5), 2.0, seed=4, leads=["II"]), epoch)).any() for epoch in range(3))
    np.testing.assert_array_equal(view[2]["counts"], view.__getitems__([2])["counts"])
    with pytest.raises(IndexError):
        view[5]


def test_a_window_is_what_segments_would_cut_there(store: Store):
    options = {"leads": ["II"], "scaling": "record_zscore"}
    batch = Crops(store, range(5), 2.0, seed=3, **options).__getitems__([2, 8])
    whole = Segments(store, [2, 3], None, **options).__getitems__([0, 1])
    steps = np.diff(whole["counts"][:, 0, :2], axis=1)[:, 0]  # counts from one sample to the next: the store has its own scale
    for place, start in enumerate((batch["counts"][:, 0, 0] - whole["counts"][:, 0, 0]) // steps):
        np.testing.assert_array_equal(batch["counts"][place, 0], whole["counts"][place, 0, start : start + 100])
    for name in ("gain", "offset", "scale", "patient", "record"):
        np.testing.assert_array_equal(batch[name], whole[name])
    assert (batch["n_valid"] == 100).all() and (batch["segment"] == 0).all()


def test_a_recording_shorter_than_a_window_is_padded_or_dropped(store: Store):
    view = Crops(store, None, 2.0, seed=3, leads=["II"])
    batch = view.__getitems__([5, 5 + 7 * len(view)])
    assert len(view) == 6 and (batch["n_valid"] == 60).all() and (batch["counts"][:, 0, 60:] == 0).all()
    np.testing.assert_array_equal(batch["counts"][0], batch["counts"][1])  # there is no place to choose
    assert len(Crops(store, None, 2.0, seed=3, leads=["II"], short="drop")) == 5
    with pytest.raises(StoreError, match="no stride"):
        Crops(store, None, 2.0, stride=1.0)


@pytest.mark.parametrize(("workers", "world"), [(0, 1), (2, 1), (0, 2)])
def test_workers_processes_and_an_interruption_change_no_window(store: Store, workers: int, world: int):
    view = Crops(store, range(5), 2.0, seed=3, leads=["II"])

    def windows(first: int, end: int, workers: int, world: int) -> list[torch.Tensor]:
        order = Order(3, len(view), 4, 2, world)
        parts = [list(micro_batches(view, order, first, end, rank, workers, pin=False)) for rank in range(world)]
        micros = [torch.cat([part[place]["counts"] for part in parts]) for place in range(len(parts[0]))]
        return micros

    expected = windows(0, 6, 0, 1)
    assert len(expected) == 12 and len({tuple(each.flatten().tolist()) for each in expected}) == 12
    found = windows(0, 3, workers, world) + windows(3, 6, workers, world)  # stopped after three updates, and resumed
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_for_validation_the_windows_are_the_same_each_time(store: Store, tmp_path: Path):
    view = Crops(store, range(5), 2.0, seed=3, leads=["II"])
    first, second = ([batch["ecg"] for batch in in_order(view, 2)] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
