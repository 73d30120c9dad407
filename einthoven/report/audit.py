"""The page of an audit: counts first, then every kind of finding with what to do about it and the tracings that show it most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from einthoven.audit.coverage import Coverage
from einthoven.audit.run import Audit
from einthoven.audit.tally import PER_LEAD, Doubted
from einthoven.leads import TWELVE
from einthoven.report.audit_copies import copies_part, leaks_part
from einthoven.report.page import notes, page, table, text, tiles
from einthoven.report.prediction import tracing
from einthoven.signal.suspicion import MARKED, N_SEEN
from einthoven.store.quality_columns import HARMLESS
from einthoven.store.read import Store

N_TRACINGS = 3
"""Tracings of each kind of doubt; what is left out is said."""

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

PROOF = {  # kinds that are suspicions -> how much one proves; the shares are those of einthoven.signal.limb and einthoven.signal.electrodes
    "limb": "Two leads that were interchanged are found, and named rightly, in 99 % of recordings.",
    "electrodes": "Of recordings with the electrodes of the two arms interchanged 88 % are found. A heart on the right side, or an infarct of the side "
    "wall, looks alike: no mark proves a mistake.",
    "chest": "V1 and V6 interchanged are found in 95 % of recordings, all in reverse in 70 %, V2 and V3 in 35 %, V1 and V2 hardly ever. A rare heart "
    "looks alike: no mark proves a mistake.",
    "amplitude": "A factor of 5 is noticed in 80 % of recordings, one of 1/5 in 40 %.",
    "line": "A machine in the room makes such a line as well.",
    "rate": "A rate taken twice too high is noticed in 58 % of recordings, one taken twice too low in 42 %.",
}  # fmt: skip

TITLES = {kind: title for kind, (title, _) in ADVICE.items()} | {"copy": "A copy of another recording"}


def audit_html(audit: Audit, *, n_tracings: int = N_TRACINGS, progress: Callable[[int, int], None] | None = None) -> str:
    """The report of ``einthoven audit --html``. The stores are opened again for their tracings.

    n_tracings : of each kind of doubt, at most
    """
    stores = [Store(one.path) for one in audit.stores]
    kinds = [kind for kind in ADVICE if kind in audit.worst]
    n_parts = len(kinds) + 1
    body = [tiles(headline(audit)), rule(), "<h2>Stores</h2>", store_table(audit), "<h2>What was found</h2>", kind_table(audit, kinds)]
    body += [*copies_part(audit, stores), *leaks_part(audit)]
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


def rule() -> str:
    """What ``ok``, ``doubted`` and ``of no use`` mean: the rule of einthoven.store.quality_columns, in one paragraph."""
    reasons: dict[str, list[str]] = {}
    for kind, reason in HARMLESS.items():
        reasons.setdefault(reason, []).append(f"“{TITLES[kind]}”")
    warnings = "; ".join(f"{' and '.join(titles)} ({reason})" for reason, titles in reasons.items())
    return (
        "<p>A recording is <strong>ok</strong> (<code>quality.ok</code>) or, where a finding puts what its numbers say in doubt, doubted; it is <strong>of no use</strong> "
        "where nobody could read it: too short, without a moving lead, of an impossible rate or amplitude. Only warnings, which leave it ok, are: "
        f"{text(warnings)}.</p>"
    )


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
        counts = [f"{store.kinds.get(kind, 0):,}" for store in audit.stores]
        rows.append([f'<a href="#{kind}">{text(TITLES[kind])}</a>', *counts, _usual(kind), weight(kind), text(ADVICE[kind][1])])
    n = len(audit.stores)
    return (
        table(["finding", *(store.name for store in audit.stores), "usual", "counts as", "what to do"], rows, numbers=range(1, n + 2))
        + f'<p class="muted small">usual: the share of {N_SEEN} recordings of PTB-XL, CinC 2021 and CODE-15 % that carry the mark, hardly any of which is known '
        "to be wrong. As much is to be expected of a sound corpus; a multiple of it is worth a look.</p>"
    )


def weight(kind: str) -> str:
    """What a finding makes of a recording."""
    return "warning" if kind in HARMLESS else "not ok"


def _usual(kind: str) -> str:
    return f"{100 * MARKED[kind] / N_SEEN:.1f} %" if kind in MARKED else "–"


def kind_part(audit: Audit, kind: str, stores: Sequence[Store], n_tracings: int) -> str:
    title, advice = ADVICE[kind]
    n = sum(store.kinds.get(kind, 0) for store in audit.stores)
    shown = _varied(audit.worst[kind], n_tracings)
    parts = [
        f'<h2 id="{kind}">{text(title)}</h2>',
        f"<p>{n:,} of {audit.n_records:,} recordings ({_percent(n, audit.n_records)}). {text(advice)}</p>",
    ]
    if kind in PROOF:
        parts.append(f"<p>{_without_a_mistake(kind, audit.n_records)} {text(PROOF[kind])}</p>")
    if n > len(shown):
        parts.append(
            f'<p class="muted small">Drawn are {len(shown)} of those that show it most; <code>einthoven audit --out FOLDER</code> lists all.</p>'
        )
    for one in shown:
        doubts = [doubt.sentence for doubt in sorted(one.suspicions, key=lambda doubt: doubt.kind != kind)]
        where = f"{audit.stores[one.store].name}, record {one.record}"
        parts.append(f'<section class="record"><h3>{text(where)}</h3>{notes(doubts)}{_drawn(stores[one.store], one.row)}</section>')
    return "\n".join(parts)


def _without_a_mistake(kind: str, n_records: int) -> str:
    """How many recordings of a sound corpus of this size would be suspected."""
    if not MARKED[kind]:
        return f"None of {N_SEEN} real recordings carries this mark."
    expected = MARKED[kind] / N_SEEN * n_records
    return (
        f"Of {N_SEEN} real recordings {MARKED[kind]} carr{'y' if MARKED[kind] > 1 else 'ies'} this mark ({_usual(kind)}), though hardly one is known to be "
        f"wrong: of {n_records:,} recordings {f'about {expected:,.0f}' if expected >= 1 else 'less than one'} may carry it without a mistake."
    )


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


def _share(n: int, of: Coverage) -> str:
    return "all" if n == of.n_records else "none" if n == 0 else _percent(n, of.n_records)


def _percent(n: int, of: int) -> str:
    return f"{100 * n / of:.1f} %"
