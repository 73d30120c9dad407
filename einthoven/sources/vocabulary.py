"""Class lists: which findings a task knows, and by which codes each vocabulary names them.

Tables of facts beside this file: ``snomed_cinc2021.csv`` (codes, abbreviations and names of the Challenge 2021;
physionetchallenges/evaluation-2021, BSD-2) and ``scp_ptbxl.csv`` (the statements of PTB-XL and their classes; ``scp_statements.csv`` of
PTB-XL, CC BY 4.0).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

SNOMED, SCP, CODE = "SNOMED CT", "SCP-ECG", "CODE"


@dataclass(frozen=True)
class LabelClass:
    """One finding. ``codes``: vocabulary -> its codes, any of which means the finding."""

    name: str
    abbreviation: str
    codes: Mapping[str, tuple[str, ...]]


def _table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(files("einthoven.sources").joinpath(name).read_text(encoding="utf-8").splitlines()))


@cache
def snomed_names() -> dict[str, str]:
    """SNOMED CT code -> name, for the 133 codes of the Challenge 2021."""
    return {row["code"]: row["name"] for row in _table("snomed_cinc2021.csv")}


@cache
def scp_names() -> dict[str, str]:
    """SCP-ECG statement code -> name, for the 71 codes of PTB-XL."""
    return {row["code"]: row["name"] for row in _table("scp_ptbxl.csv")}


# The 26 scored classes in the order of the challenge's weights.csv: SNOMED CT codes (the challenge scores them as one), abbreviation, name,
# and the SCP-ECG statement that says the same. Where SCP-ECG has none, or several that only overlap (T wave abnormal: TAB_, NT_, NDT),
# there is no code, and a recording labelled with SCP-ECG does not know the class. The axis deviations stand in PTB-XL's column heart_axis.
_CINC2021 = [
    ("164889003", "AF", "atrial fibrillation", "AFIB"),
    ("164890007", "AFL", "atrial flutter", "AFLT"),
    ("6374002", "BBB", "bundle branch block", ""),
    ("426627000", "Brady", "bradycardia", ""),
    ("733534002 164909002", "CLBBB|LBBB", "left bundle branch block", "CLBBB"),
    ("713427006 59118001", "CRBBB|RBBB", "right bundle branch block", "CRBBB"),
    ("270492004", "IAVB", "first-degree AV block", "1AVB"),
    ("713426002", "IRBBB", "incomplete right bundle branch block", "IRBBB"),
    ("39732003", "LAD", "left axis deviation", ""),
    ("445118002", "LAnFB", "left anterior fascicular block", "LAFB"),
    ("164947007", "LPR", "prolonged PR interval", "LPR"),
    ("251146004", "LQRSV", "low QRS voltages", "LVOLT"),
    ("111975006", "LQT", "prolonged QT interval", "LNGQT"),
    ("698252002", "NSIVCB", "nonspecific intraventricular conduction disorder", "IVCD"),
    ("426783006", "NSR", "sinus rhythm", "SR"),
    ("284470004 63593006", "PAC|SVPB", "premature atrial contraction", "PAC"),
    ("10370003", "PR", "pacing rhythm", "PACE"),
    ("365413008", "PRWP", "poor R wave progression", ""),
    ("427172004 17338001", "PVC|VPB", "premature ventricular contraction", "PVC"),
    ("164917005", "QAb", "Q wave abnormal", "QWAVE"),
    ("47665007", "RAD", "right axis deviation", ""),
    ("427393009", "SA", "sinus arrhythmia", "SARRH"),
    ("426177001", "SB", "sinus bradycardia", "SBRAD"),
    ("427084000", "STach", "sinus tachycardia", "STACH"),
    ("164934002", "TAb", "T wave abnormal", ""),
    ("59931005", "TInv", "T wave inversion", "INVT"),
]

# The six abnormalities of the CODE study among them, by the abbreviations above; its bundle branch blocks are complete ones.
_CODE = {
    "AF": "AF",
    "AFIB": "AF",
    "1AVB": "1dAVb",
    "CLBBB": "LBBB",
    "CRBBB": "RBBB",
    "CLBBB|LBBB": "LBBB",
    "CRBBB|RBBB": "RBBB",
    "IAVB": "1dAVb",
    "SB": "SB",
    "STach": "ST",
}

# The nine classes of CPSC 2018 in its order, by the names of the PTB-XL benchmark: SNOMED CT codes and the SCP-ECG statement. "Normal" is
# the code that the Challenge 2020 gave these recordings, sinus rhythm: elsewhere that says less.
_CPSC2018 = [
    ("426783006", "NORM", "normal", "NORM"),
    ("164889003", "AFIB", "atrial fibrillation", "AFIB"),
    ("270492004", "1AVB", "first-degree AV block", "1AVB"),
    ("164909002 733534002", "CLBBB", "left bundle branch block", "CLBBB"),
    ("59118001 713427006", "CRBBB", "right bundle branch block", "CRBBB"),
    ("284470004 63593006", "PAC", "premature atrial contraction", "PAC"),
    ("164884008 427172004 17338001", "VPC", "premature ventricular contraction", "PVC"),
    ("429622005", "STD_", "ST depression", "STD_"),
    ("164931005", "STE_", "ST elevation", "STE_"),
]

_SUPERCLASSES = {
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
    "MI": "myocardial infarction",
    "NORM": "normal ECG",
    "STTC": "ST/T change",
}

_SUBCLASSES = {
    "_AVB": "AV block",
    "AMI": "anterior myocardial infarction or injury",
    "CLBBB": "complete left bundle branch block",
    "CRBBB": "complete right bundle branch block",
    "ILBBB": "incomplete left bundle branch block",
    "IMI": "inferior myocardial infarction or injury",
    "IRBBB": "incomplete right bundle branch block",
    "ISCA": "ischaemia in anterior leads",
    "ISCI": "ischaemia in inferior leads",
    "ISC_": "non-specific ischaemia",
    "IVCD": "non-specific intraventricular conduction disturbance",
    "LAFB/LPFB": "left anterior or posterior fascicular block",
    "LAO/LAE": "left atrial overload or enlargement",
    "LMI": "lateral myocardial infarction",
    "LVH": "left ventricular hypertrophy",
    "NORM": "normal ECG",
    "NST_": "non-specific ST changes",
    "PMI": "posterior myocardial infarction",
    "RAO/RAE": "right atrial overload or enlargement",
    "RVH": "right ventricular hypertrophy",
    "SEHYP": "septal hypertrophy",
    "STTC": "other ST/T change",
    "WPW": "Wolff-Parkinson-White syndrome",
}


def _challenge(rows: Iterable[tuple[str, str, str, str]]) -> tuple[LabelClass, ...]:
    classes = []
    for codes, abbreviation, name, statement in rows:
        named = {SNOMED: tuple(codes.split())}
        if statement:
            named[SCP] = (statement,)
        if abbreviation in _CODE:
            named[CODE] = (_CODE[abbreviation],)
        classes.append(LabelClass(name, abbreviation, named))
    return tuple(classes)


def _grouped(rows: Iterable[Mapping[str, str]], column: str, names: Mapping[str, str]) -> tuple[LabelClass, ...]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row["diagnostic"] == "1" and row[column]:
            groups.setdefault(row[column], []).append(row["code"])
    return tuple(LabelClass(names.get(group, group), group, {SCP: tuple(sorted(groups[group]))}) for group in sorted(groups))


def _single(rows: Iterable[Mapping[str, str]]) -> tuple[LabelClass, ...]:
    return tuple(sorted((LabelClass(row["name"], row["code"], {SCP: (row["code"],)}) for row in rows), key=lambda it: it.abbreviation))


def ptbxl_classes(rows: Sequence[Mapping[str, str]]) -> dict[str, tuple[LabelClass, ...]]:
    """The six class lists of PTB-XL from a table of its statements, in alphabetical order of their abbreviations, as its benchmark has them.

    rows : code, name, diagnostic, form, rhythm ("1" or "0"), superclass and subclass ("" where a statement has none), as in
           ``scp_ptbxl.csv``
    """
    return {
        "ptbxl_super": _grouped(rows, "superclass", _SUPERCLASSES),
        "ptbxl_sub": _grouped(rows, "subclass", _SUBCLASSES),
        "ptbxl_diagnostic": _single(row for row in rows if row["diagnostic"] == "1"),
        "ptbxl_form": _single(row for row in rows if row["form"] == "1"),
        "ptbxl_rhythm": _single(row for row in rows if row["rhythm"] == "1"),
        "ptbxl_all": _single(rows),
    }


CLASSES: dict[str, tuple[LabelClass, ...]] = {
    "cinc2021": _challenge(_CINC2021),
    "cpsc2018": _challenge(_CPSC2018),
    **ptbxl_classes(_table("scp_ptbxl.csv")),
}
"""Name of a class list -> its classes. The PTB-XL lists are in alphabetical order, as its benchmark has them."""


def own_classes(codes: Iterable[str], label_system: str) -> tuple[LabelClass, ...]:
    """One class per code of a vocabulary that we have no list for (the columns of somebody's ``labels.csv``), sorted; codes we know get their name."""
    names = {SNOMED: snomed_names(), SCP: scp_names()}.get(label_system, {})
    return tuple(LabelClass(names.get(code, code), code, {label_system: (code,)}) for code in sorted(set(codes)))


def targets(labels: Mapping[str, float] | None, label_system: str | None, classes: Sequence[LabelClass]) -> np.ndarray:
    """What a recording's labels say of each class: (class,) float32; 1 present, 0 absent, NaN not known.

    Not known is every class of an unlabelled recording; a class that the recording's vocabulary has no code for; and one of whose codes
    some are uncertain (NaN) and none is present. A code that a labelled recording does not list is absent.
    """
    out = np.full(len(classes), np.nan, dtype=np.float32)
    if labels is None or label_system is None:
        return out
    for position, it in enumerate(classes):
        codes = it.codes.get(label_system)
        if codes:
            values = [float(labels.get(code, 0.0)) for code in codes]
            out[position] = 1.0 if any(value > 0 for value in values) else (np.nan if np.isnan(values).any() else 0.0)
    return out


def benchmark_part(label: np.ndarray, *, min_samples: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which recordings and classes take part in the PTB-XL benchmark's protocol: (row, class) labels -> (row,) bool, (class,) bool.

    Classes present in more than ``min_samples`` recordings (strictly), and recordings with at least one of these classes. Elsewhere a
    recording without a finding of the task counts as one that has none of them; there it is left out of training and of the test (NORM is a
    finding of the diagnostic tasks, but of "form" it is not). The benchmark filters the classes of every task but "diagnostic"; an
    unlabelled recording (NaN) has none.
    """
    present = np.asarray(label) == 1
    classes = present.sum(axis=0) > min_samples
    return present[:, classes].any(axis=1), classes


def benchmark_rows(label: np.ndarray) -> np.ndarray:
    """Which recordings have a finding of the task at all: (row, class) labels, as a view has them, -> (row,) bool. See ``benchmark_part``."""
    return benchmark_part(label)[0]
