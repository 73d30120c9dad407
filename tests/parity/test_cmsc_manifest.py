"""The pair manifests of fairseq-signals' convert_to_cmsc_manifest, and our rule for pairs over the same segment numbers.

Line order, pairing and the dropping of recordings with one segment are compared as text. The README of the golden values lets an odd
segment stand on a line of its own, which the old data set skipped when it read it: such lines are left out here, as they give no pair.
"""

from __future__ import annotations

import pytest
from parity_cases import ROOT

from einthoven.store.views import adjacent_pairs

FOLDER = ROOT / "fairseq_signals" / "cmsc_manifest"
FILES = sorted(path.name for path in (FOLDER / "in").glob("*.tsv")) if FOLDER.is_dir() else []


def pair_lines(text: str) -> list[str]:
    root, *lines = text.splitlines()
    segments: dict[str, list[int]] = {}
    n_samples: dict[str, str] = {}
    for line in lines:
        path, n = line.split("\t")
        stem, number = path.removesuffix(".mat").rsplit("_", 1)
        segments.setdefault(stem, []).append(int(number))
        n_samples[stem] = n
    pairs = [f"{stem}\t{n_samples[stem]}\t0\t{a},{b}" for stem, numbers in segments.items() for a, b in adjacent_pairs(numbers)]
    return [root, "mat", *pairs]


@pytest.mark.parity
@pytest.mark.parametrize("name", FILES or [pytest.param(None, marks=pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY"))])
def test_pairs_of_a_manifest_are_the_old_ones(name):
    root, extension, *lines = (FOLDER / "out" / name).read_text().splitlines()
    expected = [root, extension, *(line for line in lines if "," in line.split("\t")[3])]
    assert pair_lines((FOLDER / "in" / name).read_text()) == expected
