"""The published facts of a corpus against what an ingest found: every difference is one sentence.

Nothing here refuses anything: a part of a corpus is a corpus, and a release that we do not know may be read as well as those we do. Where
the columns or the layout of a release differ, its source refuses it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

from einthoven.sources.facts import Counts, Facts
from einthoven.sources.versions import version_in_name

if TYPE_CHECKING:
    import pyarrow as pa

_MANY = 5
_SIMULATED, _SETTINGS = "synthetic", "simulate.json"
"""The set that ``einthoven simulate`` writes, and the file that it leaves beside ``training/`` in the layout of the Challenge 2021."""


@dataclass(frozen=True)
class Found:
    """What an ingest found of a corpus.

    records  : recordings stored, by part; the part is None where ``meta["dataset"]`` is not given
    rejected : recordings listed but not stored, by part; None where the part cannot be told
    patients : persons named by the recordings stored
    rates    : recordings stored, by part and rate of their file in Hz
    asked    : the parts that were asked for; empty: all
    version  : the release, where the folder tells it
    """

    records: Mapping[str | None, int] = field(default_factory=dict)
    rejected: Mapping[str | None, int] = field(default_factory=dict)
    patients: int = 0
    rates: Mapping[tuple[str | None, float], int] = field(default_factory=dict)
    asked: Collection[str] = ()
    version: str | None = None

    @property
    def listed(self) -> int:
        return sum(self.records.values()) + sum(self.rejected.values())


def differences(module: ModuleType | Any, found: Found) -> list[str]:
    """In what a corpus on disk differs from what its source states, one sentence each; empty where nothing differs.

    module : a source: its ``FACTS``, and ``VERSIONS``, ``DATASETS`` and ``OTHER_FS`` where it has them
    """
    facts: Facts = module.FACTS
    published, version, said = _published(facts, getattr(module, "VERSIONS", {}), found)
    datasets: Mapping[str, Facts] = getattr(module, "DATASETS", {})
    said += _sets(facts, datasets, found) if datasets else _counts("", published.records, found.listed, sum(found.rejected.values()))
    if published.patients is not None and published.patients != found.patients and (found.records or not found.rejected):
        if found.patients:
            said.append(f"{_n(published.patients)} patients published{_of(version)}, {_n(found.patients)} among the recordings here")
        elif published.patients != published.records:  # one recording for each person needs no ids
            said.append(f"{_n(published.patients)} patients published{_of(version)}, but no recording here names its patient")
    return said + _rates(facts, datasets, getattr(module, "OTHER_FS", ()), found)


def version(module: ModuleType | Any, root: Path | str) -> str | None:
    """The release of a corpus that lies in a folder, as its source can tell (``module.version``), else as the folder's name does; None
    where neither can."""
    root = Path(root).expanduser().absolute()
    own = getattr(module, "version", None)
    return (own(root) if callable(own) else None) or version_in_name(root)


def check_store(store: Path | str, module: ModuleType | Any, part: int = -1) -> list[str]:
    """``differences`` for a corpus in a finished store, from its table and facts alone: the corpus is not walked again.

    module : the source that the corpus was read with
    part   : which of the store's parts, in the order in which they were added; by default the last. A corpus that has grown is several parts,
             and any of them stands for the whole corpus
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from einthoven.store.corpora import parts, parts_of_corpus
    from einthoven.store.layout import read_facts
    from einthoven.store.rejections import lines_in

    store = Path(store)
    facts = read_facts(store)
    one = parts(facts)[part]
    own = parts_of_corpus(facts, one.recipe)
    columns = ["patient", "source_fs", "path", *(["meta"] if hasattr(module, "DATASETS") else [])]
    table = pq.read_table(store / "records.parquet", columns=columns)
    table = pa.concat_tables(table.slice(each.rows.start, len(each.rows)) for each in own)
    rejected = [file for file, _, _ in lines_in(store, *(each.lines for each in own))]
    # The options may hold "subset": sets that were left aside on purpose are not missed.
    asked = (one.recipe.get("options") or {}).get("subset") or ()
    root = Path(one.recipe["root"])
    found = found_in(table, rejected, asked=asked, version=version(module, root), folders=_folders_of_parts(module))
    if _is_simulated(root):
        found = _without(found, _SIMULATED)
        if not found.listed:
            return []
    return differences(module, found) + _missing(module, root)


def _missing(module: ModuleType | Any, root: Path) -> list[str]:
    """What the folder lacks that no count tells by name, where the source can say it (``module.missing``)."""
    own = getattr(module, "missing", None)
    lost = own(root) if callable(own) and root.is_dir() else []
    more = f" and {len(lost) - _MANY} more" if len(lost) > _MANY else ""
    return [f"not here of its parts: {', '.join(lost[:_MANY])}{more}"] if lost else []


def _is_simulated(root: Path) -> bool:
    """Whether a folder, or the one that it is ``training/`` or ``training/synthetic/`` of, has our simulation in it: nobody published that."""
    return any((place / _SETTINGS).is_file() and (place / "training" / _SIMULATED).is_dir() for place in (root, *root.parents[:2]))


def _without(found: Found, part: str) -> Found:
    records, rejected = ({name: n for name, n in counted.items() if name != part} for counted in (found.records, found.rejected))
    return replace(found, records=records, rejected=rejected, rates={key: n for key, n in found.rates.items() if key[0] != part})


