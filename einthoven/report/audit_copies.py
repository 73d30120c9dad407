"""The part of an audit's page about what would make a test too good: copies of recordings, and patients on two sides of a split."""

from __future__ import annotations

import re
from collections.abc import Sequence

from einthoven.audit.run import Audit, Twin
from einthoven.record import Record
from einthoven.report.page import table, text
from einthoven.report.prediction import tracing
from einthoven.store.read import Store

N_TWINS, N_ROWS = 4, 40
"""Pairs of copies that are drawn, and rows of a table; what is left out is said."""


def copies_part(audit: Audit, stores: Sequence[Store]) -> list[str]:
    """How many pairs there are, which, and what is not the same about them."""
    head = '<h2 id="copies">Copies</h2>'
    if not audit.twins:
        return [head, "<p>No two recordings share a signal.</p>"]
    two, across = sum(twin.patients == "two" for twin in audit.twins), sum(twin.across_split for twin in audit.twins)
    rows = [twin_row(audit, twin) for twin in urgent(audit.twins)[:N_ROWS]]
    return [
        head,
        f"<p>{_n(len(audit.twins), 'pair')}; without {_n(audit.n_copies, 'recording')} none would be left. Pairs on two sides of a split: {across:,}; what "
        f"is tested there was trained on. Pairs that the corpus takes for two patients: {two:,}; one of the ids is wrong. Leave copies out with "
        '<code>where="not quality.is_copy"</code>, or split again with <code>einthoven split</code>.</p>',
        table(["recording", "its copy", "how they differ", "seconds in common", "split", "patients"], rows, numbers=(3,)),
        _more(len(audit.twins) - N_ROWS, "pair"),
        *(_pair(audit, twin, stores) for twin in _differing(audit.twins)[:N_TWINS]),
    ]


def leaks_part(audit: Audit) -> list[str]:
    """Patients whose recordings a split tears apart."""
    head = "<h2>Patients on two sides of a split</h2>"
    if not audit.leaks:
        return [head, "<p>None.</p>"]
    rows = [
        [text(leak.source), text(leak.patient), text(", ".join(f"{place} ({n})" for place, n in leak.places.items()))]
        for leak in audit.leaks[:N_ROWS]
    ]
    return [
        head,
        f"<p>{_n(len(audit.leaks), 'patient')}. Split again with <code>einthoven split</code>, which keeps each patient on one side.</p>",
        table(["source", "patient", "recordings in"], rows),
        _more(len(audit.leaks) - N_ROWS, "patient"),
    ]


def urgent(twins: Sequence[Twin]) -> list[Twin]:
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
    """Both, one above the other: the same leads over the same seconds, first those of which it is told that they differ."""
    records = [stores[at].record(row) for at, row in zip(twin.stores, twin.rows)]
    told = re.findall(r"\w+", " ".join(twin.copy.differs))
    shared = [name for name in (*told, "II", "V2", *records[0].leads) if all(name in record.leads for record in records)]
    lines = []
    for record, at, name, start in zip(records, twin.stores, twin.records, (twin.copy.start_first, twin.copy.start_second)):
        own = shared or [name for name in told if name in record.leads] or record.leads
        leads = tuple(dict.fromkeys(own))[:2]
        part = Record(record.signal[[record.leads.index(lead) for lead in leads]], record.fs, leads, record.record)
        drawing = tracing(part, start=start, seconds=min(10.0, twin.copy.seconds, record.seconds - start), layout="12x1", caption=False)
        lines.append(f"<figure>{drawing}<figcaption>{text(audit.stores[at].name)}: {text(name)}, from {start:.2f} s</figcaption></figure>")
    return f'<section class="record"><h3>{text("; ".join(twin.copy.differs))}</h3>{"".join(lines)}</section>'


def _n(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _more(n: int, what: str) -> str:
    return f'<p class="muted small">{_n(n, f"more {what}")}: <code>einthoven audit --out FOLDER</code> lists all.</p>' if n > 0 else ""
