"""China Physiological Signal Challenge 2021: two leads (I, II) at 200 Hz from Holter and wearable monitors, for finding episodes of atrial fibrillation.

Names are ``data_<person>_<piece>``. The label is what the header says of the whole recording: "non atrial fibrillation", "paroxysmal atrial
fibrillation" or "persistent atrial fibrillation"; exactly one of the three is 1, the others are 0. Beats, and the beginnings and ends of the
episodes, lie beside the signals as WFDB annotations (``.atr``); they are not labels of a recording and do not go into a store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from einthoven.errors import EinthovenError
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import existing_root, headers_in, listed, read

__all__ = ["CLASSES", "FACTS", "read", "records"]

SYSTEM = "CPSC 2021"
FACTS = Facts(
    name="CPSC 2021",
    version="1.0.0",
    licence="CC BY 4.0",
    citation=(
        "Wang et al., Paroxysmal atrial fibrillation events detection from dynamic ECG recordings: "
        "the 4th China Physiological Signal Challenge 2021 (version 1.0.0), PhysioNet, 2021"
    ),
    url="https://physionet.org/content/cpsc2021/1.0.0/",
    records=1_436,
    patients=105,
    fs=200.0,
    label_system=SYSTEM,
)

CLASSES = ("non atrial fibrillation", "paroxysmal atrial fibrillation", "persistent atrial fibrillation")
LAYOUT = "the challenge's folder with Training_set_I/data_0_1.hea, …, or one such set"
_NAME = re.compile(r"data_(?P<person>\d+)_(?P<piece>\d+)")


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every recording by person and piece. Raises EinthovenError where there is none.

    A header that cannot be read, or whose signal is not there, is given with its problem.
    """
    root = existing_root(root, LAYOUT)
    found = [(match, path) for path in headers_in(root, LAYOUT) if (match := _NAME.fullmatch(path.stem))]
    if not found:
        raise EinthovenError(f"{root}: no header of a name such as data_0_1.hea is in it; expected {LAYOUT}.")
    for match, path in sorted(found, key=lambda it: (int(it[0]["person"]), int(it[0]["piece"]), it[1])):
        ref, comments = listed(path, path.stem, match["person"])
        said = {line.strip().lower() for line in comments} & set(CLASSES)
        labels = {name: float(name in said) for name in CLASSES} if len(said) == 1 else None
        yield replace(ref, labels=labels, label_system=SYSTEM if labels else None)
