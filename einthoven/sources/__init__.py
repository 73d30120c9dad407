"""Corpora: one corpus, one module, with its facts, its recordings and the labels that its tables give them."""

from __future__ import annotations

from types import ModuleType

from einthoven.sources import (
    cinc2020,
    code15,
    cpsc2018,
    cpsc2021,
    ecg_selfsupervised,
    ecgid,
    ecgqa,
    fairseq_signals,
    folder,
    ludb,
    mimic_iv_ecg,
    muse,
    physionet2021,
    ptbdb,
    ptbxl,
    qtdb,
    ribeiro,
    sph,
    zheng,
)
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import read

__all__ = ["SOURCES", "Facts", "RecordRef", "read"]

SOURCES: dict[str, ModuleType] = {
    "physionet2021": physionet2021,
    "cinc2020": cinc2020,
    "cpsc2018": cpsc2018,
    "cpsc2021": cpsc2021,
    "ptbxl": ptbxl,
    "zheng": zheng,
    "ribeiro": ribeiro,
    "mimic_iv_ecg": mimic_iv_ecg,
    "code15": code15,
    "sph": sph,
    "ptbdb": ptbdb,
    "ludb": ludb,
    "qtdb": qtdb,
    "ecgid": ecgid,
    "ecgqa": ecgqa,
    "muse": muse,
    "fairseq_signals": fairseq_signals,
    "ecg_selfsupervised": ecg_selfsupervised,
    "folder": folder,
}
"""Name -> module with ``FACTS``, ``records(root) -> Iterator[RecordRef]`` and ``read(ref) -> Record``."""
