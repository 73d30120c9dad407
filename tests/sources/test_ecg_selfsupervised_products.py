"""Folders as ecg-selfsupervised prepared them, written here with NumPy and pandas; pickles are read and never executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import EinthovenError
from einthoven.ingest.run import ingest
from einthoven.sources import ecg_selfsupervised
from einthoven.sources.ecg_selfsupervised_names import ORDER
from einthoven.sources.pandas_pickle import read_frame, read_values
from einthoven.store.read import Store

N = 12


def signal(k: int, n: int = 400) -> np.ndarray:
    """(time, lead) float32 mV"""
    t = np.arange(n) / 100
    beat = np.exp(-(((t + 0.05 * k) % 0.8 - 0.3) ** 2) / 0.001)
    return np.stack([(1 + 0.1 * lead) * beat + 0.1 * np.sin(t * (1 + lead)) for lead in range(N)], axis=1).astype(np.float32)


def prepare(folder: Path, n: int = 4, *, n_files: int = 1, **change) -> list[np.ndarray]:
    """Signals and index; records are dealt out to the files one by one."""
    folder.mkdir(parents=True, exist_ok=True)
    signals = [signal(k, 300 + 50 * k) for k in range(n)]
    names = ["memmap.npy"] if n_files == 1 else [f"memmap_{at}.npy" for at in range(n_files)]
    start, number, shape = np.zeros(n, dtype=np.int64), np.arange(n) % n_files, []
    for at, name in enumerate(names):
        mine = [k for k in range(n) if number[k] == at]
        start[mine] = np.concatenate([[0], np.cumsum([len(signals[k]) for k in mine])[:-1]])
        np.concatenate([signals[k] for k in mine]).tofile(folder / name)
        shape.append([sum(len(signals[k]) for k in mine), N])
    index = {"start": start, "length": np.array([len(one) for one in signals]), "shape": np.array(shape), "file_idx": number}
    index |= {"dtype": np.array(np.dtype("float32"), dtype=object), "filenames": np.array(names)}
    np.savez(folder / "memmap_meta.npz", **{**index, **change})
    return signals


def rows(n: int = 4) -> dict:
    return {
        "data": list(range(n)),
        "label": [[0, 1], [1], [], [0]][:n],
        "sex": ["male", "female", "nan", "male"][:n],
        "age": [40.0, float("nan"), 77.0, 18.0][:n],
        "dataset": ["cinc_Georgia"] * n,
        "strat_fold": [0, 9, -1, 3][:n],
        "data_original": [f"R{k}.npy" for k in range(n)],
    }


def refs_of(root: Path, **options) -> dict:
    return {ref.record: ref for ref in ecg_selfsupervised.records(root, **options)}


def test_signals_are_read_where_they_lie_in_their_order_of_leads(tmp_path):
    for n_files in (1, 3):
        folder = tmp_path / f"set{n_files}_fs250"
        signals = prepare(folder, n_files=n_files)
        refs = refs_of(folder)
        assert list(refs) == ["0", "1", "2", "3"]
        for k, ref in enumerate(refs.values()):
            record = ecg_selfsupervised.read(ref)
            np.testing.assert_array_equal(record.signal, signals[k].T)
            assert record.leads == ORDER[:N] and record.fs == 250 and record.labels is None
        assert ecg_selfsupervised.read(refs_of(folder, fs=80.0)["0"]).fs == 80


def test_a_lead_that_was_filled_with_zeros_was_not_recorded(tmp_path):
    signals = prepare(tmp_path, 1)
    signals[0][:, 5] = 0
    signals[0].tofile(tmp_path / "memmap.npy")
    record = ecg_selfsupervised.read(refs_of(tmp_path)["0"])
    assert np.isnan(record.signal[5]).all() and np.isfinite(np.delete(record.signal, 5, axis=0)).all()


@pytest.mark.parametrize("as_csv", [False, True])
def test_the_table_gives_labels_persons_and_folds(tmp_path, as_csv):
    pandas = pytest.importorskip("pandas")
    prepare(tmp_path)
    np.save(tmp_path / "lbl_itos.npy", np.array(["AF", "SNR"]))
    table = pandas.DataFrame(rows())
    if as_csv:
        table.to_csv(tmp_path / "df_memmap.csv")
        (tmp_path / "df_memmap.pkl").write_bytes(b"no pickle")  # the table as text goes before it
    else:
        table.to_pickle(tmp_path / "df_memmap.pkl", protocol=4)
    refs = refs_of(tmp_path)
    assert (
        refs["R0"].labels == {"164889003": 1.0, "426783006": 1.0} and refs["R0"].label_system == "SNOMED CT" and refs["R2"].labels is None
    )
    assert [ref.fold for ref in refs.values()] == ["1", "10", "1", "4"]
    assert (
        refs["R0"].meta["sex"] == "male" and "sex" not in refs["R2"].meta and "age" not in refs["R1"].meta and refs["R3"].meta["age"] == 18
    )
    assert refs["R0"].meta["dataset"] == "georgia"
    ingest(ecg_selfsupervised, tmp_path, tmp_path / "store", fs=100.0)
    assert len(Store(tmp_path / "store")) == 4


def test_rows_of_a_table_in_another_order_find_their_signals(tmp_path):
    pandas = pytest.importorskip("pandas")
    signals = prepare(tmp_path)
    pandas.DataFrame(rows()).iloc[[2, 0, 3, 1]].to_pickle(tmp_path / "df_memmap.pkl")
    np.save(tmp_path / "lbl_itos.npy", np.array(["AF", "SNR"]))
    for name, ref in refs_of(tmp_path).items():
        np.testing.assert_array_equal(ecg_selfsupervised.read(ref).signal, signals[int(name[1:])].T)


def test_several_folders_are_one_corpus_whose_records_keep_their_folders(tmp_path):
    prepare(tmp_path / "zheng_fs100", 2)
    prepare(tmp_path / "cinc_fs100", 2)
    assert set(refs_of(tmp_path)) == {"cinc_fs100/0", "cinc_fs100/1", "zheng_fs100/0", "zheng_fs100/1"}


def test_findings_of_the_code_study_are_said_yes_and_no(tmp_path):
    pandas = pytest.importorskip("pandas")
    prepare(tmp_path, 2)
    table = {"data": [0, 1], "label_txt": [["1AVB"], []], "dataset": ["Ribeiro_test"] * 2}
    pandas.DataFrame(table).to_pickle(tmp_path / "df_memmap.pkl")
    refs = refs_of(tmp_path)
    assert refs["0"].labels == {"1dAVb": 1.0, "RBBB": 0, "LBBB": 0, "SB": 0, "AF": 0, "ST": 0} and refs["0"].label_system == "CODE"
    assert sum(refs["1"].labels.values()) == 0


def test_another_column_of_labels_can_be_asked_for(tmp_path):
    pandas = pytest.importorskip("pandas")
    prepare(tmp_path, 2)
    table = {
        "data": [0, 1],
        "label_all": [["NORM"], ["IMI"]],
        "label_diag_superclass_filtered_numeric": [[1], [0]],
        "dataset": ["ptb_xl"] * 2,
    }
    pandas.DataFrame(table).to_pickle(tmp_path / "df_memmap.pkl")
    pandas.to_pickle({"label_diag_superclass": np.array(["MI", "NORM"])}, tmp_path / "lbl_itos.pkl")
    assert refs_of(tmp_path)["1"].labels == {"IMI": 1.0}
    assert refs_of(tmp_path, labels="label_diag_superclass_filtered_numeric")["1"].labels == {"MI": 1.0}
    with pytest.raises(EinthovenError, match="no column diagnosis; it has data"):
        refs_of(tmp_path, labels="diagnosis")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"length": np.array([300, 350, 400, 10_000])}, "puts recording 3 outside"),
        ({"start": np.array([0, 300, -5, 1050])}, "puts recording 2 outside"),
        ({"file_idx": np.array([0, 0, 0, 7])}, "puts recording 3 outside"),
        ({"shape": np.array([[10**12, N]])}, "memmap.npy: has .* bytes where"),
        ({"shape": np.array([[1500, 99]])}, "memmap.npy: has .* bytes where"),
        ({"start": np.array([[0]])}, "do not fit one another"),
        ({"start": np.array([{}], dtype=object)}, "expected start, length, shape"),
        ({"filenames": np.array(["/etc/passwd"])}, "passwd: is not there"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, change, what):
    prepare(tmp_path, **change)
    with pytest.raises(EinthovenError, match=what) as told:
        refs_of(tmp_path)
    assert "\n" not in str(told.value)


def test_a_table_of_another_run_is_refused(tmp_path):
    pandas = pytest.importorskip("pandas")
    prepare(tmp_path)
    pandas.DataFrame(rows(3)).to_pickle(tmp_path / "df_memmap.pkl")
    with pytest.raises(EinthovenError, match=r"3 rows where memmap_meta\.npz has 4"):
        refs_of(tmp_path)
    pandas.DataFrame({**rows(), "data": [f"R{k}.npy" for k in range(4)]}).to_pickle(tmp_path / "df_memmap.pkl")
    with pytest.raises(EinthovenError, match="save df_memmap"):
        refs_of(tmp_path)
    pandas.DataFrame(rows()).to_pickle(tmp_path / "df_memmap.pkl")
    with pytest.raises(EinthovenError, match="no lbl_itos names them"):
        refs_of(tmp_path)


class Evil:
    """What executes a command in Python's own unpickler."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_malicious_table_is_read_as_data_and_nothing_runs(tmp_path):
    pandas = pytest.importorskip("pandas")
    prepare(tmp_path)
    mark = tmp_path / "ran"
    for content in (Evil(f"touch {mark}"), pandas.DataFrame({**rows(), "label": [[Evil(f"touch {mark}")]] * 4})):
        with open(tmp_path / "df_memmap.pkl", "wb") as file:
            pickle.dump(content, file, protocol=4)
        with pytest.raises(EinthovenError, match=r"df_memmap\.pkl"):
            refs_of(tmp_path)
    assert not mark.exists()


