"""A corpus that gets more recordings from night to night, some of which cannot be read yet; and what its tests look at."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from fake_corpus import Corpus

from einthoven.errors import FormatError
from einthoven.ingest.run import ingest
from einthoven.sources.facts import Facts


@dataclass(frozen=True)
class Ward(Corpus):
    """The recordings ``first`` to ``n`` of the corpus, but for those in ``missing``; those in ``broken`` cannot be read. Nobody gave folds.

    ``labels.csv`` below the root is its table, and says nothing that is used but which recordings are sinus rhythm.
    """

    first: int = 0
    broken: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    folds: bool = False
    FACTS = Facts("ward", records=60, fs=500.0)

    def records(self, root):
        table = Path(root) / "labels.csv"
        sinus = table.read_text().split() if table.exists() else None
        for i, ref in enumerate(super().records(root)):
            if i >= self.first and i not in self.missing:
                labels = ref.labels if sinus is None else {"sinus": float(ref.record in sinus)}
                yield replace(ref, fold=ref.fold if self.folds else None, labels=labels)

    def tables(self, root):
        return [Path(root) / "labels.csv"] if (Path(root) / "labels.csv").exists() else []

    def read(self, ref):
        if int(ref.record[3:]) in self.broken:
            raise FormatError(f"{ref.path}: truncated at {ref.record}")
        return super().read(ref)


def every_byte(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rejected(store: Path) -> list[str]:
    with open(store / "rejected.csv", newline="") as file:
        return [line["record"] for line in csv.DictReader(file)]


def add(corpus: Corpus, store: Path, **more):
    return ingest(corpus, store.parent / "root", store, **{"shard_records": 7, "workers": 1, "append": True, **more})
