"""The page of an audit: its numbers are those of the audit, every finding has its advice and its tracing, and no text of a file becomes markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from einthoven.audit.coverage import Leak
from einthoven.audit.run import Audit, audit
from einthoven.audit.tally import Doubted
from einthoven.ingest.run import ingest
from einthoven.record import Record
from einthoven.report.audit import ADVICE, audit_html
from einthoven.report.audit_table import audit_table
from einthoven.signal.suspicion import MARKED, N_SEEN, Suspicion
from einthoven.simulate import simulate
from einthoven.sources.facts import Facts, RecordRef
from einthoven.store.quality_columns import is_ok

EVIL = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Faulty:
    """Eight hearts; of the first a copy cut short, the second with an inverted lead, the third silent in V2, the fourth in counts."""

    FACTS = Facts("faulty & co", licence="none")

    def records(self, root: Path) -> Iterator[RecordRef]:
        for number in range(9):
            name = EVIL if number == 8 else f"h{number}"
            yield RecordRef(
                Path(root) / f"{number}", name, f"p{number}", {EVIL: 1.0} if number == 5 else None, "SNOMED CT" if number == 5 else None
            )

    def read(self, ref: RecordRef) -> Record:
        number = 8 if ref.record == EVIL else int(ref.record[1:])
        record = simulate(2, person=number % 8, seconds=10.0, fs=250.0).record
        signal = record.signal.copy()
        if number == 8:
            signal = signal[:, 500:]
        elif number == 1:
            signal[3] *= -1
        elif number == 2:
            signal[7] = 0
        elif number == 3:
            signal *= 0.05
        return replace(record, signal=signal, patient=None, meta={}, labels=None, label_system=None)


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Audit:
    folder = tmp_path_factory.mktemp("audit")
    ingest(Faulty(), folder, folder / "store", workers=1, fs=250.0)
    return audit(folder / "store", workers=1)


@pytest.fixture(scope="module")
def html(result) -> str:
    return audit_html(result)


def plain(page: str) -> str:
    body = page.split("</style>")[1]
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", body, flags=re.S))))


def test_counts_stand_first_and_are_those_of_the_audit(result, html):
    words = plain(html)
    ok = result.stores[0].n_ok
    assert words.index(f"9 recordings {ok} ok {9 - ok} doubted") < words.index("What was found") < words.index("Copies")
    assert "1 pair; without 1 recording none would be left" in words


def test_every_finding_has_its_advice_its_sentence_and_its_tracing(result, html):
    words = plain(html)
    assert {"limb", "flat", "amplitude"} <= set(result.worst)
    for kind, doubted in result.worst.items():
        title, advice = ADVICE[kind]
        part = html.split(f'<h2 id="{kind}">')[1].split("<h2")[0]
        assert title in unescape(part) and part.count('<svg class="ecg"') >= 1
        assert advice in words
        assert doubted[0].record in part or doubted[0].record == EVIL
    assert "aVR is inverted (the sign is wrong)" in words
    assert "times as large as it is stored" in words  # what is stored too small is drawn large, and this is said


def test_the_page_says_which_findings_only_warn_and_how_usual_each_is(result, html):
    words = plain(html)
    rule = words.split("Only warnings, which leave it ok, are:")[1].split("Stores")[0]
    for kind, (title, _) in ADVICE.items():
        assert (f"“{title}”" in rule) == is_ok({kind}), kind
    assert is_ok({"baseline", "electrodes"}) and not is_ok({"baseline", "noise"})
    for kind in result.worst:
        row = next(row for row in html.split("What was found")[1].split("<tr")[1:] if f'href="#{kind}"' in row)
        assert (">warning<" in row) == is_ok({kind}) and (">not ok<" in row) != is_ok({kind})
        assert kind not in MARKED or f"{100 * MARKED[kind] / N_SEEN:.1f} %" in row
    assert set(MARKED) <= set(ADVICE) and "Of 693 real recordings 1 carries this mark (0.1 %)" in words
    assert "of 9 recordings less than one may carry it without a mistake" in words


def test_electrodes_are_a_suspicion_and_the_page_says_how_often_a_sound_recording_carries_it(result):
    (store,) = result.stores
    doubt = Suspicion("electrodes", ("I", "aVR", "aVL"), "lead I runs against V6", "warn")
    many = replace(store, n_records=100_000, kinds={"electrodes": 900})
    words = plain(audit_html(replace(result, stores=(many,), worst={"electrodes": (Doubted(0, 5, "h5", (doubt,)),)})))
    assert (
        "900 of 100,000 recordings (0.9 %)" in words
        and "about 866 may carry it without a mistake" in words
        and "no mark proves a mistake" in words
    )


def test_a_pair_is_drawn_in_the_leads_of_which_it_is_told_that_they_differ(result, html):
    (twin,) = result.twins
    renamed = replace(twin, copy=replace(twin.copy, differs=("aVF of the second is V4 of the first",)))
    part = audit_html(replace(result, twins=(renamed,))).split('id="copies"')[1].split("<h2")[0]
    assert part.count(">aVF</text>") == part.count(">V4</text>") == 2 and ">II</text>" not in part


def test_every_kind_of_doubt_that_there_is_has_advice():
    source = Path(__import__("einthoven.signal.suspicion", fromlist=["x"]).__file__).read_text(encoding="utf-8")
    known = Suspicion.__doc__.split("kind     :")[1].split("\n")[0]
    assert {word.strip() for word in known.split(",")} == set(ADVICE)
    assert set(re.findall(r'Suspicion\("(\w+)"', source)) <= set(ADVICE)


def test_a_copy_is_drawn_beside_its_original_from_the_same_heartbeat(result, html):
    (twin,) = result.twins
    assert twin.copy.start_first == pytest.approx(2.0, abs=0.02)
    assert "from 2.00 s" in plain(html) and "the second begins 2.00 s later" in plain(html)


def test_text_from_files_is_no_markup_and_the_page_is_well_formed(html):
    assert EVIL not in html and "&lt;script&gt;" in html
    body = html[html.index("<body>") : html.index("</body>") + 7]
    ElementTree.fromstring(re.sub(r"&(?!amp;|lt;|gt;|quot;|#)\w+;", "", body))


def test_torn_patients_and_unknown_codes_are_listed(result):
    torn = replace(result, leaks=(Leak("faulty", EVIL, {"test": 1, "train": 2}),))
    words = plain(audit_html(torn, n_tracings=1))
    assert "1 patient. Split again" in words and "test (1), train (2)" in words
    assert "codes that its vocabulary does not have" in words and "recordings that nobody labelled" in words


def test_a_store_without_a_doubt_makes_a_short_page(tmp_path):
    class Sound(Faulty):
        def records(self, root):
            yield from (RecordRef(Path(root) / str(number), f"h{number}", None) for number in (0, 5, 6))

    ingest(Sound(), tmp_path, tmp_path / "store", workers=1, fs=250.0)
    result = audit(tmp_path / "store", workers=1, write=False)
    told: list[tuple[int, int]] = []
    words = plain(audit_html(result, progress=lambda done, total: told.append((done, total))))
    assert "No two recordings share a signal" in words and "3 recordings" in words and told[-1] == (len(told), len(told))
    assert np.isfinite(result.seconds)


def test_the_first_line_in_a_terminal_is_the_whole_sentence_however_narrow_the_table_below(result, capsys):
    from rich.console import Console

    console = Console(width=300)
    for table in audit_table(result):
        console.print(table)
    assert capsys.readouterr().out.splitlines()[0].strip() == str(result)
