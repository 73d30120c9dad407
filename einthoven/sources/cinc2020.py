"""PhysioNet/Computing in Cardiology Challenge 2020: six sets of 12-lead ECGs, labelled with SNOMED CT codes.

All of them are in the Challenge 2021 as well.
The sets came as separate archives and lie in folders of many names: ``FOLDERS`` knows those of the archives, of PhysioNet's release and of
ecg-selfsupervised. ``meta["dataset"]`` is the set by its name of 2021. PTB-XL and PTB are among them: who tests on PTB-XL must not pretrain
on it (``subset``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from einthoven.errors import EinthovenError
from einthoven.sources import physionet2021
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.physionet2021 import keep_ids
from einthoven.sources.reading import read
from einthoven.sources.vocabulary import SNOMED

__all__ = ["DATASETS", "FACTS", "FOLDERS", "keep_ids", "read", "records"]

_OF_2020 = ("cpsc_2018", "cpsc_2018_extra", "georgia", "ptb", "ptb-xl", "st_petersburg_incart")
DATASETS: dict[str, Facts] = {name: physionet2021.DATASETS[name] for name in _OF_2020}
"""The six sets by their names of 2021, with published counts and rates."""

FACTS = Facts(
    name="PhysioNet/CinC Challenge 2020",
    version="1.0.2",
    licence="CC BY 4.0",
    citation=(
        "Perez Alday et al., Classification of 12-lead ECGs: the PhysioNet/Computing in Cardiology Challenge 2020, "
        "Physiological Measurement 41:124003, 2020"
    ),
    url="https://physionet.org/content/challenge-2020/1.0.2/",
    records=43_101,
    label_system=SNOMED,
)

LAYOUT = "a folder of sets as their archives or the release call them (Training_WFDB/, cpsc_2018/g1/, …) with *.hea, or one such set"
FOLDERS: dict[str, str] = {
    **{name: name for name in DATASETS},
    **{"training_wfdb": "cpsc_2018", "icbeb2018": "cpsc_2018"},
    **{"training_2": "cpsc_2018_extra", "icbeb2018_2": "cpsc_2018_extra"},
    **{"training_e": "georgia", "training_ptb": "ptb", "wfdb": "ptb-xl"},
    **{"training_stpetersburg": "st_petersburg_incart", "incart": "st_petersburg_incart"},
}
"""Name of a folder, in small letters -> the set that it holds."""


def records(root: Path | str, *, subset: Sequence[str] = ()) -> Iterator[RecordRef]:
    """Every recording under a folder, by folder and name.

    root   : a folder of sets, or one set
    subset : the sets that are wanted, by their names of 2021 or the names of their folders; empty: all, also folders of a name that we do
             not know

    The rest is of ``physionet2021``. Raises EinthovenError where a set that is wanted is not there.
    """
    wanted = {FOLDERS.get(name.lower(), name) for name in subset}
    there: set[str] = set()
    for ref in physionet2021.records(root):
        folder = str(ref.meta["dataset"])
        dataset = FOLDERS.get(folder.lower(), folder)
        there.add(dataset)
        if not wanted or dataset in wanted:
            yield replace(ref, meta={**ref.meta, "dataset": dataset})
    for name in sorted(wanted - there):
        near = difflib.get_close_matches(name, sorted(there), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise EinthovenError(f"{root}: has no set {name}; there are {', '.join(sorted(there))}{hint}")
