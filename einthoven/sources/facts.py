"""What a corpus states about itself, and what it hands over for each recording before any signal is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Counts:
    """How many recordings, of how many persons, a release holds; None where its publishers do not say."""

    records: int | None = None
    patients: int | None = None


@dataclass(frozen=True)
class Facts:
    """Published facts of a corpus; None where it has none (a folder of one's own).

    version : the release that ``records`` and ``patients`` are those of
    fs      : rate in Hz of every recording; None where there are several

    A module of a source may state more beside its FACTS, which ``sources.checking`` compares with what is on disk:

    VERSIONS      : the other releases that we know -> Counts
    DATASETS      : the named parts, as ``meta["dataset"]`` says them -> Facts; FOLDERS: a folder's name in small letters -> its part
    OTHER_FS      : rates at which the same recordings are published as well
    version(root) : the release in a folder, where more than its name tells it
    missing(root) : what the release has and the folder has not, by name, where its recordings are not listed and nothing else says so

    One whose ids depend on which files are there states ``keep_ids`` as well (``sources.kept_ids``).
    """

    name: str
    version: str | None = None
    licence: str | None = None
    citation: str | None = None
    url: str | None = None
    records: int | None = None
    patients: int | None = None
    fs: float | None = None
    label_system: str | None = None


@dataclass(frozen=True)
class RecordRef:
    """One recording of a corpus: where its signal is and what the corpus's tables say of it.

    path    : the file to read, absolute
    record  : id, unique within the corpus
    patient : id of the person, None where the corpus names none
    labels  : code -> 1.0, 0.0 or NaN; None where the recording is unlabelled
    fold    : the published fold or split, as the corpus writes it; None where it has none
    meta    : age (years), sex ("female", "male"), time (ISO text), report, dataset, …; no entry where not known
    problem : why the recording cannot be used, known before its signal is read; None where nothing is known against it
    told    : what the file's reader is told: ``record``, which of many, and where the file does not say it ``fs``, ``unit``, ``names``
    """

    path: Path
    record: str
    patient: str | None = None
    labels: Mapping[str, float] | None = None
    label_system: str | None = None
    fold: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
