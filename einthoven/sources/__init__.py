"""Corpora: one corpus, one module, with its facts, its recordings and the labels that its tables give them."""

from __future__ import annotations

from types import ModuleType

from einthoven.sources import cinc2020, cpsc2018, ecgid, folder, ludb, physionet2021, ptbxl, qtdb, ribeiro, zheng
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import read

__all__ = ["SOURCES", "Facts", "RecordRef", "read"]

SOURCES: dict[str, ModuleType] = {
    "physionet2021": physionet2021,
    "cinc2020": cinc2020,
    "cpsc2018": cpsc2018,
    "ptbxl": ptbxl,
    "zheng": zheng,
    "ribeiro": ribeiro,
    "ludb": ludb,
    "qtdb": qtdb,
    "ecgid": ecgid,
    "folder": folder,
}
"""Name -> module with ``FACTS``, ``records(root) -> Iterator[RecordRef]`` and ``read(ref) -> Record``."""
