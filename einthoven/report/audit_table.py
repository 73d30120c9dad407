"""What an audit found, for the terminal: counts of each kind, then the copies that spoil a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from einthoven.report.audit import ADVICE, weight
from einthoven.report.audit_copies import urgent

if TYPE_CHECKING:
    from rich.table import Table

    from einthoven.audit.run import Audit

N_PAIRS = 10
"""Pairs of copies that are named; ``--out`` lists all."""


def audit_table(audit: Audit) -> list[Table]:
    """``rich`` tables: the audit in one line, the kinds by store, and, where there are any, the pairs of copies."""
    from rich.table import Table

    said = Table(show_header=False, box=None, pad_edge=False)  # a title would be wrapped at the width of the narrow table below it
    said.add_row(str(audit))
    kinds = Table(box=None, pad_edge=False, header_style="dim")
    kinds.add_column("finding")
    for store in audit.stores:
        kinds.add_column(store.name, justify="right")
    kinds.add_column("counts as", style="dim")
    for kind, (title, _) in ADVICE.items():
        counts = [store.kinds.get(kind, 0) for store in audit.stores]
        if any(counts):
            kinds.add_row(title, *(f"{n:,}" if n else "" for n in counts), weight(kind))
    kinds.add_row("ok", *(f"{store.n_ok:,}" for store in audit.stores), style="bold")
    tables = [said, kinds]
    if audit.twins:
        names = [store.name for store in audit.stores]
        pairs = Table(title="Copies", title_justify="left", box=None, pad_edge=False, header_style="dim")
        for column in ("recording", "is also", "how", "patients", ""):
            pairs.add_column(column)
        told = urgent(audit.twins)
        for twin in told[:N_PAIRS]:
            first, second = (f"{names[store]}/{record}" for store, record in zip(twin.stores, twin.records))
            across = "on two sides of a split" if twin.across_split else ""
            pairs.add_row(first, second, ", ".join(twin.copy.differs) or "exact", twin.patients, across)
        if len(told) > N_PAIRS:
            pairs.add_row(f"… and {len(told) - N_PAIRS} more pairs", style="dim")
        tables.append(pairs)
    return tables
