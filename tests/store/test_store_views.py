from __future__ import annotations

import pickle

import numpy as np
import pytest
from fake_corpus import FIBRILLATION, SINUS, Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.signal.contract import SignalContract
from einthoven.sources.vocabulary import own_classes
from einthoven.store.read import Store
from einthoven.store.views import Pairs, Segments, adjacent_pairs, collate, ecg


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    ingest(Corpus(), folder, folder / "store", shard_records=7, workers=1)
    return Store(folder / "store")


def naive(store, row, leads, start, n, scaling="none"):
    """One window by the slowest way: the whole record in float64, a lead at a time."""
    record = store.record(row)
    out = np.zeros((len(leads), n))
    for place, lead in enumerate(leads):
        if lead in record.leads:
            signal = record.signal[record.leads.index(lead)].astype(np.float64)
            if scaling == "record_zscore":
                signal = (signal - signal.mean()) / signal.std() if signal.std() > 0 else 0 * signal
            piece = signal[start : start + n]
            out[place, : len(piece)] = piece
    return out


@pytest.mark.parametrize("scaling", ["none", "record_zscore"])
@pytest.mark.parametrize("leads", [TWELVE, ("V6", "II", "I"), ("II",), ("X", "V1"), ("MLII", "V2")], ids=" ".join)
@pytest.mark.parametrize(("seconds", "stride"), [(5.0, None), (4.0, 1.5), (10.0, None)])
def test_every_window_is_the_naive_slice(store, scaling, leads, seconds, stride):
    view = Segments(store, None, seconds, leads=leads, scaling=scaling, stride=stride)
    n, step = int(seconds * 500), int((stride or seconds) * 500)
    expected = []
    for row in range(len(store)):
        if set(leads) & set(store.record(row).leads):
            n_samples = store.counts(row).shape[1]
            expected += [(row, k, k * step) for k in range(max(1, (n_samples - n) // step + 1))]
    assert len(view) == len(expected)
    order = np.random.default_rng(0).permutation(len(view))[:70]
    batch = view.__getitems__(order)
    signal = ecg(batch)
    for place, index in enumerate(order):
        row, k, start = expected[index]
        assert (batch["record"][place], batch["segment"][place]) == (row, k)
        np.testing.assert_allclose(signal[place], naive(store, row, leads, start, n, scaling), atol=2e-4)
        assert batch["n_valid"][place] == min(n, store.counts(row).shape[1] - start)
        assert batch["lead_present"][place].tolist() == [lead in store.record(row).leads for lead in leads]


def test_a_batch_has_the_promised_names_types_and_shapes(store):
    view = Segments(store, "train", 5.0, classes=own_classes([SINUS, FIBRILLATION], "SNOMED CT"))
    batch = view.__getitems__([0, 3, 4])
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "counts": ("int16", (3, 12, 2500)),
        "gain": ("float32", (3, 12)),
        "offset": ("float32", (3, 12)),
        "scale": ("float32", (3, 12)),
        "n_valid": ("int64", (3,)),
        "lead_present": ("bool", (3, 12)),
        "patient": ("int64", (3,)),
        "record": ("int64", (3,)),
        "segment": ("int64", (3,)),
        "label": ("float32", (3, 2)),
    }
    assert set(store.column("split")[batch["record"]]) == {"train"}


def test_the_affine_step_agrees_with_the_signal_contract(store):
    """Training from counts and predicting from a file must show the model the same numbers."""
    mean, std = tuple(np.linspace(-0.1, 0.1, 12)), tuple(np.linspace(0.5, 2, 12))
    for contract in (
        SignalContract(scaling="none"),
        SignalContract(scaling="record_zscore"),
        SignalContract(scaling="corpus", mean=mean, std=std),
    ):
        view = Segments(store, None, 5.0, leads=contract.leads, scaling=contract.scaling, mean=contract.mean, std=contract.std)
        batch = view.__getitems__(np.arange(0, len(view), 5))
        signal = ecg(batch)
        for place, (row, segment) in enumerate(zip(batch["record"], batch["segment"])):
            prepared = contract.apply(store.record(row))
            window = contract.windows(prepared).signal[segment]
            np.testing.assert_allclose(signal[place], window, atol=3e-4)
            np.testing.assert_array_equal(batch["lead_present"][place], prepared.lead_present)


def test_labels_are_those_of_the_record_and_unknown_stays_unknown(store):
    classes = own_classes([SINUS, FIBRILLATION], "SNOMED CT")
    view = Segments(store, None, 5.0, classes=classes)
    batch = view.__getitems__(np.arange(len(view)))
    columns = [one.abbreviation for one in classes]
    for row, label in zip(batch["record"], batch["label"]):
        labels = store.record(row).labels
        expected = [np.nan if labels is None else labels.get(code, 0.0) for code in columns]
        np.testing.assert_array_equal(label, expected)
    assert np.isnan(batch["label"]).any() and (batch["label"] == 1).any() and (batch["label"] == 0).any()


def test_short_recordings_are_padded_or_dropped_and_said(store):
    padded, dropped = Segments(store, None, 5.0), Segments(store, None, 5.0, short="drop")
    n_short = sum(store.counts(row).shape[1] < 2500 for row in range(len(store)))
    assert n_short > 0 and len(padded) - len(dropped) == n_short
    assert dropped.left_out == {"has none of the leads " + " ".join(TWELVE): 3, "shorter than 5 s": n_short}
    batch = padded.__getitems__(np.arange(len(padded)))
    short = batch["n_valid"] < 2500
    assert short.sum() == n_short and (batch["counts"][short][:, :, 1500:] == 0).all()


def test_whole_recordings_are_padded_to_the_longest_of_the_batch(store):
    view = Segments(store, None, None)
    batch = view.__getitems__([0, 1, 2, 3])
    assert batch["counts"].shape == (4, 12, 15000) and batch["n_valid"].tolist() == [5000, 1500, 6150, 15000]
    np.testing.assert_allclose(ecg(batch)[1, :, :1500], store.record(1).signal, atol=1e-6)
    assert len(view) == len(view.rows)


def test_one_item_is_a_batch_of_one_and_items_can_be_joined(store):
    view = Segments(store, None, 5.0)
    together = view.__getitems__([4, 9])
    assert collate(together) is together
    joined = collate([view[4], view[9]])
    for name in together:
        np.testing.assert_array_equal(joined[name], together[name])
    np.testing.assert_array_equal(view[-1]["counts"], view[len(view) - 1]["counts"])
    with pytest.raises(IndexError):
        view[len(view)]


def test_a_pickled_view_and_pread_give_the_same_batches(store):
    view = Segments(store, None, 5.0, scaling="record_zscore")
    other = Segments(Store(store.path, access="pread"), None, 5.0, scaling="record_zscore")
    for name, array in view.__getitems__([1, 7, 30]).items():
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(view)).__getitems__([1, 7, 30])[name], array)
        np.testing.assert_array_equal(other.__getitems__([1, 7, 30])[name], array)


