"""The page of an audit: counts first, then every kind of finding with what to do about it and the tracings that show it most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.report.page import notes, page, table, text, tiles
from einthoven.report.prediction import tracing
from einthoven.store.audit import Audit, Twin
from einthoven.store.coverage import Coverage
from einthoven.store.read import Store
from einthoven.store.tally import PER_LEAD, Doubted

N_TRACINGS, N_TWINS, N_ROWS = 3, 4, 40
"""Tracings of each kind of doubt, pairs of copies that are drawn, and rows of a table; what is left out is said."""

ADVICE = {  # kind -> what it is, what to do
    "amplitude": ("The amplitude is none of an ECG's", "Look for the unit and the gain in the file's header; read the corpus again with the right ones."),
    "counts": ("Whole numbers where mV should be", "The gain was not applied. Read the corpus again with the gain of its documentation."),
    "rate": ("The time axis is doubtful", "Compare the rate in the header with the corpus's documentation; a wrong one moves every interval and every label."),
    "line": (
        "A mains line where none can be",
        "If many recordings of one corpus show it at one frequency, their rate is wrong; a single one met a machine in the room.",
    ),
    "short": ("Too short", "Leave them out."),
    "limb": (
        "The limb leads break Einthoven's laws",
        "The file is wrong, not the heart. Where one sentence explains it for a whole corpus (an order, a sign, a gain), mend that in its reader.",
    ),
    "electrodes": (
        "Electrodes of the limbs may be interchanged",
        "A suspicion: look at P and QRS in I and aVR. Leave such recordings out of a test set, or correct the leads when a cardiologist agrees.",
    ),
    "chest": ("Chest electrodes may be interchanged", "A suspicion: look at the R wave from V1 to V6."),
    "flat": ("Leads that never change", "They were not recorded. Train with lead dropout, or leave the recordings out: where=\"quality.ok\"."),
    "missing": ("Leads that are not there", "Models that need twelve leads see zeros there."),
    "clipped": ("Overdriven amplifiers", "Peaks are cut off; amplitudes cannot be trusted."),
    "noise": ("Muscle or amplifier noise", "Leave the worst out: where=\"quality.noise_uv < 40\"."),
    "mains": ("Mains", "A notch filter takes it; a model may learn which hospital it came from."),
    "baseline": ("A wandering baseline", "A high-pass at 0.5 Hz takes it."),
}  # fmt: skip


def audit_html(audit: Audit, *, n_tracings: int = N_TRACINGS, progress: Callable[[int, int], None] | None = None) -> str:
    """The report of ``einthoven audit --html``. The stores are opened again for their tracings.

    n_tracings : of each kind of doubt, at most
    """
    stores = [Store(one.path) for one in audit.stores]
    kinds = [kind for kind in ADVICE if kind in audit.worst]
    n_parts = len(kinds) + 1
    body = [tiles(headline(audit)), "<h2>Stores</h2>", store_table(audit), "<h2>What was found</h2>", kind_table(audit, kinds)]
    body += twins_part(audit, stores)
    if progress is not None:
        progress(1, n_parts)
    for done, kind in enumerate(kinds, start=2):
        body.append(kind_part(audit, kind, stores, n_tracings))
        if progress is not None:
            progress(done, n_parts)
    body += ["<h2>Leads</h2>", lead_table(audit), "<h2>What is known of the recordings</h2>", *coverage_part(audit)]
    body.append(
        "<h2>How to use this</h2><p>The flags stand in the column <code>quality</code> of each store's table and can filter every command that takes a "
        'condition:</p><pre>where="quality.ok and not quality.is_copy and age &gt;= 18"</pre>'
    )
    names = ", ".join(store.name for store in audit.stores)
    return page(
        f"Audit of {names}",
        "\n".join(body),
        lead=f"{audit.n_records:,} recordings, looked at in {audit.seconds:.0f} s",
        brand="Einthoven · audit",
    )


def headline(audit: Audit) -> dict[str, str]:
    ok = sum(store.n_ok for store in audit.stores)
    return {
        "recordings": f"{audit.n_records:,}",
        "ok": f"{ok:,}",
        "doubted": f"{audit.n_records - ok:,}",
        "of no use": f"{sum(store.refused for store in audit.stores):,}",
        "copies of another": f"{audit.n_copies:,}",
        "pairs of copies across a split": f"{sum(twin.across_split for twin in audit.twins):,}",
        "patients on two sides of a split": f"{len(audit.leaks):,}",
    }


def store_table(audit: Audit) -> str:
    rows = [
        [text(one.name), f"{one.n_records:,}", f"{one.n_ok:,}", f"{one.n_records - one.n_ok:,}", f"{one.refused:,}", f"{one.kinds.get('copy', 0):,}",
         text(one.path)]
        for one in audit.stores
    ]  # fmt: skip
    return table(["store", "recordings", "ok", "doubted", "of no use", "copies", "folder"], rows, numbers=(1, 2, 3, 4, 5))


def kind_table(audit: Audit, kinds: Sequence[str]) -> str:
    """A row for each kind: recordings of each store, and what to do."""
    if not kinds:
        return "<p>No recording is doubted.</p>"
    rows = []
    for kind in kinds:
        title, advice = ADVICE[kind]
        counts = [f"{store.kinds.get(kind, 0):,}" for store in audit.stores]
        rows.append([f'<a href="#{kind}">{text(title)}</a>', *counts, text(advice)])
    return table(["finding", *(store.name for store in audit.stores), "what to do"], rows, numbers=range(1, len(audit.stores) + 1))


def kind_part(audit: Audit, kind: str, stores: Sequence[Store], n_tracings: int) -> str:
    title, advice = ADVICE[kind]
    n = sum(store.kinds.get(kind, 0) for store in audit.stores)
    shown = _varied(audit.worst[kind], n_tracings)
    parts = [f'<h2 id="{kind}">{text(title)}</h2>', f"<p>{n:,} of {audit.n_records:,} recordings. {text(advice)}</p>"]
    if n > len(shown):
        parts.append(
            f'<p class="muted small">Drawn are {len(shown)} of those that show it most; <code>einthoven audit --out FOLDER</code> lists all.</p>'
        )
    for one in shown:
        doubts = [doubt.sentence for doubt in sorted(one.suspicions, key=lambda doubt: doubt.kind != kind)]
        where = f"{audit.stores[one.store].name}, record {one.record}"
        parts.append(f'<section class="record"><h3>{text(where)}</h3>{notes(doubts)}{_drawn(stores[one.store], one.row)}</section>')
    return "\n".join(parts)


def _varied(doubted: Sequence[Doubted], n: int) -> list[Doubted]:
    """The first of each store, then the others."""
    firsts = {one.store: one for one in reversed(doubted)}
    chosen = sorted(firsts.values(), key=lambda one: doubted.index(one))
    return [*chosen, *(one for one in doubted if one not in chosen)][:n]


def _drawn(store: Store, row: int, start: float = 0.0) -> str:
    """Ten seconds of a recording; of one in counts or µV as much as is of use, scaled to a usual size, and this is said."""
    record = store.record(row)
    record = replace(record, signal=record.signal[: len(TWELVE)], leads=record.leads[: len(TWELVE)])
    size = float(np.nanmedian(record.signal.std(axis=1))) if record.signal.size else 0.0
    scaled = ""
    if size > 2.0 or 0 < size < 0.01:
        record = replace(record, signal=record.signal * np.float32(0.2 / size))
        scaled = f'<p class="muted small">Drawn {0.2 / size:.3g} times as large as it is stored.</p>'
    return scaled + tracing(record, start=start, seconds=min(10.0, record.seconds - start))


# -------------------------------------------------------------------------------------------------------------------- copies


def twins_part(audit: Audit, stores: Sequence[Store]) -> list[str]:
    """Copies and torn patients: what would make a test too good."""
    parts = ['<h2 id="copies">Copies</h2>']
    if not audit.twins:
        parts.append("<p>No two recordings share a signal.</p>")
    else:
        two, across = sum(twin.patients == "two" for twin in audit.twins), sum(twin.across_split for twin in audit.twins)
        parts.append(
            f"<p>{_n(len(audit.twins), 'pair')}; without {_n(audit.n_copies, 'recording')} none would be left. Pairs on two sides of a split: {across:,}; what "
            f"is tested there was trained on. Pairs that the corpus takes for two patients: {two:,}; one of the ids is wrong. Leave copies out with "
            '<code>where="not quality.is_copy"</code>, or split again with <code>einthoven split</code>.</p>'
        )
        rows = [twin_row(audit, twin) for twin in _urgent(audit.twins)[:N_ROWS]]
        parts.append(table(["recording", "its copy", "how they differ", "seconds in common", "split", "patients"], rows, numbers=(3,)))
        if len(audit.twins) > N_ROWS:
            parts.append(
                f'<p class="muted small">{len(audit.twins) - N_ROWS:,} more pairs: <code>einthoven audit --out FOLDER</code> lists all.</p>'
            )
        for twin in _differing(audit.twins)[:N_TWINS]:
            parts.append(_pair(audit, twin, stores))
    parts.append("<h2>Patients on two sides of a split</h2>")
    if not audit.leaks:
        parts.append("<p>None.</p>")
    else:
        rows = [
            [text(leak.source), text(leak.patient), text(", ".join(f"{place} ({n})" for place, n in leak.places.items()))]
            for leak in audit.leaks[:N_ROWS]
        ]
        parts.append(
            f"<p>{_n(len(audit.leaks), 'patient')}. Split again with <code>einthoven split</code>, which keeps each patient on one side.</p>"
        )
        parts.append(table(["source", "patient", "recordings in"], rows))
    return parts


def _urgent(twins: Sequence[Twin]) -> list[Twin]:
    """Two patients first, then across a split, then inside one store."""
    return sorted(twins, key=lambda twin: (twin.patients != "two", not twin.across_split, twin.stores[0] != twin.stores[1]))


def _differing(twins: Sequence[Twin]) -> list[Twin]:
    """One pair for each way in which copies differ, those that differ most first: exact ones need no picture."""
    seen: dict[str, Twin] = {}
    for twin in twins:
        if not twin.copy.exact:
            seen.setdefault("".join(char for char in " ".join(twin.copy.differs) if not char.isdigit() and char != "."), twin)
    return sorted(seen.values(), key=lambda twin: -len(twin.copy.differs))


def twin_row(audit: Audit, twin: Twin) -> list[str]:
    first, second = (f"{audit.stores[at].name}: {record}" for at, record in zip(twin.stores, twin.records))
    how = "not at all" if twin.copy.exact else "; ".join(twin.copy.differs)
    side = '<span class="mark">two sides</span>' if twin.across_split else "one side"
    patients = {"two": '<span class="mark">two</span>', "unknown": "–"}.get(twin.patients, "one")
    return [text(first), text(second), text(how), f"{twin.copy.seconds:.4g}", side, patients]


def _pair(audit: Audit, twin: Twin, stores: Sequence[Store]) -> str:
    """Both, one above the other: the same lead over the same seconds."""
    records = [stores[at].record(row) for at, row in zip(twin.stores, twin.rows)]
    shared = [name for name in ("II", "V2", *records[0].leads) if all(name in record.leads for record in records)]
    lines = []
    for record, at, name, start in zip(records, twin.stores, twin.records, (twin.copy.start_first, twin.copy.start_second)):
        leads = tuple(dict.fromkeys(shared))[:2] or record.leads[:1]
        part = Record(record.signal[[record.leads.index(lead) for lead in leads]], record.fs, leads, record.record)
        drawing = tracing(part, start=start, seconds=min(10.0, twin.copy.seconds, record.seconds - start), layout="12x1", caption=False)
        lines.append(f"<figure>{drawing}<figcaption>{text(audit.stores[at].name)}: {text(name)}, from {start:.2f} s</figcaption></figure>")
    return f'<section class="record"><h3>{text("; ".join(twin.copy.differs))}</h3>{"".join(lines)}</section>'


# --------------------------------------------------------------------------------------------------------------------- counts


def lead_table(audit: Audit) -> str:
    """How many recordings have each lead flat, clipped or noisy."""
    leads = [*TWELVE, *sorted({lead for store in audit.stores for one in store.per_lead.values() for lead in one} - set(TWELVE))]
    kinds = [kind for kind in PER_LEAD if any(kind in store.per_lead for store in audit.stores)]
    if not kinds:
        return "<p>No lead is flat, clipped or noisy.</p>"
    rows = []
    for lead in leads:
        counts = [sum(store.per_lead.get(kind, {}).get(lead, 0) for store in audit.stores) for kind in kinds]
        if any(counts) or lead in TWELVE:
            rows.append([text(lead), *(f"{n:,}" for n in counts)])
    return table(["lead", *kinds], rows, numbers=range(1, len(kinds) + 1))


def coverage_part(audit: Audit) -> list[str]:
    rows, strange = [], []
    for store in audit.stores:
        for one in store.coverage:
            rows.append([
                text(store.name), text(one.source), f"{one.n_records:,}", _share(one.n_records - one.unlabelled, one), f"{len(one.codes):,}",
                text(", ".join(one.systems) or "–"), *(_share(n, one) for n in (one.age, one.sex, one.patient, one.time)),
                text(", ".join(f"{part} {n:,}" for part, n in one.splits.items())),
            ])  # fmt: skip
            if one.unknown:
                some = ", ".join(f"{code} ({n:,})" for code, n in list(one.unknown.items())[:10])
                strange.append(f"{store.name}, {one.source}: {len(one.unknown)} codes that its vocabulary does not have: {some}")
            if one.odd_age:
                strange.append(f"{store.name}, {one.source}: {one.odd_age:,} ages below 0 or above 110 years")
            if one.unlabelled:
                strange.append(
                    f"{store.name}, {one.source}: {one.unlabelled:,} recordings that nobody labelled; they can pretrain, not teach"
                )
    head = ["store", "source", "recordings", "labelled", "codes", "vocabulary", "age", "sex", "patient", "time", "split"]
    return [table(head, rows, numbers=(2, 3, 4, 6, 7, 8, 9)), notes(strange)]


def _n(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _share(n: int, of: Coverage) -> str:
    return "all" if n == of.n_records else "none" if n == 0 else f"{100 * n / of.n_records:.1f} %"
