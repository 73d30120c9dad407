"""Windows of stored recordings, cut when they are read; what a batch of them holds: einthoven.store.views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from einthoven.errors import StoreError
from einthoven.leads import TWELVE, canonical
from einthoven.store.read import Store
from einthoven.store.targets import targets_of
from einthoven.store.view_options import corpus_moments, lead_plans, n_samples_of, place_of, refuse_unknown, rows_of

if TYPE_CHECKING:
    from einthoven.sources.vocabulary import LabelClass

SCALINGS = ("none", "record_zscore", "corpus")
SHORT = ("pad", "drop")


class Segments:
    """Every window of the recordings ``rows`` of a store, one after the other; nothing is copied until it is asked for.

    rows    : a split's name, row numbers, a mask over the table's rows, or None for all
    seconds : length of a window; None: whole recordings, padded to the longest of the batch
    fs      : the rate that the reader of the view needs; refused when it is not the store's
    leads   : their order in the batch; one that a recording lacks is marked, not invented
    shown   : of these, the ones that are given; the others are taken as not recorded. None: all
    scaling : ``none`` (mV), ``record_zscore`` (mean and SD of the whole recording, a flat lead becomes 0), ``corpus`` (``mean``, ``std``
              per lead in mV)
    stride  : seconds between the starts of two windows; None: a window's length
    classes : what the columns of ``label`` are (sources.vocabulary)
    extra   : name -> (row of the store, …) arrays, of which each batch has its recordings' part under that name
    short   : a recording shorter than one window is padded to one, or dropped. What is left behind the last window is never used

    ``left_out`` says how many recordings give no window, by reason. Raises StoreError for what the store cannot give.
    """

    def __init__(
        self,
        store: Store,
        rows: str | Sequence[int] | np.ndarray | None = None,
        seconds: float | None = 5.0,
        *,
        fs: float | None = None,
        leads: Sequence[str] = TWELVE,
        shown: Sequence[str] | None = None,
        scaling: str = "none",
        stride: float | None = None,
        classes: Sequence[LabelClass] | None = None,
        extra: Mapping[str, np.ndarray] | None = None,
        short: str = "pad",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        refuse_unknown("scaling", scaling, SCALINGS)
        refuse_unknown("short", short, SHORT)
        if fs is not None and fs != store.fs:
            raise StoreError(
                f"{store.path} is at {store.fs:g} Hz and {fs:g} Hz are asked for: ingest the corpus at that rate (fs={fs:g}) into another store"
            )
        self.store, self.fs, self.scaling = store, store.fs, scaling
        self.leads = tuple(canonical(name) for name in leads)
        if len(set(self.leads)) != len(self.leads) or not self.leads:
            raise StoreError(f"expected lead names, each once; got {' '.join(leads) or 'none'}")
        self._corpus = corpus_moments(scaling, mean, std, len(self.leads))
        if seconds is None and stride is not None:
            raise StoreError(f"stride={stride:g} parts windows, and seconds=None asks for whole recordings; leave one of them away")
        self.n_window = None if seconds is None else n_samples_of("seconds", seconds, self.fs)
        n_stride = self.n_window if stride is None else n_samples_of("stride", stride, self.fs)

        rows = rows_of(store, rows)
        n_samples = store.column("n_samples")[rows]
        codes, words = store.codes("leads")
        plan, self._source_lead, n_stored = lead_plans(codes[rows], words, self.leads)
        if shown is not None:
            hidden = ~np.isin(self.leads, [canonical(name) for name in shown])
            self._source_lead = np.where(hidden, -1, self._source_lead)
        has_lead = (self._source_lead.max(axis=1, initial=-1) >= 0)[plan]
        long_enough = n_samples >= (self.n_window if self.n_window is not None and short == "drop" else 1)
        self.left_out = {
            f"has none of the leads {' '.join(self.leads)}": int(np.count_nonzero(~has_lead)),
            "of no samples" if seconds is None else f"shorter than {seconds:g} s": int(np.count_nonzero(has_lead & ~long_enough)),
        }
        self.left_out = {reason: n for reason, n in self.left_out.items() if n}
        keep = has_lead & long_enough
        if len(rows) and not keep.any():
            raise StoreError(
                f"none of {len(rows)} recordings of {store.path} can be used: "
                + ", ".join(f"{n} {why}" for why, n in self.left_out.items())
            )

        kept = slice(None) if keep.all() else keep  # no copies of what may be millions
        self.rows, self._plan, self.n_samples = rows[kept], plan[kept], n_samples[kept]
        self._shard, self._offset = store.column("shard")[self.rows], store.column("offset")[self.rows]
        self._n_leads = n_stored[self._plan]
        self._microvolt = store.column("microvolt_per_count")[self.rows]
        self._patient = store.patient_number[self.rows]
        # A plan is plain when the wanted leads are the first stored ones, in order: then a window is one copy.
        self._plain = (self._source_lead == np.arange(len(self.leads))).all(axis=1)
        self._statistics = store.statistics() if scaling == "record_zscore" else None
        n_windows = np.ones(len(self.rows), dtype=np.int64)
        if self.n_window is not None:
            n_windows = np.maximum(1, (self.n_samples - self.n_window) // n_stride + 1)
        self._n_stride = n_stride or 0
        self.n_windows = n_windows
        self._first = np.zeros(len(n_windows) + 1, dtype=np.int64)
        np.cumsum(n_windows, out=self._first[1:])
        self.classes = None if classes is None else tuple(classes)
        self.extra = dict(extra or {})
        self.label = None if classes is None else targets_of(store, self.rows, tuple(classes))

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        length = "whole recordings" if self.n_window is None else f"{self.n_window / self.fs:g} s"
        return f"Segments({len(self)} × {length} × {len(self.leads)} leads at {self.fs:g} Hz of {len(self.rows)} recordings)"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """A batch of this one window."""
        return self.__getitems__([place_of(index, len(self), "window")])

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of these windows, in their order."""
        indices = np.asarray(indices, dtype=np.int64)
        at = np.searchsorted(self._first, indices, side="right") - 1
        return self.cut(at, indices - self._first[at])

    def locate(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of the store and number of the window within the recording: (n,) each."""
        indices = np.asarray(indices, dtype=np.int64)
        at = np.searchsorted(self._first, indices, side="right") - 1
        return self.rows[at], indices - self._first[at]

    def cut(self, at: np.ndarray, segment: np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of windows named by position in ``rows`` and number of the window: (n,) int64 each."""
        return self.cut_at(at, segment * self._n_stride, segment)

    def cut_at(self, at: np.ndarray, start: np.ndarray, segment: np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of windows named by position in ``rows`` and first sample: (n,) int64 each."""
        n_samples = self.n_samples[at]
        length = self.n_window if self.n_window is not None else int(n_samples.max(initial=0))
        n_valid = np.minimum(n_samples - start, length)
        plan = self._plan[at]
        source = self._source_lead[plan]
        present = source >= 0
        batch = {"counts": self._counts(at, start, n_valid, length, plan)}
        batch["gain"], batch["offset"], batch["scale"] = self._affine(at, source, present)
        batch |= {
            "n_valid": n_valid,
            "lead_present": present,
            "patient": self._patient[at],
            "record": self.rows[at],
            "segment": segment,
        }
        if self.label is not None:
            batch["label"] = self.label[at]
        return batch | {name: values[self.rows[at]] for name, values in self.extra.items()}

    def _counts(self, at: np.ndarray, start: np.ndarray, n_valid: np.ndarray, length: int, plan: np.ndarray) -> np.ndarray:
        out = np.empty((len(at), len(self.leads), length), dtype=np.int16)
        whole = self._plain[plan] & (n_valid == length)
        n_wanted, read = len(self.leads), self.store.read
        if whole.all():
            places = zip(self._shard[at].tolist(), self._offset[at].tolist(), self.n_samples[at].tolist(), start.tolist())
            for row, (shard, offset, n_samples, first) in enumerate(places):
                out[row] = read(shard, offset, n_wanted * n_samples).reshape(n_wanted, n_samples)[:, first : first + length]
            return out
        out[...] = 0
        for row, position in enumerate(at.tolist()):
            n_samples, n_leads, first, n = self.n_samples[position], self._n_leads[position], start[row], n_valid[row]
            stored = read(int(self._shard[position]), int(self._offset[position]), n_leads * n_samples).reshape(n_leads, n_samples)
            source = self._source_lead[plan[row]]
            there = np.flatnonzero(source >= 0)
            out[row, there, :n] = stored[source[there], first : first + n]
        return out

    def _affine(self, at: np.ndarray, source: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(gain, offset) of ecg = counts * gain + offset, and the mV of one unit of ecg: (row, lead) float32 each."""
        millivolt = (self._microvolt[at] / np.float32(1000))[:, None]
        one = np.ones(present.shape, dtype=np.float32)
        if self.scaling == "none":
            return millivolt * present, np.zeros(present.shape, dtype=np.float32), one
        if self._corpus is not None:
            mean, std = self._corpus
            return millivolt / std * present, -mean / std * present, std * one
        assert self._statistics is not None
        mean, sd, first = self._statistics
        place = first[self.rows[at]][:, None] + np.maximum(source, 0)
        alive = present & (sd[place] > 0)
        scale = np.where(alive, sd[place], np.float32(1)).astype(np.float32)
        inverse = alive / scale
        return (millivolt * inverse).astype(np.float32), (-mean[place] * inverse).astype(np.float32), scale
