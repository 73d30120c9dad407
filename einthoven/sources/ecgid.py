"""ECG-ID: lead I of 90 volunteers for 20 s at 500 Hz, 2 to 20 recordings a person over up to half a year, for telling persons apart.

Each file holds the signal as it was recorded and as its author filtered it, both called lead I; a store takes one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import described, existing_root, headers_in, listed, one_of, refuse_problem

__all__ = ["FACTS", "SIGNALS", "read", "records"]

FACTS = Facts(
    name="ECG-ID",
    version="1.0.0",
    licence="ODC-By 1.0",
    citation="Lugovaya, Biometric human identification based on electrocardiogram, Master's thesis, LETI, Saint Petersburg, 2005",
    url="https://physionet.org/content/ecgiddb/1.0.0/",
    records=310,
    patients=90,
    fs=500.0,
)

SIGNALS = ("recorded", "filtered")
"""The first and the second channel of every file."""
LAYOUT = "ECG-ID's folder with Person_01/rec_1.hea, Person_01/rec_1.dat, …"
_PERSON = re.compile(r"Person_\d+")
_DATE = re.compile(r"ECG date\s*:\s*(\d{1,2}\.\d{1,2}\.\d{4})", re.IGNORECASE)


def records(root: Path | str, *, signals: str = "recorded") -> Iterator[RecordRef]:
    """Every recording, by person and number.

    signals : "recorded", or "filtered" for the author's filtered signal, which fairseq-signals took

    Raises EinthovenError where no folder of a person is there.
    """
    one_of("signals", signals, SIGNALS)
    root = existing_root(root, LAYOUT)
    headers = [path for path in headers_in(root, LAYOUT) if _PERSON.fullmatch(path.parent.name)]
    if not headers:
        raise EinthovenError(f"{root}: no folder Person_01, … with headers (.hea) is in it; expected {LAYOUT}.")
    for path in sorted(headers, key=lambda path: (path.parent.name, len(path.stem), path.stem)):
        person = path.parent.name
        ref, comments = listed(path, f"{person}/{path.stem}", person, {"signals": signals})
        yield replace(ref, meta={**ref.meta, **_time(comments)})


def read(ref: RecordRef) -> Record:
    """Lead I in mV. Raises FormatError where the file has not its two channels."""
    refuse_problem(ref)
    record = io.read(ref.path)
    if len(record.leads) != len(SIGNALS):
        raise FormatError(f"{ref.path}: expected lead I as it was recorded and as it was filtered; it has {', '.join(record.leads)}.")
    row = SIGNALS.index(ref.meta.get("signals", SIGNALS[0]))
    return described(replace(record, signal=record.signal[row : row + 1], leads=("I",)), ref)


def _time(comments: tuple[str, ...]) -> dict[str, str]:
    for comment in comments:
        if found := _DATE.search(comment):
            try:
                return {"time": datetime.strptime(found[1], "%d.%m.%Y").isoformat()}
            except ValueError:
                return {}
    return {}
