"""Windows of stored recordings, cut when they are read: what a training loop draws its batches from.

``view.__getitems__(indices)`` gives a whole raw batch, a dict of arrays (docs/architecture.md)::

    counts       (row, lead, time) int16    0 in leads that are not there and behind the end of a short recording
    gain, offset (row, lead) float32        ecg = counts * gain + offset; both 0 for a lead that is not there
    scale        (row, lead) float32        mV of one unit of ecg: the SD where it was divided by it, else 1
    n_valid      (row,) int64               samples before the padding; the affine step does not hold behind them
    lead_present (row, lead) bool
    patient, record, segment (row,) int64   number of the person in the store, row of the table, number of the window
    label        (row, class) float32       NaN where not known; only when classes are asked for
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.leads import TWELVE, canonical
from einthoven.store.layout import SPLITS
from einthoven.store.read import Store

if TYPE_CHECKING:
    from einthoven.sources.vocabulary import LabelClass

SCALINGS = ("none", "record_zscore", "corpus")
SHORT = ("pad", "drop")
ACROSS = ("record", "visits")


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
        _refuse_unknown("scaling", scaling, SCALINGS)
        _refuse_unknown("short", short, SHORT)
        if fs is not None and fs != store.fs:
            raise StoreError(
                f"{store.path} is at {store.fs:g} Hz and {fs:g} Hz are asked for: ingest the corpus at that rate (fs={fs:g}) into another store"
            )
        self.store, self.fs, self.scaling = store, store.fs, scaling
        self.leads = tuple(canonical(name) for name in leads)
        if len(set(self.leads)) != len(self.leads) or not self.leads:
            raise StoreError(f"expected lead names, each once; got {' '.join(leads) or 'none'}")
        self._corpus = _corpus(scaling, mean, std, len(self.leads))
        self.n_window = None if seconds is None else _n_samples("seconds", seconds, self.fs)
        n_stride = self.n_window if stride is None else _n_samples("stride", stride, self.fs)

        rows = _rows(store, rows)
        n_samples = store.column("n_samples")[rows]
        codes, words = store.codes("leads")
        plan, self._source_lead, n_stored = _lead_plans(codes[rows], words, self.leads)
        if shown is not None:
            hidden = ~np.isin(self.leads, [canonical(name) for name in shown])
            self._source_lead = np.where(hidden, -1, self._source_lead)
        has_lead = (self._source_lead.max(axis=1, initial=-1) >= 0)[plan]
        long_enough = n_samples >= (self.n_window if self.n_window is not None and short == "drop" else 1)
        self.left_out = {
            f"has none of the leads {' '.join(self.leads)}": int(np.count_nonzero(~has_lead)),
            f"shorter than {seconds:g} s" if seconds is not None else "": int(np.count_nonzero(has_lead & ~long_enough)),
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
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of a view with {len(self)}")
        return self.__getitems__([index % len(self)])

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


class Crops:
    """One window of every recording, at a place drawn anew each epoch: the training view of most contrastive methods.

    The place is a function of (seed, epoch, recording). ``by_epoch`` tells the reader of the view to ask for item + epoch * len(view).
    The rest is of Segments; recordings shorter than the window are padded to it, or dropped (``short``).
    """

    by_epoch = True

    def __init__(self, store: Store, rows: Any = None, seconds: float = 2.5, *, seed: int = 0, **options: Any):
        if "stride" in options:
            raise StoreError("random windows have no stride")
        self.segments = Segments(store, rows, seconds, **options)
        self.seed = seed

    @property
    def store(self) -> Store:
        return self.segments.store

    @property
    def rows(self) -> np.ndarray:
        return self.segments.rows

    @property
    def leads(self) -> tuple[str, ...]:
        return self.segments.leads

    @property
    def fs(self) -> float:
        return self.segments.fs

    @property
    def label(self) -> np.ndarray | None:
        return self.segments.label

    def __len__(self) -> int:
        return len(self.segments.rows)

    def __repr__(self) -> str:
        return f"Crops({len(self)} random windows of {self.segments!r})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """A batch of this one recording's window, as in the first epoch."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"recording {index} of a view with {len(self)}")
        return self.__getitems__([index % len(self)])

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of these items, each recording + epoch * len(view)."""
        epoch, at = np.divmod(np.asarray(indices, dtype=np.int64), len(self))
        room = np.maximum(0, self.segments.n_samples[at] - self.segments.n_window)
        keys = zip(epoch.tolist(), self.segments.rows[at].tolist(), room.tolist())
        start = [int(np.random.Generator(np.random.PCG64([self.seed, e, row])).integers(0, most + 1)) for e, row, most in keys]
        return self.segments.cut_at(at, np.array(start, dtype=np.int64), np.zeros(len(at), dtype=np.int64))


class Pairs:
    """Neighbouring windows of one recording, two by two: the positives of CMSC (Kiyasseh et al., ICML 2021).

    Item i gives two rows, 2i and 2i + 1: windows (0, 1), (2, 3), … of a recording; an odd one out is left over and a recording of
    one window gives none, as in fairseq-signals. ``patient`` is the person (there it was the recording, so that two
    recordings of one person repelled each other).

    across : ``record``: as above. ``visits``: recordings of one person follow each other by time, and window k of the first goes with
             window k of the second, of the third with the fourth, …; persons with one recording, and recordings of unknown person or
             time, pair within the recording
    The rest is of Segments, with windows that do not overlap.
    """

    def __init__(self, store: Store, rows: Any = None, seconds: float = 5.0, *, across: str = "record", **options: Any):
        _refuse_unknown("across", across, ACROSS)
        if "stride" in options:
            raise StoreError("pairs are of windows that follow each other: they have no stride")
        self.segments = Segments(store, rows, seconds, **options)
        self.across = across
        partner = np.arange(len(self.segments.rows))
        if across == "visits":
            partner = _next_visits(store, self.segments.rows)
        n_windows = self.segments.n_windows
        within = partner == np.arange(len(partner))
        n_pairs = np.where(within, n_windows // 2, np.minimum(n_windows, n_windows[partner]))
        n_pairs[partner < 0] = 0  # the second of two visits comes with the first
        self._within, self._partner = within, partner
        self._first = np.concatenate([[0], np.cumsum(n_pairs)])

    @property
    def store(self) -> Store:
        return self.segments.store

    @property
    def fs(self) -> float:
        return self.segments.fs

    @property
    def leads(self) -> tuple[str, ...]:
        return self.segments.leads

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        return f"Pairs({len(self)} of {self.segments!r})"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """A batch of this one pair: two rows."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of a view with {len(self)}")
        return self.__getitems__([index % len(self)])

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The raw batch of these pairs, two rows each."""
        indices = np.asarray(indices, dtype=np.int64)
        at = np.searchsorted(self._first, indices, side="right") - 1
        number, within = indices - self._first[at], self._within[at]
        both = np.stack([at, self._partner[at]], axis=1).reshape(-1)
        segment = np.stack([np.where(within, 2 * number, number), np.where(within, 2 * number + 1, number)], axis=1).reshape(-1)
        return self.segments.cut(both, segment)


def ecg(batch: dict[str, np.ndarray]) -> np.ndarray:
    """The signal of a raw batch, (row, lead, time) float32: counts * gain + offset, 0 in leads that are not there and in padding.

    On a device this is one fused step; here it goes row by row, while the row is in the cache.
    """
    counts, gain, offset, n_valid = batch["counts"], batch["gain"], batch["offset"], batch["n_valid"]
    out = np.empty(counts.shape, dtype=np.float32)
    moved = (np.abs(offset).max(axis=1, initial=0) > 0).tolist()
    for row, scale in enumerate(gain[..., None]):
        line = out[row]
        line[...] = counts[row]
        line *= scale
        if moved[row]:
            line += offset[row][:, None]
    for row in np.flatnonzero(n_valid < counts.shape[-1]).tolist():
        out[row, :, n_valid[row] :] = 0
    return out


def adjacent_pairs(segments: Iterable[int]) -> list[tuple[int, int]]:
    """The rule of CMSC pairs over the segment numbers of one recording: sorted, two by two; an odd one out is dropped."""
    numbers = sorted(segments)
    return list(zip(numbers[0::2], numbers[1::2]))


def collate(batch: Any) -> dict[str, np.ndarray]:
    """``collate_fn`` for a DataLoader over a view: what ``__getitems__`` gave is a batch already; items one by one are joined."""
    if isinstance(batch, dict):
        return batch
    return {name: np.concatenate([item[name] for item in batch]) for name in batch[0]}


# ------------------------------------------------------------------------------------------------------------------- tables


def _refuse_unknown(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise StoreError(f"expected {name} as one of {', '.join(known)}; got {value!r}")


def _corpus(scaling: str, mean: Any, std: Any, n_leads: int) -> tuple[np.ndarray, np.ndarray] | None:
    if scaling != "corpus":
        if mean is not None or std is not None:
            raise StoreError(f"mean and std go with scaling corpus, not with {scaling}")
        return None
    if mean is None or std is None or not len(mean) == len(std) == n_leads or not min(std) > 0:
        raise StoreError(f"scaling corpus needs a mean and a std above 0 for each of {n_leads} leads, in mV; got {mean} and {std}")
    return np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)


def _n_samples(name: str, seconds: float, fs: float) -> int:
    if not round(seconds * fs) > 0:
        raise StoreError(f"expected {name} of at least one sample ({1 / fs:g} s); got {seconds}")
    return round(seconds * fs)


def _rows(store: Store, rows: Any) -> np.ndarray:
    if rows is None:
        return np.arange(len(store))
    if isinstance(rows, str):
        _refuse_unknown("a split", rows, SPLITS)
        found = store.where(split=rows)
        if not len(found):
            raise StoreError(f"{store.path} has no recordings in its {rows} split; give the store another split")
        return found
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (len(store),):
            raise StoreError(f"expected a mask over {len(store)} rows; got shape {rows.shape}")
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64)
    if rows.size and not (0 <= rows.min() and rows.max() < len(store)):
        raise StoreError(f"rows {rows.min()} to {rows.max()} of a store with {len(store)}")
    return rows


def _lead_plans(codes: np.ndarray, words: np.ndarray, wanted: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which stored lead each wanted one is, -1 where it is none: the plan of each recording (row,), the plans (plan, lead), and how many leads
    are stored (plan,)."""
    there = np.flatnonzero(np.bincount(codes, minlength=len(words)))
    place = np.zeros(len(words), dtype=np.int64)
    place[there] = np.arange(len(there))
    plan = place[codes]
    leads = [names.split() for names in words[there]]
    table = [[names.index(lead) if lead in names else -1 for lead in wanted] for names in leads]
    return plan, np.array(table, dtype=np.int64).reshape(len(leads), len(wanted)), np.array([len(names) for names in leads], dtype=np.int64)


