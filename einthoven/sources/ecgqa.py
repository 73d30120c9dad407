"""ECG-QA: questions about the recordings of PTB-XL or MIMIC-IV-ECG, with their answers.

The release has no signals: a question names its ECG, or its two, by the number that the corpus gave them. As a source it is that corpus,
narrowed to what is asked about: the recordings keep what their own tables say, ``fold`` is the part of the questions (train, valid, test), and
``meta["questions"]`` what is asked. Where a question compares two recordings it stands with both, and ``ecgs`` names them in the question's order.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.sources import mimic_iv_ecg, ptbxl
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import existing_root, read

__all__ = ["FACTS", "KINDS", "Question", "questions", "read", "records"]

FACTS = Facts(
    name="ECG-QA",
    version="1.0.2",
    licence="CC BY 4.0",
    citation="Oh et al., ECG-QA: A comprehensive question answering dataset combined with electrocardiogram, NeurIPS Datasets and Benchmarks, 2023",
    url="https://github.com/Jwoo5/ecg-qa",
)

KINDS = ("paraphrased", "template")
PARTS = ("train", "valid", "test")
LAYOUT = f"ecgqa/ptbxl or ecgqa/mimic-iv-ecg with {' and '.join(KINDS)}/<{', '.join(PARTS)}>/*.json"


@dataclass(frozen=True)
class Question:
    """One question with its answers; ``ecgs`` are one or two numbers of recordings, ``attributes`` what is asked about."""

    sample: int
    part: str
    kind: str
    attribute_kind: str
    text: str
    answers: tuple[str, ...]
    ecgs: tuple[str, ...]
    attributes: tuple[str, ...]
    template: int


def questions(root: Path | str, *, kind: str = "paraphrased", part: str | None = None) -> Iterator[Question]:
    """The questions of one part, or of all, in the order of the files. Raises EinthovenError where there are none, or a file is not theirs."""
    if kind not in KINDS:
        raise EinthovenError(f"expected the questions' kind as one of {', '.join(KINDS)}; got {kind!r}.")
    root = existing_root(root, LAYOUT)
    parts = PARTS if part is None else (part,)
    found = [(name, path) for name in parts for path in sorted((root / kind / name).glob("*.json"))]
    if not found:
        raise EinthovenError(f"{root}: no {kind}/{'|'.join(parts)}/*.json in it; expected {LAYOUT}.")
    for name, path in found:
        try:
            for one in json.loads(path.read_text(encoding="utf-8")):
                yield _question(one, name)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise EinthovenError(
                f"{path}: is not a file of ECG-QA's questions ({type(error).__name__}: {error}); download it again."
            ) from error


def records(root: Path | str, *, ecgs: Path | str = "", kind: str = "paraphrased") -> Iterator[RecordRef]:
    """The recordings that are asked about.

    ecgs : the folder of PTB-XL, or of MIMIC-IV-ECG, as it was downloaded
    kind : "paraphrased" or "template", the wording of the questions

    A recording that is asked about and is not there is given with its problem. Raises EinthovenError where ``ecgs`` is neither corpus.
    """
    if not ecgs:
        raise EinthovenError(
            "ECG-QA has questions and no signals: say where the recordings are, ecgs=<folder of PTB-XL or MIMIC-IV-ECG> "
            "(on the command line --option ecgs=FOLDER)."
        )
    home = existing_root(ecgs, "the folder of PTB-XL or of MIMIC-IV-ECG")
    corpus = ptbxl if (home / ptbxl.TABLE).is_file() else mimic_iv_ecg
    asked: dict[str, list[str]] = defaultdict(list)  # as text: a quarter of a million of them stay small
    folds: dict[str, str] = {}
    for question in questions(root, kind=kind):
        text = json.dumps(_as_meta(question), ensure_ascii=False)
        for ecg in question.ecgs:
            asked[ecg].append(text)
            folds[ecg] = question.part
    for ref in corpus.records(home):
        if (said := asked.pop(ref.record, None)) is not None:
            yield replace(ref, fold=folds[ref.record], meta={**ref.meta, "questions": [json.loads(text) for text in said]})
    for ecg in asked:
        yield RecordRef(home / ecg, ecg, fold=folds[ecg], problem=f"ECG-QA asks about it, and {corpus.FACTS.name} has no recording {ecg}.")


def _question(one: dict[str, Any], part: str) -> Question:
    return Question(
        sample=int(one["sample_id"]),
        part=part,
        kind=str(one["question_type"]),
        attribute_kind=str(one["attribute_type"]),
        text=str(one["question"]),
        answers=tuple(map(str, one["answer"])),
        ecgs=tuple(str(int(ecg)) for ecg in one["ecg_id"]),
        attributes=tuple(map(str, one.get("attribute") or ())),
        template=int(one["template_id"]),
    )


def _as_meta(question: Question) -> dict[str, Any]:
    return {
        "sample": question.sample,
        "kind": question.kind,
        "question": question.text,
        "answers": question.answers,
        "ecgs": question.ecgs,
    }
