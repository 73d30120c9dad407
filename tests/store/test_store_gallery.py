"""Who is enrolled and who is asked: the first recording in time and the later ones, never both, never a stranger's."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.gallery import WHOLE, gallery_and_probe, old_manifest
from einthoven.store.read import Store


class Visits(Corpus):
    """The fake corpus (three recordings to a person) with times that run against the names, and some persons without time."""

    def records(self, root, every=1):
        for ref in super().records(root, every):
            number = int(ref.record[3:])
            time = f"2021-05-{28 - number % 28:02d}T08:00:00" if number // 3 % 3 else None
            yield replace(ref, meta={**ref.meta, "time": time}, problem=None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    ingest(Visits(), folder, folder / "store", workers=1)
    return Store(folder / "store")


def by_person(store, rows):
    persons = {}
    for row in rows:
        if store.column("patient")[row] is not None:
            persons.setdefault(store.column("patient")[row], []).append(row)
    return persons


def test_the_first_recording_in_time_is_enrolled_and_the_others_are_asked(store):
    roles = gallery_and_probe(store, None)
    time, name = store.column("time"), store.column("record")
    undated = 0
    for own in by_person(store, range(len(store))).values():
        enrolled, asked = [row for row in own if row in roles.gallery], [row for row in own if row in roles.probe]
        if len(own) == 1:
            assert not enrolled and not asked
            continue
        assert len(enrolled) == 1 and sorted(enrolled + asked) == sorted(own)
        if any(np.isnat(time[row]) for row in own):
            undated += 1
            assert all(name[enrolled[0]] < name[row] for row in asked)
        else:
            assert all(time[enrolled[0]] < time[row] for row in asked)
    assert undated > 2 and set(roles.gallery_segment) == set(roles.probe_segment) == {WHOLE}
    for rows, persons in ((roles.gallery, roles.gallery_person), (roles.probe, roles.probe_person)):
        assert (store.patient_number[rows] == persons).all()


def test_a_split_gives_its_own_persons(store):
    rows = set(store.where(split="train").tolist())
    roles = gallery_and_probe(store, "train")
    assert {*roles.gallery.tolist(), *roles.probe.tolist()} <= rows and set(roles.probe_person) <= set(roles.gallery_person)


def test_more_may_be_enrolled_but_never_the_last(store):
    roles = gallery_and_probe(store, None, n_enrolled=5)
    for own in by_person(store, range(len(store))).values():
        if len(own) > 1:
            assert sum(row in roles.probe for row in own) == 1 and sum(row in roles.gallery for row in own) == len(own) - 1


def test_persons_with_one_recording_are_left_out_or_distract_or_are_halved(store):
    several = [own for own in by_person(store, range(len(store))).values() if len(own) > 1]
    rows = [*several[0], *several[1], *(own[0] for own in several[2:])]
    single = {own[0] for own in several[2:]}
    alone = gallery_and_probe(store, rows)
    assert not single & {*alone.gallery.tolist(), *alone.probe.tolist()} and len(alone.gallery) == 2
    distracted = gallery_and_probe(store, rows, singles="distractors")
    assert single <= set(distracted.gallery.tolist()) and not single & set(distracted.probe.tolist())
    assert "never asked for" in str(distracted) and distracted.probe.tolist() == alone.probe.tolist()
    halved = gallery_and_probe(store, rows, singles="two_windows", seconds=5.0)
    long = {row for row in single if store.column("n_samples")[row] >= 5000}
    assert 0 < len(long) and single - long == single - set(halved.gallery.tolist())
    for row in long:
        assert halved.gallery_segment[halved.gallery == row] == [0] and halved.probe_segment[halved.probe == row] == [1]
    assert "within one recording" in str(halved) and "within one recording" not in str(alone)
    halved = gallery_and_probe(store, rows, singles="two_windows", seconds=6.0)  # ten seconds are no two windows of six
    assert single & set(halved.gallery.tolist()) == {row for row in single if store.column("n_samples")[row] >= 6000} < long


def test_recordings_of_unknown_persons_take_no_part(store):
    unknown = [row for row, patient in enumerate(store.column("patient")) if patient is None]
    roles = gallery_and_probe(store, None, singles="distractors")
    assert unknown and not set(unknown) & {*roles.gallery.tolist(), *roles.probe.tolist()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "nowhere"}, "split"),
        ({"singles": "halves"}, "singles"),
        ({"n_enrolled": 0}, "n_enrolled"),
        ({"singles": "two_windows"}, "seconds"),
        ({"seconds": 5.0}, "seconds"),
    ],
)
def test_settings_without_meaning_are_refused(store, options, message):
    with pytest.raises(StoreError, match=message):
        gallery_and_probe(store, **options)


def test_where_nobody_has_two_recordings_it_says_so(store):
    rows = [own[0] for own in by_person(store, range(len(store))).values()]
    with pytest.raises(StoreError, match="0 of them with two recordings"):
        gallery_and_probe(store, rows)


def test_the_old_manifest_is_that_of_its_script():
    """Its rule written out again: persons in the order of their first file, one number each from Python's generator."""
    person = ["b", "a", "b", "c", "d", "d", "d", "a", "e", "f", "f", "g", "h", "h"]
    generator = random.Random(42)
    draws = {one: generator.random() for one in "bacdefgh"}
    assert [round(draws[one], 3) for one in "bac"] == [0.639, 0.025, 0.275]  # the Mersenne Twister's first numbers of seed 42
    parts = old_manifest(person, share=0.3)
    assert [part for one, part in zip(person, parts) if one == "b"] == [("train", 0)] * 2
    assert [part for one, part in zip(person, parts) if one == "a"] == [("valid_gallery", 0), ("valid_probe", 0)]
    assert [part for one, part in zip(person, parts) if one == "c"] == [None]  # validates, and has one recording
    assert [part for one, part in zip(person, parts) if one == "d"] == [("valid_gallery", 1), ("valid_probe", 1), None]
    assert old_manifest(person, share=0.0)[3] == ("train", 2) and {part[0] for part in old_manifest(person, share=0.0)} == {"train"}
    assert all(part is None or part[0] != "train" for part in old_manifest(person, share=1.0))
    with pytest.raises(ValueError, match="share"):
        old_manifest(person, share=20)