def targets_of(store: Store, rows: np.ndarray, classes: Sequence[LabelClass]) -> np.ndarray:
    """(row, class) float32, NaN where not known; recordings with the same labels are looked up once."""
    from einthoven.sources.vocabulary import targets

    kind, kinds = store.label_sets()
    codes, systems = store.codes("label_system")
    seen, which = np.unique(kind[rows] * len(systems) + codes[rows], return_inverse=True)
    pairs = zip(*(part.tolist() for part in np.divmod(seen, len(systems))))
    known = [np.asarray(targets(kinds[number], systems[code], tuple(classes)), dtype=np.float32) for number, code in pairs]
    return np.stack(known)[which] if known else np.empty((0, len(classes)), dtype=np.float32)


def _next_visits(store: Store, rows: np.ndarray) -> np.ndarray:
    """For each recording the position of the one it is paired with: its own, or of the person's next one; -1 for that next one."""
    patient, time = store.patient_number[rows], store.column("time")[rows]
    known = np.array([name is not None for name in store.column("patient")[rows]], dtype=bool) & ~np.isnat(time)
    partner = np.arange(len(rows))
    order = np.lexsort((rows, time, patient))
    order = order[known[order]]
    position = 0
    while position + 1 < len(order):
        first, second = order[position], order[position + 1]
        if patient[first] == patient[second]:
            partner[first], partner[second] = second, -1
            position += 2
        else:
            position += 1
    return partner