def test_rows_can_be_a_split_a_mask_or_numbers(store):
    rows = store.where(split="valid")
    mask = np.zeros(len(store), dtype=bool)
    mask[rows] = True
    views = [Segments(store, which, 5.0) for which in ("valid", rows, mask, rows.tolist())]
    assert len({len(view) for view in views}) == 1 and all((view.rows == views[0].rows).all() for view in views)


# ------------------------------------------------------------------------------------------------------------------ pairs


def test_pairs_are_the_neighbouring_windows_of_each_recording(store):
    pairs = Pairs(store, None, 5.0)
    expected = []
    for row in range(len(store)):
        if set(TWELVE) & set(store.record(row).leads):
            expected += [(row, pair) for pair in adjacent_pairs(range(store.counts(row).shape[1] // 2500))]
    assert len(pairs) == len(expected)
    order = np.random.default_rng(1).permutation(len(pairs))
    batch = pairs.__getitems__(order)
    assert [(row, first, second) for row, first, second in zip(batch["record"][::2], batch["segment"][::2], batch["segment"][1::2])] == [
        (expected[i][0], *expected[i][1]) for i in order
    ]
    np.testing.assert_array_equal(batch["record"][::2], batch["record"][1::2])
    np.testing.assert_array_equal(batch["patient"], store.patient_number[batch["record"]])
    signal = ecg(batch)
    for place in (0, 1, 10, 11):
        row, segment = batch["record"][place], batch["segment"][place]
        np.testing.assert_allclose(signal[place], naive(store, row, TWELVE, segment * 2500, 2500), atol=1e-5)


def test_visits_of_one_person_pair_by_time(store):
    pairs = Pairs(store, None, 5.0, across="visits")
    batch = pairs.__getitems__(np.arange(len(pairs)))
    first, second = batch["record"][::2], batch["record"][1::2]
    np.testing.assert_array_equal(batch["patient"][::2], batch["patient"][1::2])
    across = first != second
    assert across.any() and (~across).any()
    time = store.column("time")
    assert (time[first[across]] <= time[second[across]]).all()
    np.testing.assert_array_equal(batch["segment"][::2][across], batch["segment"][1::2][across])
    # by a plain loop: a person's usable recordings in order of time, two by two
    usable = [row for row in range(len(store)) if set(TWELVE) & set(store.record(row).leads)]
    persons: dict = {}
    for row in sorted(usable, key=lambda row: (time[row], row)):
        if store.column("patient")[row] is not None:
            persons.setdefault(store.column("patient")[row], []).append(row)
    expected = {couple for rows in persons.values() for couple in zip(rows[0::2], rows[1::2])}
    assert set(zip(first[across].tolist(), second[across].tolist())) == expected


@pytest.mark.parametrize(
    ("segments", "pairs"),
    [([], []), ([0], []), ([1, 0], [(0, 1)]), ([3, 1, 0, 2], [(0, 1), (2, 3)]), ([0, 1, 2], [(0, 1)]), ([5, 0], [(0, 5)])],
)
def test_pairs_of_segment_numbers(segments, pairs):
    assert adjacent_pairs(segments) == pairs


def test_a_dataloader_takes_the_views(store):
    data = pytest.importorskip("torch.utils.data")
    view = Pairs(store, None, 5.0)
    batches = list(data.DataLoader(view, batch_size=8, collate_fn=collate))
    assert sum(len(batch["record"]) for batch in batches) == 2 * len(view)
    np.testing.assert_array_equal(np.concatenate([batch["counts"] for batch in batches]), view.__getitems__(np.arange(len(view)))["counts"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fs": 250.0}, "ingest the corpus at that rate"),
        ({"scaling": "zscore"}, "scaling"),
        ({"scaling": "corpus"}, "mean and a std"),
        ({"mean": [0.0] * 12}, "go with scaling corpus"),
        ({"leads": ("II", "Lead II")}, "each once"),
        ({"leads": ("V9",)}, "none of 51 recordings"),
        ({"short": "keep"}, "short"),
        ({"seconds": 0.0}, "at least one sample"),
        ({"rows": "validation"}, "train, valid, test"),
        ({"rows": [99]}, "rows 99 to 99"),
    ],
)
def test_what_cannot_be_given_is_refused(store, options, message):
    with pytest.raises(StoreError, match=message):
        Segments(store, **options)


def test_a_stride_without_windows_is_refused(store):
    with pytest.raises(StoreError, match="stride=1 parts windows"):
        Segments(store, seconds=None, stride=1.0)
