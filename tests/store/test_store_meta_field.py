from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.store import meta_field as module
from einthoven.store.meta_field import meta_field


def column_of(metas, n_chunks=1):
    texts = [None if meta is None else json.dumps(meta, sort_keys=True, ensure_ascii=False) for meta in metas]
    at = np.linspace(0, len(texts), n_chunks + 1).astype(int)
    return pa.chunked_array([pa.array(texts[a:b], pa.string()) for a, b in pairwise(at)], pa.string())


def fields(column, name):
    codes, values = meta_field(column, name)
    return [values[code] for code in codes.tolist()]


def test_fields_of_meta_are_those_that_json_has_whatever_stands_in_their_text():
    """The search in bytes that reads most rows must not be led astray by quotes, braces and keys within texts, nor by keys within keys."""
    metas = [
        {"dataset": "a"}, {"dataset": 'x", "dataset": "b"'}, {"report": '"dataset": "c"', "dataset": "d"}, {"inner": {"dataset": "e"}},
        {"dataset": {"a": 1}}, {"dataset": ["x", "y"]}, {"dataset": 3}, {"dataset": 2.5}, {"dataset": True}, {"dataset": None}, {"other": "dataset"},
        {"dataset2": "f"}, {"dataset": "{g}"}, {"dataset": "back\\slash"}, {"dataset": "ü\n"}, {}, None, {'x "dataset': "h"}, {"dataset": ""},
        {"dataset": "long " * 500}, {"dataset": "as long as a window"[:14]}, {"a": {"b": 1}, "dataset": "i"}, {"dataset": "j", "x": {"dataset": "k"}},
    ]  # fmt: skip
    for n_chunks in (1, 3, 7):
        assert fields(column_of(metas, n_chunks), "dataset") == [(meta or {}).get("dataset") for meta in metas]
    codes, values = meta_field(column_of(metas), "absent")
    assert not codes.any() and values == [None]
    assert len(meta_field(column_of([]), "dataset")[0]) == 0


SIGNS = st.text(st.sampled_from('ab"\\,: {}[]ü\n'), max_size=40)
NAMES = st.sampled_from(["a", "ab", "b", 'a"b', '"a', "a: ", "ü"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | SIGNS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.dictionaries(NAMES, VALUES, max_size=4), max_size=12), st.sampled_from(["a", "ab", 'a"b', "ü"]))
def test_of_any_json_a_field_is_what_json_says(metas, name):
    column = column_of(metas, 2)
    expected = [json.loads(text or "{}").get(name) for text in column.to_pylist()]
    assert list(map(repr, fields(column, name))) == list(map(repr, expected))


def test_flat_texts_are_not_read_one_by_one_as_json(monkeypatch):
    """What makes a condition over millions of rows a matter of a second: JSON reads different values, not rows."""
    metas = [{"device": f"d{row % 7}", "report": f"number {row}", "rate": row % 90} for row in range(40_000)]
    n_signs = []
    loads = json.loads
    monkeypatch.setattr(module.json, "loads", lambda text: n_signs.append(len(text)) or loads(text))
    for name in ("device", "rate"):
        assert fields(column_of(metas), name) == [meta[name] for meta in metas]
    assert sum(n_signs) < 1000
    assert fields(column_of(metas), "report") == [meta["report"] for meta in metas]
    assert len(n_signs) < 20


def test_a_text_that_is_no_json_is_an_error():
    for text in ('{"a": tru}', '{"a": [1}', '{"a": ', '{"b": {"a": 1'):
        with pytest.raises(ValueError):
            meta_field(pa.chunked_array([[text]]), "a")
