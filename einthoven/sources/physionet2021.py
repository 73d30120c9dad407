"""PhysioNet/Computing in Cardiology Challenge 2021: eight sets of 12-lead ECGs from seven institutions, labelled with SNOMED CT codes.

The patient is not in the files (PTB-XL's are in its own release, and some sets hold several recordings of one person); where a header
does say ``Patient ID``, as those of our synthetic heart do, it is taken. Nothing is guessed from record numbers.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from einthoven.errors import EinthovenError
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.kept_ids import kept
from einthoven.sources.reading import existing_root, files, listed, read
from einthoven.sources.vocabulary import SNOMED

__all__ = ["DATASETS", "FACTS", "keep_ids", "read", "records"]

DATASETS: dict[str, Facts] = {
    name: Facts(name=name, records=n_records, fs=fs, label_system=SNOMED)
    for name, n_records, fs in [
        ("chapman_shaoxing", 10_247, 500.0),
        ("cpsc_2018", 6_877, 500.0),
        ("cpsc_2018_extra", 3_453, 500.0),
        ("georgia", 10_344, 500.0),
        ("ningbo", 34_905, 500.0),
        ("ptb", 516, 1000.0),
        ("ptb-xl", 21_837, 500.0),
        ("st_petersburg_incart", 74, 257.0),
    ]
}
"""The eight sets as the folders are called, with their published counts and rates. A folder of another name is read as well."""

FACTS = Facts(
    name="PhysioNet/CinC Challenge 2021",
    version="1.0.3",
    licence="CC BY 4.0",
    citation=(
        "Reyna et al., Will Two Do? Varying Dimensions in Electrocardiography: "
        "The PhysioNet/Computing in Cardiology Challenge 2021, Computing in Cardiology 2021"
    ),
    url="https://physionet.org/content/challenge-2021/1.0.3/",
    records=88_253,
    label_system=SNOMED,
)

LAYOUT = "the challenge's folder with training/<set>/g1/*.hea, folders <set>/*.hea, or one such set"


def records(root: Path | str, *, subset: Sequence[str] = ()) -> Iterator[RecordRef]:
    """Every recording under a folder, by set, group and name.

    root   : the challenge's folder (with ``training/``), a folder of sets, or one set. ``meta["dataset"]`` is the set.
    subset : the sets that are wanted, by name; empty: all

    A signal file without a header is given with its problem (the published ningbo set has some). Raises EinthovenError where there is no header at all,
    and where a set that is wanted is not there.
    """
    root = existing_root(root, LAYOUT)
    base = _base(root)
    found = [path for path in files(base) if path.suffix in (".hea", ".mat", ".dat")]
    headers = {path for path in found if path.suffix == ".hea"}
    if not headers:
        raise EinthovenError(f"{root}: no WFDB header (.hea) is in it; expected {LAYOUT}.")
    there = sorted({_dataset(path, base) for path in headers})
    for name in subset:
        if name not in there:
            near = difflib.get_close_matches(name, there, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise EinthovenError(f"{root}: has no set {name}; there are {', '.join(there)}{hint}")
    names = Counter(path.stem for path in headers)
    for path in found:
        dataset = _dataset(path, base)
        if subset and dataset not in subset:
            continue
        # Names are unique in the challenge; where somebody put two corpora together, the set keeps them apart.
        name = path.stem if names[path.stem] < 2 else f"{dataset}/{path.stem}"
        meta = {"dataset": dataset}
        if path.suffix != ".hea":
            if path.with_suffix(".hea") not in headers:
                yield RecordRef(path, name, meta=meta, problem=f"a signal without a header: {path.stem}.hea is not there.")
            continue
        yield listed(path, name, meta=meta)[0]


def keep_ids(refs: Iterable[RecordRef], root: Path | str, file_of: Callable[[str], str | None]) -> Iterator[RecordRef]:
    """The recordings of a folder to which sets came, under the ids by which a store knows them (``kept_ids``)."""
    root = Path(root).expanduser().absolute()
    base = _base(root)
    return kept(refs, root, file_of, lambda ref: (ref.path.stem, f"{_dataset(ref.path, base)}/{ref.path.stem}"))


def _base(root: Path) -> Path:
    return root / "training" if (root / "training").is_dir() else root


def _dataset(path: Path, base: Path) -> str:
    parts = path.relative_to(base).parts
    is_set = len(parts) > 1 and not re.fullmatch(r"g\d+", parts[0])
    return parts[0] if is_set else base.name
