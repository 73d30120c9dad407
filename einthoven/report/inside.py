"""What is inside a store, in the order in which a person asks who is about to train on it: the same lines for the terminal and for a page.

Counted column by column, by number where a column holds few words: a store of millions of recordings takes seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.leads import TWELVE
from einthoven.report.corpora import is_known, n_different, number_of_part
from einthoven.report.labels import label_lines
from einthoven.store.layout import SPLITS, parts_of
from einthoven.store.quality_columns import COLUMN as QUALITY

if TYPE_CHECKING:
    from einthoven.store.read import Store

N_NAMED = 6
"""Rates, lengths, sets of leads, reasons and the like that are named; the others are counted."""


def store_lines(store: Store, n_labels: int) -> list[tuple[str, str]]:
    """(what, value) of a store; without a name, a line goes on with what stands above it. ``n_labels``: the most frequent codes that are named."""
    hours = float(store.column("n_samples").sum()) / store.fs / 3600
    origins = _origins(store)
    lines = [
        ("recordings", f"{len(store):,}"),
        ("patients", _patients(store)),
        ("hours", f"{hours:,.1f} at {store.fs:g} Hz"),
        *_below("corpora" if len(origins) > 1 else "corpus", origins),
        *_below("recorded at", _rates(store)),
        ("length", _lengths(store)),
        *_below("leads", _leads(store)),
        *_persons(store),
        *_below("split", _split(store)),
        *label_lines(store, n_labels),
        *_signal(store),
        *_below("quality", _quality(store)),
        *_below("rejected", _rejected(store)),
    ]
    return [(name, value) for name, value in lines if value]


def _below(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    return [(name if at == 0 else "", value) for at, value in enumerate(values)]


def counted(counts: Mapping[Any, int], form: str = "{}") -> str:
    """``500 Hz 21,801, 1000 Hz 516``: the most frequent values in their order, then how many have another; one that all have stands alone."""
    if len(counts) == 1:
        return form.format(next(iter(counts)))
    most = Counter(counts).most_common()
    said = [f"{form.format(value)} {n:,}" for value, n in sorted(most[:N_NAMED])]
    return ", ".join(said) + (f", {len(most) - N_NAMED} others {sum(n for _, n in most[N_NAMED:]):,}" if len(most) > N_NAMED else "")


def _times(store: Store, name: str) -> Counter[str | None]:
    """How often each word of a column comes."""
    codes, words = store.codes(name)
    return Counter({word: n for word, n in zip(words.tolist(), np.bincount(codes, minlength=len(words)).tolist()) if n})


def _of_all(n: int, store: Store) -> str:
    return f"{n:,} ({100 * n / len(store):.0f} %)"


def _patients(store: Store) -> str:
    known = is_known(store, "patient")
    unknown = int(np.count_nonzero(~known))
    if unknown == len(store):
        return "not known; each recording counts as a patient of its own"
    return f"{n_different(store.patient_number[known]):,}" + (f"; of {unknown:,} recordings the patient is not known" if unknown else "")


def _origins(store: Store) -> list[str]:
    """What each corpus is called in the store, and what it is, with its licence; one that was appended to once."""
    counts = _times(store, "source")
    lines = []
    for part in parts_of(store.facts):
        source, recipe = part["source"], part["recipe"]
        name = recipe.get("name") or recipe.get("source")
        number = f" ({counts[name]:,})" if len(counts) > 1 and name in counts else ""
        what = " ".join(str(source[key]) for key in ("name", "version") if source.get(key))
        licence = source.get("licence")
        said = [what if what != name else "", f"licence {licence}" if licence else ""]
        lines.append(": ".join(one for one in (f"{name or 'of unknown origin'}{number}", ", ".join(filter(None, said))) if one))
    return list(dict.fromkeys(lines))


def _rates(store: Store) -> list[str]:
    rates, times = np.unique(store.column("source_fs"), return_counts=True)
    lines = [counted(dict(zip(rates.tolist(), times.tolist())), "{:g} Hz")]
    if n := int(times[rates < store.fs].sum()):
        lines.append(f"{n:,} below the store's {store.fs:g} Hz: nothing above half of their own rate is in them")
    return lines


def _lengths(store: Store) -> str:
    seconds, times = np.unique(np.round(store.column("n_samples") / store.fs, 1), return_counts=True)
    if len(seconds) <= N_NAMED:
        return counted(dict(zip(seconds.tolist(), times.tolist())), "{:g} s")
    most = int(times.argmax())
    return f"{seconds[0]:g} to {seconds[-1]:g} s; {seconds[most]:g} s {times[most]:,}"


def _leads(store: Store) -> list[str]:
    sets = _times(store, "leads").most_common()
    lines = [f"{names}  ({n:,})" for names, n in sets[:N_NAMED]]
    if len(sets) > N_NAMED:
        lines.append(f"and {len(sets) - N_NAMED} other sets of leads  ({sum(n for _, n in sets[N_NAMED:]):,})")
    return lines


def _persons(store: Store) -> list[tuple[str, str]]:
    """Age, sex and when they were recorded, where anything is known."""
    lines = []
    age = store.column("age")
    age = age[~np.isnan(age)]
    if len(age):
        low, middle, high = np.percentile(age, [25, 50, 75])
        spread = f"half of them from {low:.0f} to {high:.0f}, all from {age.min():.0f} to {age.max():.0f}"
        lines.append(("age", f"median {middle:.0f} years, {spread}{_known_of(age, store)}"))
    sex = {"not known" if one is None else str(one): n for one, n in _times(store, "sex").items()}
    if set(sex) != {"not known"}:
        lines.append(("sex", ", ".join(f"{name} {_of_all(n, store)}" for name, n in sorted(sex.items()))))
    time = store.column("time")
    time = time[~np.isnat(time)]
    if len(time):
        first, last = (str(one.astype("datetime64[Y]")) for one in (time.min(), time.max()))
        lines.append(("years", (first if first == last else f"{first} to {last}") + _known_of(time, store)))
    return lines


def _known_of(values: np.ndarray, store: Store) -> str:
    return "" if len(values) == len(store) else f"; known of {len(values):,}"


def _split(store: Store) -> list[str]:
    part = number_of_part(store)
    times = np.bincount(part, minlength=len(SPLITS) + 1).tolist()
    if times[-1] == len(store):
        return ["none yet; `einthoven split` makes one"]
    said = [f"{name} {_of_all(n, store)}" for name, n in zip((*SPLITS, "in no part"), times) if n]
    return [", ".join(said), _rule(store.split_rule)]


def _rule(rule: Mapping[str, Any]) -> str:
    """How a split was made, in words."""
    how = rule.get("strategy")
    if n_folds := rule.get("folds"):
        words = f"{n_folds} folds of whole patients by label, sex and age: valid {_listed(rule.get('valid'))}, test {_listed(rule.get('test'))}, seed {rule.get('seed')}"
    elif how in ("random", "stratified"):
        words = (
            f"whole patients at random{', each label as often in every part' if how == 'stratified' else ''}, seed {rule.get('seed', 1)}"
        )
    elif how == "fold":
        words = f"the corpus's own folds: valid {_listed(rule.get('valid_fold'))}, test {_listed(rule.get('test_fold'))}"
    elif how == "source":
        said = [f"{part} {_listed(rule[f'{part}_source'])}" for part in SPLITS if rule.get(f"{part}_source")]
        words = f"by corpus: {', '.join(said)}"
    elif how == "table":
        words = f"as {rule.get('table')} says"
    else:
        return "given by hand" if how == "given" else ""
    ways = {str(one.get("strategy")) for one in rule.get("appended", ())} - {str(how)}
    return words + (f"; what was appended: by {', '.join(sorted(ways))}" if ways else "")


def _listed(names: Any) -> str:
    return " ".join(map(str, names)) if isinstance(names, list | tuple) else str(names)


def _signal(store: Store) -> list[tuple[str, str]]:
    """What is not there of the twelve leads, and what was done about gaps."""
    codes, words = store.codes("leads")
    lacking = np.array([len(set(TWELVE) - set(str(names).split())) for names in words.tolist()], dtype=np.int64)[codes]
    n_samples = store.column("n_samples")
    share = float((lacking * n_samples).sum()) / (len(TWELVE) * float(n_samples.sum())) if len(store) else 0.0
    filled = store.column("n_filled")
    lines = []
    if share:
        lines.append(
            ("missing signal", f"{100 * share:.2g} % of the twelve leads; {int(np.count_nonzero(lacking)):,} recordings lack a lead")
        )
    if filled.any():
        lines.append(("gaps filled", f"{int(filled.sum()):,} samples in {int(np.count_nonzero(filled)):,} recordings"))
    for name, what, why in (
        ("derived", "derived leads", ", from I and II"),
        ("interrupted", "left-out leads", ", for gaps too long to fill"),
        ("flat", "flat leads", ""),
        ("clipped", "clipped leads", ""),
    ):
        if n := sum(n for text, n in _times(store, name).items() if text):
            lines.append((what, f"in {n:,} recording{'' if n == 1 else 's'}{why}"))
    return lines


def _quality(store: Store) -> list[str]:
    if QUALITY not in store.names:
        return ["not audited yet; `einthoven audit` looks at every recording"]
    import pyarrow.compute as pc

    from einthoven.report.audit import ADVICE

    column = store.take([QUALITY])[QUALITY]
    ok, is_copy, flags = (pc.struct_field(column, name) for name in ("ok", "is_copy", "flags"))
    found: Counter[str] = Counter()
    for one in pc.value_counts(flags).to_pylist():
        found.update(dict.fromkeys((one["values"] or "").split(), one["counts"]))
    del found["copy"]
    lines = [f"{pc.sum(ok).as_py() or 0:,} usable (quality.ok), {pc.sum(is_copy).as_py() or 0:,} copies of others (quality.is_copy)"]
    lines += [f"{n:>9,}  {kind}: {ADVICE[kind][0][0].lower()}{ADVICE[kind][0][1:]}" for kind, n in found.most_common()]
    if column.null_count:
        lines.append(f"{column.null_count:,} appended since, not audited; `einthoven audit` again")
    return lines


def _rejected(store: Store) -> list[str]:
    from einthoven.store.rejections import rejections

    total = store.facts["counts"].get("rejected")
    if not total:
        return ["none"]
    reasons = rejections(store.path)
    lines = [
        f"{total:,} of {store.facts['counts']['listed']:,}, each with its reason in rejected.csv",
        *(f"{n:>9,}  {reason}" for reason, n in reasons[:N_NAMED]),
    ]
    return [*lines, f"        …  {len(reasons) - N_NAMED} reasons more"] if len(reasons) > N_NAMED else lines
