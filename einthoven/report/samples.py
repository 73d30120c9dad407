"""A look at a store, as one page: what is inside, how it is spread, and tracings of a sample that shows every common label.

Nothing on the page runs: a browser's own search finds a code, the list of contents leads to a tracing, and every tracing folds away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.leads import TWELVE
from einthoven.report.corpora import Corpus, corpora, is_known, n_different
from einthoven.report.inside import counted, store_lines
from einthoven.report.labels import bearers, bearers_by_part, names_of_labels, systems_of_codes
from einthoven.report.page import facts, page, picture, table, text, tiles
from einthoven.report.prediction import record_facts, tracing
from einthoven.report.table import number_of
from einthoven.store.layout import SPLITS
from einthoven.store.read import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_RECORDS = 24
"""Tracings on a page by default: some 2 MB of HTML."""
N_LABELS = 40


def samples_html(
    store: Store,
    *,
    rows: np.ndarray | None = None,
    n_records: int = N_RECORDS,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """The sample sheet of a store.

    rows      : of which recordings the tracings are drawn (``store.where.select``); None: of all. The figures above them are of the whole store
    n_records : tracings, at most
    seed      : another seed, other recordings
    """
    among = np.arange(len(store)) if rows is None else np.asarray(rows)
    chosen = choose(store, among, n_records, seed)
    names, several = names_of_labels(store), corpora(store)
    about: list[list[str]] = []
    for what, value in store_lines(store, 0):
        if what:
            about.append([text(what), text(value)])
        else:
            about[-1][1] += f"<br/>{text(value)}"
    body = [
        tiles(headline(store)),
        "<h2>What is inside</h2>",
        table(["", ""], about),
        *([corpora_table(several)] if len(several) > 1 else []),
        *label_part(store, names),
        "<h2>How it is spread</h2>",
        picture(spread(store, names), "age by sex, length, amplitude and recordings of each label"),
        f"<h2>{len(chosen)} of {len(among):,} recordings</h2>",
        "<p>Drawn so that each frequent label and each source comes in; the same seed draws the same.</p>",
        contents(store, chosen, names),
    ]
    for done, row in enumerate(chosen, start=1):
        body.append(recording(store, row, names))
        if progress is not None:
            progress(done, len(chosen))
    return page(store.path.name, "\n".join(body), lead=str(store.facts["source"]["name"]), brand="Einthoven · store")


def choose(store: Store, among: np.ndarray, n_records: int, seed: int) -> list[int]:
    """Rows to be drawn, in the store's order: half of them bear the most frequent labels, one each; every source comes in; the others are random."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(among)
    which, sets = store.label_sets()
    chosen: list[int] = []
    for code, _ in bearers(which, sets).most_common(n_records // 2):
        bears = np.array([(labels or {}).get(code) == 1.0 for labels in sets])
        found = next((int(row) for row in order if bears[which[row]] and int(row) not in chosen), None)
        if found is not None:
            chosen.append(found)
    source = store.column("source")
    for name in dict.fromkeys(source[order].tolist()):
        if not any(source[row] == name for row in chosen):
            chosen.append(int(next(row for row in order if source[row] == name)))
    taken = set(chosen)
    chosen += [int(row) for row in order[: n_records + len(taken)] if int(row) not in taken]
    return sorted(chosen[:n_records])


def headline(store: Store) -> dict[str, str]:
    hours = float(store.column("n_samples").sum()) / store.fs / 3600
    known = is_known(store, "patient")
    numbers = {"recordings": f"{len(store):,}", "hours": f"{hours:,.1f}", "Hz": f"{store.fs:g}"}
    if known.any():
        numbers["patients"] = f"{n_different(store.patient_number[known]):,}"
    if rejected := store.facts["counts"].get("rejected"):
        numbers["set aside, with reasons"] = f"{rejected:,}"
    return numbers


def corpora_table(rows: Sequence[Corpus]) -> str:
    """A row for each corpus, and below it one for each of its data sets."""
    lines = [
        [
            f"&emsp;{text(row.name)}" if row.is_part else f"<strong>{text(row.name)}</strong>",
            *map(number_of, (row.n_records, row.n_patients, row.hours, row.n_labelled, *row.splits)),
            text(counted(row.rates, "{:g} Hz")),
        ]
        for row in rows
    ]
    heads = ["corpus", "recordings", "patients", "hours", "labelled", *SPLITS, "recorded at"]
    return table(heads, lines, numbers=range(1, len(heads) - 1))


def contents(store: Store, rows: Sequence[int], names: Mapping[str, str]) -> str:
    columns = {name: store.column(name) for name in ("record", "source", "patient", "age", "sex", "split")}
    which, sets = store.label_sets()
    lines = []
    for row in rows:
        labels = sets[which[row]]
        age = columns["age"][row]
        lines.append([
            f'<a href="#row{row}">{text(columns["record"][row])}</a>',
            text(columns["source"][row]),
            text(columns["patient"][row] or "–"),
            "–" if np.isnan(age) else f"{age:.0f}",
            whole(columns["sex"][row] or "–"),
            whole(columns["split"][row] or "–"),
            text("unlabelled" if labels is None else ", ".join(names.get(code, code) for code, value in labels.items() if value == 1.0)),
        ])  # fmt: skip
    return table(["record", "source", "patient", "age", "sex", "split", "labels"], lines, numbers=(3,))


def label_part(store: Store, names: Mapping[str, str]) -> list[str]:
    """The most frequent labels, with their recordings in each part of the split; nothing where there are none."""
    which, sets = store.label_sets()
    counts = bearers(which, sets)
    if not counts:
        return []
    said, by_part = systems_of_codes(store, which, sets), bearers_by_part(store, which, sets)
    rows = [
        [
            text(", ".join(sorted(said[code]))),
            text(code),
            text(names.get(code, "")),
            f"{n:,}",
            *(f"{by_part[part][code]:,}" for part in SPLITS),
        ]
        for code, n in counts.most_common(N_LABELS)
    ]
    heading = f"<h2>Labels{f': the {N_LABELS} most frequent of {len(counts):,}' if len(counts) > N_LABELS else ''}</h2>"
    return [heading, table(["vocabulary", "code", "meaning", "recordings", *SPLITS], rows, numbers=(3, 4, 5, 6))]


def whole(word: str) -> str:
    return f'<span class="whole">{text(word)}</span>'


def recording(store: Store, row: int, names: Mapping[str, str]) -> str:
    """One recording: what the store knows of it, and its tracing."""
    record = store.record(row)
    remarks = {
        "flat": store.column("flat")[row],
        "clipped": store.column("clipped")[row],
        "derived from I and II": store.column("derived")[row],
        "left out for gaps": store.column("interrupted")[row],
    }
    said = {1.0: "", 0.0: " (absent)"}
    labels = [f"{code} {names.get(code, '')}".strip() + said.get(value, " (uncertain)") for code, value in (record.labels or {}).items()]
    known: dict[str, Any] = {**record_facts(record), "Labels": ", ".join(labels), **remarks}
    known["Source"] = f"{store.column('source')[row]}, {store.column('path')[row]}"
    return (
        f'<section class="record" id="row{row}"><details open><summary><strong>{text(record.record)}</strong></summary>\n'
        f"{facts(known)}{tracing(record, seconds=min(record.seconds, 10.0) or None)}</details></section>"
    )


def spread(store: Store, names: Mapping[str, str]) -> Figure:
    """Four histograms: age by sex, length, SD of each of the twelve leads, and the most frequent labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.6, 6.4), layout="constrained")
    ages, lengths, amplitudes, labels = figure.subplots(2, 2).ravel()
    age, sex = store.column("age").astype(float), store.column("sex")
    groups = {name: age[(sex == name) & ~np.isnan(age)] for name in ("female", "male")}
    groups["sex not known"] = age[np.array([one is None for one in sex]) & ~np.isnan(age)]
    groups = {f"{name} ({len(values):,})": values for name, values in groups.items() if len(values)}
    if groups:
        ages.hist(list(groups.values()), bins=np.arange(0, 101, 5), stacked=True, label=list(groups))
        ages.legend(frameon=False, fontsize=8)
    ages.set(xlabel="age (years)", ylabel="recordings", title=f"age, known of {np.count_nonzero(~np.isnan(age)):,}")
    seconds = store.column("n_samples") / store.fs
    lengths.hist(seconds, bins=40 if np.ptp(seconds) else 1)
    lengths.set(xlabel="length (s)", ylabel="recordings", yscale="log", title="length")
    spreads = sd_by_lead(store)
    if spreads:
        quartiles = np.array([np.percentile(values, [25, 50, 75]) for values in spreads.values()]).T
        at = np.arange(len(spreads))
        amplitudes.vlines(at, quartiles[0], quartiles[2], linewidth=6, alpha=0.5)
        amplitudes.plot(at, quartiles[1], "o")
        amplitudes.set_xticks(at, list(spreads), fontsize=8)
        amplitudes.set_ylim(bottom=0)
    amplitudes.set(ylabel="SD (mV): median and quartiles", title="amplitude")
    counts = bearers(*store.label_sets())
    common = counts.most_common(15)[::-1]
    labels.barh([f"{code} {names.get(code, '')}".strip()[:44] for code, _ in common], [n for _, n in common])
    labels.tick_params(axis="y", labelsize=8)
    labels.set(xlabel="recordings", title=f"the {len(common)} most frequent of {len(counts)} labels" if common else "no labels")
    for axes in (ages, lengths, amplitudes, labels):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def sd_by_lead(store: Store) -> dict[str, np.ndarray]:
    """SD in mV of each of the twelve leads that is there, one value a recording."""
    _, sd, first = store.statistics()
    leads = store.column("leads")
    kinds, kind = np.unique(leads.astype(str), return_inverse=True)
    out: dict[str, list[np.ndarray]] = {}
    for number, names in enumerate(kinds):
        rows = np.flatnonzero(kind == number)
        for place, name in enumerate(names.split()):
            if name in TWELVE:
                out.setdefault(name, []).append(sd[first[rows] + place])
    return {name: np.concatenate(out[name]) for name in TWELVE if name in out}