def test_a_small_pickle_that_unfolds_without_end_is_refused(tmp_path):
    nest: list = ["x"] * 1000
    for _ in range(4):
        nest = [nest] * 1000
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(nest))
    with pytest.raises(EinthovenError, match="unfolds"):
        read_values(tmp_path / "a.pkl")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_form_in_which_pandas_writes_its_tables_is_read(tmp_path, protocol):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {"a": ["x", None, "yyé"], "b": [1, 2, 3], "c": [[1, 2], [], [0.5]], "d": [0.5, np.nan, 2.0], "e": [True, False, True]}
    )
    for kind in (table, table.iloc[1:], table.astype({"a": object}), table.set_index("a"), pandas.concat([table, table])):
        kind.to_pickle(tmp_path / "t.pkl", protocol=protocol)
        columns, index = read_frame(tmp_path / "t.pkl")
        for name in kind:
            assert without_nan(columns[name]) == without_nan(kind[name].tolist())
        assert without_nan(index) == without_nan(kind.index.tolist())
    table["when"] = pandas.Timestamp("2020-01-01")
    table.to_pickle(tmp_path / "t.pkl", protocol=protocol)
    with pytest.raises(EinthovenError, match="save it there as CSV"):
        read_frame(tmp_path / "t.pkl")


def without_nan(values: list) -> list:
    return [None if isinstance(value, float) and value != value else value for value in values]


def test_a_damaged_pickle_never_raises_anything_else(tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(rows()).to_pickle(tmp_path / "t.pkl", protocol=4)
    good = (tmp_path / "t.pkl").read_bytes()
    draw = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        bad = bytearray(good)
        for place in draw.integers(len(bad), size=draw.integers(1, 4)):
            bad[place] = draw.integers(256)
        (tmp_path / "t.pkl").write_bytes(bad[: draw.integers(len(bad) // 2, len(bad) + 1)])
        try:
            read_frame(tmp_path / "t.pkl")
        except EinthovenError:
            n_refused += 1
    assert n_refused > 100


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(EinthovenError, match=r"memmap_meta\.npz is not in it"):
        refs_of(tmp_path)
