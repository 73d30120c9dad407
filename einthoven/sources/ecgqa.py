"""ECG-QA: questions about the recordings of PTB-XL or MIMIC-IV-ECG, with their answers.

The release has no signals: a question names its ECG, or its two, by the number that the corpus gave them. As a source it is that corpus,
narrowed to what is asked about: the recordings keep what their own tables say, ``fold`` is the part of the questions (train, valid, test), and
``meta["questions"]`` what is asked. Where a question compares two recordings it stands with both, and ``ecgs`` names them in the question's
order: it is answered by the two together.

The tables of answers (``answers.csv``, ``answers_for_each_template.csv``) belong to the task, not to a recording; they are not read here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.sources import mimic_iv_ecg, ptbxl
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import existing_root, one_of, read

__all__ = ["FACTS", "PARTS", "WORDINGS", "Question", "missing", "questions", "read", "records"]

FACTS = Facts(
    name="ECG-QA",
    version="1.0.2",
    licence="CC BY 4.0",
    citation="Oh et al., ECG-QA: A comprehensive question answering dataset combined with electrocardiogram, NeurIPS Datasets and Benchmarks, 2023",
    url="https://github.com/Jwoo5/ecg-qa",
)

WORDINGS = ("paraphrased", "template")
PARTS = ("train", "valid", "test")
SPLITS = ("old", "new")
LAYOUT = f"ecgqa/ptbxl or ecgqa/mimic-iv-ecg with {' and '.join(WORDINGS)}/<{', '.join(PARTS)}>/*.json"


@dataclass(frozen=True)
class Question:
    """One question with its answers.

    sample     : its number in the release
    part       : "train", "valid" or "test"
    kind       : "single-verify", "single-choose", "single-query", or "comparison_consecutive-…" and "comparison_irrelevant-…" of two ECGs
    about      : "scp_code", "noise", "stage_of_infarction", "extra_systole", "heart_axis" or "numeric_feature"
    ecgs       : one or two numbers of recordings, as the corpus gave them, in the question's order
    attributes : what is asked about, or offered to choose from; may be empty
    template   : the number of the template that it was made from, which says what may be answered
    """

    sample: int
    part: str
    kind: str
    about: str
    text: str
    answers: tuple[str, ...]
    ecgs: tuple[str, ...]
    attributes: tuple[str, ...]
    template: int


def questions(root: Path | str, *, wording: str = "paraphrased", part: str | None = None) -> Iterator[Question]:
    """The questions of one part, or of all, in the order of the files. Raises EinthovenError where there are none, or a file is not theirs."""
    one_of("wording", wording, WORDINGS)
    if part is not None:
        one_of("part", part, PARTS)
    root = existing_root(root, LAYOUT)
    parts = PARTS if part is None else (part,)
    found = [(name, path) for name in parts for path in sorted((root / wording / name).glob("*.json"))]
    if not found:
        raise EinthovenError(f"{root}: no {wording}/<{', '.join(parts)}>/*.json is in it; expected {LAYOUT}.")
    for name, path in found:
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
            read_here = [_question(one, name) for one in listed]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise EinthovenError(
                f"{path}: is not a file of ECG-QA's questions ({type(error).__name__}: {error}); download it again."
            ) from error
        yield from read_here


def records(root: Path | str, *, ecgs: Path | str = "", wording: str = "paraphrased", split: str = "old") -> Iterator[RecordRef]:
    """The recordings that are asked about, in the order of their corpus.

    ecgs    : the folder of PTB-XL, or of MIMIC-IV-ECG, as it was downloaded
    wording : "paraphrased" or "template", the wording of the questions
    split   : "old" keeps train, valid and test of the questions; "new": no parts, so that ingest divides by patient

    A recording that is asked about and is not there is given with its problem. Raises EinthovenError where there are no questions, ``ecgs`` is
    neither corpus, or the parts have a recording or a patient in common.
    """
    one_of("split", split, SPLITS)
    asked: dict[str, list[str]] = defaultdict(list)  # as text: a quarter of a million of them stay small
    folds: dict[str, str] = {}
    for question in questions(root, wording=wording):
        text = json.dumps(_as_meta(question), ensure_ascii=False)
        for ecg in question.ecgs:
            asked[ecg].append(text)
            if split == "old":
                _same_part(folds, ecg, question.part, f"{root}: recording {ecg}")
    if not ecgs:
        raise EinthovenError(
            f"{root}: has questions and no signals; expected ecgs, the folder of PTB-XL or MIMIC-IV-ECG "
            "(on the command line --option ecgs=FOLDER)."
        )
    home, corpus = _corpus(ecgs)
    part_of: dict[str, str] = {}
    for ref in corpus.records(home):
        if (said := asked.pop(ref.record, None)) is not None:
            part = folds.get(ref.record)
            if part is not None and ref.patient is not None:
                _same_part(part_of, ref.patient, part, f"{root}: patient {ref.patient}")
            yield replace(ref, fold=part, meta={**ref.meta, "questions": [json.loads(text) for text in said]})
    for ecg in asked:
        problem = f"ECG-QA asks about it, and {corpus.FACTS.name} has no recording {ecg}."
        yield RecordRef(home / ecg, ecg, fold=folds.get(ecg), problem=problem)


def missing(root: Path) -> list[str]:
    """The parts of the questions that the release has and the folder has not, of those wordings that are there."""
    wordings = [wording for wording in WORDINGS if (root / wording).is_dir()]
    return [f"{wording}/{part}" for wording in wordings for part in PARTS if not any((root / wording / part).glob("*.json"))]


def _same_part(known: dict[str, str], name: str, part: str, who: str) -> None:
    if (first := known.setdefault(name, part)) != part:
        raise EinthovenError(
            f"{who} is asked about in {first} and in {part}, so that a test would meet what was learned; split=new (on the command line "
            "--option split=new) leaves these parts aside and divides by patient."
        )


def _corpus(ecgs: Path | str) -> tuple[Path, ModuleType]:
    home = existing_root(ecgs, "the folder of PTB-XL or of MIMIC-IV-ECG")
    for corpus, table in ((ptbxl, ptbxl.TABLE), (mimic_iv_ecg, mimic_iv_ecg.RECORDS)):
        if (home / table).is_file():
            return home, corpus
    raise EinthovenError(f"{home}: is neither PTB-XL nor MIMIC-IV-ECG; expected {ptbxl.TABLE} or {mimic_iv_ecg.RECORDS} in it.")


def _question(one: dict[str, Any], part: str) -> Question:
    ecgs = tuple(str(int(ecg)) for ecg in one["ecg_id"])
    if len(ecgs) not in (1, 2) or isinstance(one["answer"], str):
        raise ValueError(f"question {one['sample_id']}: expected one or two ecg_id, and a list as answer")
    return Question(
        sample=int(one["sample_id"]),
        part=part,
        kind=str(one["question_type"]),
        about=str(one["attribute_type"]),
        text=str(one["question"]),
        answers=tuple(map(str, one["answer"])),
        ecgs=ecgs,
        attributes=tuple(map(str, one.get("attribute") or ())),
        template=int(one["template_id"]),
    )


def _as_meta(question: Question) -> dict[str, Any]:
    """What stands with a recording; its part is the recording's ``fold``."""
    return {"question" if name == "text" else name: value for name, value in asdict(question).items() if name != "part"}