def _folders_of_parts(module: ModuleType | Any) -> dict[str, str]:
    """Name of a folder, in small letters -> the part that it holds."""
    return getattr(module, "FOLDERS", None) or {name.lower(): name for name in getattr(module, "DATASETS", {})}


def found_in(
    table: pa.Table,
    rejected: Iterable[str],
    *,
    asked: Collection[str] = (),
    version: str | None = None,
    folders: Mapping[str, str] | None = None,
) -> Found:
    """What the rows of a store say (columns ``patient``, ``source_fs``, ``path`` and, for parts, ``meta``), and the files that were rejected.

    folders : name of a folder, in small letters -> the part that it holds, for those of which nothing was stored
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    patients = table["patient"].unique()
    n_patients = len(patients) - int(patients.null_count > 0)
    files = [PurePosixPath(path) for path in rejected]
    if "meta" not in table.column_names:
        rates: dict[tuple[str | None, float], int] = {}
        for one in table["source_fs"].value_counts().to_pylist():
            rates[None, one["values"]] = one["counts"]
        return Found({None: len(table)}, {None: len(files)}, n_patients, rates, asked, version)
    found = pc.extract_regex(table["meta"].cast(pa.string()), r'"dataset": "(?P<dataset>[^"\\]*)"')
    datasets = pc.struct_field(found, "dataset").to_pylist()
    # A rejected recording is of the part that its folder is, or the nearest folder above it, of which only one part is known.
    below: dict[PurePosixPath, set[str]] = defaultdict(set)
    for folder, dataset in {(PurePosixPath(path).parent, dataset) for path, dataset in zip(table["path"].to_pylist(), datasets)}:
        if dataset is not None:
            for above in (folder, *folder.parents):
                below[above].add(dataset)
    lost = Counter(_part_of(path, below, folders or {}) for path in files)
    return Found(Counter(datasets), lost, n_patients, Counter(zip(datasets, table["source_fs"].to_pylist())), asked, version)


def _part_of(path: PurePosixPath, below: Mapping[PurePosixPath, set[str]], folders: Mapping[str, str]) -> str | None:
    for folder in path.parents:
        if folder.name.lower() in folders:
            return folders[folder.name.lower()]
        if folder in below:
            return next(iter(below[folder])) if len(below[folder]) == 1 else None
    return None


# --------------------------------------------------------------------------------------------------------------- sentences


def _published(facts: Facts, versions: Mapping[str, Counts], found: Found) -> tuple[Counts, str | None, list[str]]:
    """The counts to compare with: those of the release on disk where we know it, else those of the newest."""
    newest = Counts(facts.records, facts.patients)
    if facts.version is None or found.version == facts.version:
        return newest, facts.version, []
    if found.version is None:  # nothing on disk says; the number of recordings may
        for name, counts in versions.items():
            if counts.records == found.listed != facts.records:
                return counts, name, [f"{_n(found.listed)} recordings are those of version {name}; {facts.version} is the newest we know"]
        return newest, facts.version, []
    if found.version in versions:
        said = f"version {found.version} is here; {facts.version} is the newest we know"
        return versions[found.version], found.version, [said]
    known = ", ".join(sorted({facts.version, *versions}))
    return newest, facts.version, [f"version {found.version} is here, which we do not know; we know {known}: look at its release notes"]


def _sets(facts: Facts, datasets: Mapping[str, Facts], found: Found) -> list[str]:
    said = []
    here = {name: found.records.get(name, 0) + found.rejected.get(name, 0) for name in {*found.records, *found.rejected}}
    for name, part in datasets.items():
        if here.get(name):
            said += _counts(f"{name}: ", part.records, here[name], found.rejected.get(name, 0))
    wanted = [name for name in datasets if not found.asked or name in found.asked]
    if missing := [name for name in wanted if not here.get(name)]:
        said.append(f"{len(missing)} of {len(datasets)} sets are not here: {', '.join(missing)}")
    strange = sorted(name for name in here if name is not None and name not in datasets)
    for name in strange[:_MANY]:
        said.append(f"{name}: {_recordings(here[name])} here, of a set that {facts.name} does not have")
    if len(strange) > _MANY:
        said.append(f"{len(strange) - _MANY} further folders are none of its {len(datasets)} sets")
    if here.get(None):
        said.append(f"{_recordings(here[None])} here of no set that can be told")
    return said


def _counts(of: str, published: int | None, here: int, rejected: int) -> list[str]:
    if published is None or published == here:
        return []
    return [f"{of}{_n(published)} recordings published, {_n(here)} here{f', {_n(rejected)} of them rejected' if rejected else ''}"]


def _rates(facts: Facts, datasets: Mapping[str, Facts], other: Collection[float], found: Found) -> list[str]:
    said = []
    for (name, fs), n in sorted(found.rates.items(), key=lambda it: (it[0][0] or "", it[0][1])):
        part = datasets.get(name or "", facts)
        if part.fs is not None and fs not in (part.fs, *other):
            of = f"{name}: " if name else ""
            stated = " or ".join(f"{rate:g}" for rate in (part.fs, *other))
            said.append(f"{of}published at {stated} Hz, {_recordings(n)} here at {fs:g} Hz")
    return said


def _of(version: str | None) -> str:
    return f" for version {version}" if version else ""


def _recordings(number: int) -> str:
    return f"{number:,} recording{'' if number == 1 else 's'}"


def _n(number: int) -> str:
    return f"{number:,}"
