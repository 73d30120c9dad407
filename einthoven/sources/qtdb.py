"""QT Database: two leads for 15 minutes at 250 Hz, excerpts of seven older databases, for judging how the ends of waves are found.

There are no diagnoses. ``meta["excerpt_of"]`` is the record that an excerpt was taken from, as its header says, so that nobody tests on what
was trained on under its other name (``sel100`` is a part of ``mitdb/100``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from einthoven.errors import EinthovenError
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import existing_root, headers_in, listed, read

__all__ = ["FACTS", "read", "records"]

FACTS = Facts(
    name="QT Database",
    version="1.0.0",
    licence="ODC-By 1.0",
    citation=(
        "Laguna et al., A database for evaluation of algorithms for measurement of QT and other waveform intervals in the ECG, "
        "Computers in Cardiology 24:673-676, 1997"
    ),
    url="https://physionet.org/content/qtdb/1.0.0/",
    records=105,
    fs=250.0,
)

LAYOUT = "the QT Database's folder with sel100.hea, sel100.dat, …"
_EXCERPT = re.compile(r"Produced by xform from record (?P<record>\S+?),")


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every excerpt by name; whose it is, the database does not say. Raises EinthovenError where there is none."""
    root = existing_root(root, LAYOUT)
    headers = headers_in(root, LAYOUT)
    if not any(path.stem.startswith("sel") for path in headers):
        raise EinthovenError(f"{root}: no header of a name such as sel100.hea is in it; expected {LAYOUT}.")
    for path in headers:
        ref, comments = listed(path, path.stem)
        found = next((match for comment in comments if (match := _EXCERPT.search(comment))), None)
        yield replace(ref, meta={**ref.meta, "excerpt_of": found["record"]}) if found else ref
