"""An audit as files that other tools read: ``audit.json``, ``copies.csv``, and ``suspicions.csv``, which is written while the audit runs."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven import whole
from einthoven.errors import EinthovenError
from einthoven.signal.suspicion import Suspicion

if TYPE_CHECKING:
    from einthoven.audit.run import Audit

SUMMARY, SUSPICIONS, COPIES = "audit.json", "suspicions.csv", "copies.csv"
FORMAT = "einthoven audit 1"


class Lines:
    """``suspicions.csv`` in a folder, a line per doubt; it appears when the block ends well. Nothing is written without a folder."""

    def __init__(self, out: Path | str | None):
        self.out = None if out is None else Path(out)
        self._writer: Any = None

    def __enter__(self) -> Lines:
        self._stack = ExitStack()
        if self.out is not None:
            try:
                self.out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise EinthovenError(f"{self.out}: cannot be made ({error.strerror or error}); choose another folder") from error
            part = self._stack.enter_context(whole.appearing(self.out / SUSPICIONS))
            file = self._stack.enter_context(open(part, "w", encoding="utf-8", newline=""))
            self._writer = csv.writer(file, lineterminator="\n")
            self._writer.writerow(["store", "row", "record", "kind", "severity", "leads", "sentence"])
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def suspicion(self, store: str, row: int, record: str, one: Suspicion) -> None:
        if self._writer is not None:
            self._writer.writerow([store, row, record, one.kind, one.severity, " ".join(one.leads), one.sentence])


def write_audit(audit: Audit, out: Path) -> None:
    """``audit.json`` and ``copies.csv``."""
    with whole.appearing(out / COPIES) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([
            "store", "record", "copy_in", "copy", "exact", "seconds", "start", "start_in_copy", "factor", "residual", "patients", "across_split", "differs",
        ])  # fmt: skip
        for twin in audit.twins:
            copy, names = twin.copy, [audit.stores[at].name for at in twin.stores]
            writer.writerow([
                names[0], twin.records[0], names[1], twin.records[1], copy.exact, f"{copy.seconds:g}", f"{copy.start_first:.3f}",
                f"{copy.start_second:.3f}", f"{copy.factor:.4g}", f"{copy.residual:.3g}", twin.patients, twin.across_split, "; ".join(copy.differs),
            ])  # fmt: skip
    whole.write_json(out / SUMMARY, summary(audit))


def summary(audit: Audit) -> dict[str, Any]:
    """The audit as plain values, in the order of its fields."""
    counts = {
        "records": audit.n_records,
        "ok": sum(store.n_ok for store in audit.stores),
        "refused": sum(store.refused for store in audit.stores),
        "copies": audit.n_copies,
        "copies_across_split": sum(twin.across_split for twin in audit.twins),
        "copies_of_two_patients": sum(twin.patients == "two" for twin in audit.twins),
        "patients_on_two_sides": len(audit.leaks),
    }
    return {"format": FORMAT, "counts": counts, **{one.name: plain(getattr(audit, one.name)) for one in fields(audit)}}


def plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value
