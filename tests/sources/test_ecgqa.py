"""ECG-QA beside the corpora that it asks about, written here; and its real questions where they are present."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_layouts import LAYOUTS

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.sources import SOURCES, ecgqa, ptbxl
from einthoven.store.read import Store

PTBXL = "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3"


@pytest.fixture
def root(tmp_path) -> Path:
    return LAYOUTS["ecgqa"].build(tmp_path)


def ask(root: Path, part: str, ecgs: list, *, sample: int = 90, wording: str = "paraphrased", **change) -> None:
    """One more file of questions, with one question; a change to None takes a key away."""
    folder = root / wording / part
    folder.mkdir(parents=True, exist_ok=True)
    question = {
        **{"template_id": 5, "question_id": 1, "sample_id": sample, "question_type": "single-query", "attribute_type": "noise"},
        **{"question": "What noise?", "answer": [], "ecg_id": ecgs, "attribute": None},
        **change,
    }
    text = json.dumps([{key: value for key, value in question.items() if value is not ...}])
    (folder / f"{len(list(folder.iterdir())):05d}.json").write_text(text)


def test_recordings_that_are_asked_about_carry_their_questions_and_what_ptb_xl_says(root, tmp_path):
    refs = {ref.record: ref for ref in ecgqa.records(root, ecgs=tmp_path / PTBXL)}
    own = {ref.record: ref for ref in ptbxl.records(tmp_path / PTBXL)}
    assert list(refs) == ["1", "2", "3", "5", "6"] and len(own) == 6  # nobody asks about the fourth
    assert {name: ref.fold for name, ref in refs.items()} == {"1": "train", "2": "train", "3": "valid", "5": "test", "6": "test"}
    for name, ref in refs.items():
        assert (ref.path, ref.patient, ref.labels, ref.problem) == (own[name].path, own[name].patient, own[name].labels, None)
        assert {key: value for key, value in ref.meta.items() if key != "questions"} == own[name].meta
    assert refs["1"].meta["questions"] == [
        {
            **{"sample": 0, "kind": "comparison_irrelevant-verify", "about": "scp_code", "question": "Is there normal ecg in this ECG?"},
            **{"answers": ["yes"], "ecgs": ["1", "2"], "attributes": ["normal ecg"], "template": 1},
        }
    ]
    assert refs["2"].meta["questions"] == refs["1"].meta["questions"]  # a comparison stands with both
    assert refs["3"].meta["questions"][0]["ecgs"] == ["3"]


def test_the_wording_of_the_templates_is_an_option(root, tmp_path):
    ask(root, "train", [1, 4], wording="template", answer=["baseline drift", "none"])
    refs = {ref.record: ref for ref in ecgqa.records(root, ecgs=tmp_path / PTBXL, wording="template", split="new")}
    assert [one["question"] for one in refs["1"].meta["questions"]] == ["Does this ECG show normal ecg?", "What noise?"]
    assert refs["4"].meta["questions"][0]["answers"] == ["baseline drift", "none"] and refs["4"].meta["questions"][0]["attributes"] == []
    assert {ref.fold for ref in refs.values()} == {None}
    asked = list(ecgqa.questions(root, wording="template", part="train"))
    assert [(one.sample, one.part, one.ecgs, one.template) for one in asked] == [(0, "train", ("1", "2"), 1), (90, "train", ("1", "4"), 5)]
    assert len(list(ecgqa.questions(root))) == 3


def test_it_goes_through_ingest_with_the_parts_of_its_questions(root, tmp_path):
    ask(root, "train", [77])
    summary = ingest(ecgqa, root, tmp_path / "store", fs=100, workers=1, source_options={"ecgs": str(tmp_path / PTBXL)})
    assert (summary.n_records, summary.n_rejected) == (5, 1)
    assert "PTB-XL has no recording 77" in (tmp_path / "store" / "rejected.csv").read_text()
    store = Store(tmp_path / "store")
    assert store.column("split").tolist() == ["train", "train", "valid", "test", "test"]
    assert store.record(0).meta["questions"][0]["answers"] == ["yes"] and store.record(0).labels == {"NORM": 1.0, "SR": 1.0}


def test_mimic_iv_ecg_is_asked_about_by_its_studies(tmp_path):
    home = LAYOUTS["mimic_iv_ecg"].build(tmp_path)
    root = tmp_path / "ecgqa" / "mimic-iv-ecg"
    ask(root, "train", [44458630, 40689238])
    ask(root, "test", [45090959])
    refs = {ref.record: ref for ref in ecgqa.records(root, ecgs=home)}
    assert list(refs) == ["40689238", "44458630", "45090959"] and refs["45090959"].patient == "10000117"
    assert refs["40689238"].meta["questions"][0]["ecgs"] == ["44458630", "40689238"] and "report" in refs["40689238"].meta
    record = SOURCES["ecgqa"].read(refs["45090959"])
    assert record.signal.shape == (12, 5000) and record.meta["questions"][0]["sample"] == 90


def test_parts_that_share_a_recording_or_a_person_are_refused_unless_they_are_left_aside(root, tmp_path):
    ask(root, "test", [4])  # of the person of recording 3, which is asked about in valid
    with pytest.raises(EinthovenError, match=r"patient 15002 is asked about in valid and in test.*--option split=new"):
        list(ecgqa.records(root, ecgs=tmp_path / PTBXL))
    ask(root, "test", [1])
    with pytest.raises(EinthovenError, match="recording 1 is asked about in train and in test"):
        list(ecgqa.records(root, ecgs=tmp_path / PTBXL))
    assert len(list(ecgqa.records(root, ecgs=tmp_path / PTBXL, split="new"))) == 6


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"ecg_id": []}, "expected one or two ecg_id"),
        ({"ecg_id": [1, 2, 3]}, "expected one or two ecg_id"),
        ({"ecg_id": 1}, "TypeError"),
        ({"ecg_id": ["records500/00000/00001_hr"]}, "ValueError"),
        ({"answer": "yes"}, "a list as answer"),
        ({"question": ...}, "KeyError: 'question'"),
        ({"template_id": None}, "TypeError"),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_name(root, tmp_path, change, what):
    ask(root, "train", **{"ecgs": [1], **change}) if "ecg_id" not in change else ask(root, "train", [], **change)
    with pytest.raises(EinthovenError, match=r"train.00001\.json: is not a file of ECG-QA's questions") as error:
        list(ecgqa.records(root, ecgs=tmp_path / PTBXL))
    assert what in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"[", b"{}x", b'{"a": 1}', b"\xff\xfe", b"[" * 100_000, b"[1]", b"7"])
def test_what_is_no_json_of_questions_is_refused(root, tmp_path, content):
    (root / "paraphrased" / "train" / "00000.json").write_bytes(content)
    with pytest.raises(EinthovenError, match=r"00000\.json: is not a file of ECG-QA's questions") as error:
        list(ecgqa.records(root, ecgs=tmp_path / PTBXL))
    assert "\n" not in str(error.value)


def test_what_is_wrong_is_told_in_one_line(root, tmp_path):
    def refused(match: str, at: Path = root, **options) -> None:
        with pytest.raises(EinthovenError, match=match) as error:
            list(ecgqa.records(at, **options))
        assert "\n" not in str(error.value)

    refused("has questions and no signals; expected ecgs.*--option ecgs=FOLDER")
    refused("is neither PTB-XL nor MIMIC-IV-ECG; expected ptbxl_database.csv or record_list.csv", ecgs=tmp_path)
    refused("no such folder; expected the folder of PTB-XL", ecgs=tmp_path / "nowhere")
    refused("no such folder; expected ecgqa/ptbxl", at=tmp_path / "nowhere", ecgs=tmp_path / PTBXL)
    refused(r"no paraphrased/<train, valid, test>/\*\.json is in it", at=root.parent, ecgs=tmp_path / PTBXL)
    refused("wording as one of paraphrased, template; got 'short'", wording="short", ecgs=tmp_path / PTBXL)
    refused("split as one of old, new; got 'mine'", split="mine", ecgs=tmp_path / PTBXL)
    with pytest.raises(EinthovenError, match="expected part as one of train, valid, test; got 'dev'"):
        list(ecgqa.questions(root, part="dev"))


def test_a_recording_that_is_not_there_cannot_be_read(root, tmp_path):
    ask(root, "train", [77])
    lost = next(ref for ref in ecgqa.records(root, ecgs=tmp_path / PTBXL) if ref.record == "77")
    with pytest.raises(FormatError, match="no recording 77"):
        ecgqa.read(lost)


@pytest.mark.data
@pytest.mark.parametrize("wording", ecgqa.WORDINGS)
def test_the_real_questions_ask_about_recordings_that_are_there(data_root, wording):
    """Against the JSON itself, read here by hand: every question stands with each of its recordings, once, and in the order of its ECGs."""
    root = data_root / "ecg-qa" / "ptbxl"
    expected = {}
    for part in ("train", "valid", "test"):
        for one in json.loads((root / wording / part / "00000.json").read_text()):
            for ecg in one["ecg_id"]:
                expected.setdefault(str(ecg), []).append((part, one["sample_id"], one["question"], one["answer"], one["ecg_id"]))
    refs = {ref.record: ref for ref in ecgqa.records(root, ecgs=data_root / "ptb-xl", wording=wording)}
    assert refs.keys() == expected.keys() and not any(ref.problem for ref in refs.values())
    for name, ref in refs.items():
        found = [
            (ref.fold, one["sample"], one["question"], one["answers"], [int(ecg) for ecg in one["ecgs"]]) for one in ref.meta["questions"]
        ]
        assert found == expected[name]
    assert len(list(ecgqa.questions(root, wording=wording))) == 329
