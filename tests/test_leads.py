from __future__ import annotations

import timeit

import pytest

from einthoven.leads import TWELVE, canonical

SPELLINGS = {
    "I": ["I", "i", "Lead I", "LEAD_I", "MDC_ECG_LEAD_I", "Lead I (Einthoven)", "ECG I", "EKG I", "ECG Lead I", "DI", "D1", "D I", "Ableitung I"],
    "II": ["ii", "Lead II", "MDC_ECG_LEAD_II", "DII", "D2", "lead-ii", "LeadII", "Derivación II", "ECG-II", "II "],
    "III": ["DIII", "D3", "Lead III (Einthoven)", "MDC_ECG_LEAD_III"],
    "aVR": ["AVR", "avr", "aVR", "VR", "MDC_ECG_LEAD_AVR", "MDC_ECG_LEAD_aVR", "ECG Lead aVR", "aVR, augmented voltage, right", "aV R", "Goldberger aVR"],
    "aVL": ["AVL", "VL", "Lead aVL", "aVL, augmented voltage, left", "DaVL"],
    "aVF": ["AVF", "VF", "EKG aVF", "aVF lead"],
    "V1": ["v1", "V 1", "V-1", "Lead V1", "MDC_ECG_LEAD_V1", "ECG V1", "Wilson V1"],
    "V6": ["V6", "V_6", "ECG_V6"],
    "V7": ["v7", "Lead V7"],
    "V9": ["V9"],
    "V3R": ["V3r", "MDC_ECG_LEAD_V3R", "Lead V3R"],
    "V6R": ["V6R"],
    "X": ["x", "Vx", "VX", "Frank X", "Lead X", "X (Frank)", "MDC_ECG_LEAD_X"],
    "Z": ["Vz", "Frank Z"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "spellings"), SPELLINGS.items())
def test_every_vendors_spelling_is_the_same_lead(name, spellings):
    assert {spelling: canonical(spelling) for spelling in spellings} == dict.fromkeys(spellings, name)


@pytest.mark.parametrize(
    "other",
    ["-aVR", "aVR-", "Lead -aVR", "- aVR", "V1-V2", "I-II", "V1 (uV)", "V1 [mV]", "MLII", "MLI", "CM5", "ECG", "ECG 1", "ECG1", "1", "3", "lead 1", "Lead 2", "lead3", "Lead 4",
     "C3", "EEG C3", "V10", "V0", "aVX", "IV", "IIII", "Resp", "D", "D4", "", "XYZ", "PLETH", "MDC_ECG_LEAD_MLII", "MDC_ECG_LEAD_-aVR"],
)  # fmt: skip
def test_what_is_another_lead_or_no_lead_keeps_its_name(other):
    assert canonical(other) == other.strip()
    assert canonical(other) not in TWELVE


def test_canonical_names_are_their_own():
    assert tuple(map(canonical, TWELVE)) == TWELVE


def test_a_known_name_costs_less_than_a_microsecond():
    canonical("MDC_ECG_LEAD_AVR")
    assert min(timeit.repeat(lambda: canonical("MDC_ECG_LEAD_AVR"), number=1000, repeat=5)) < 1e-3
