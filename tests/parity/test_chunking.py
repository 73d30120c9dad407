"""The pieces that ecg-selfsupervised cut recordings into."""

from __future__ import annotations

import pytest
from parity_cases import ssl_cases

from einthoven.signal.crops import chunks


@pytest.mark.parametrize("case", ssl_cases("chunking"))
def test_pieces_begin_and_end_as_there(case):
    for one in case.config["cases"]:
        options = {"stride": one["stride"], "shortest": one["min_chunk_length"], "start": one.get("start_idx", 0)}
        found = [
            (row, int(start), int(end))
            for row, n_samples in enumerate(one["lengths"])
            for start, end in chunks(n_samples, one["chunk_length"], repeat=one.get("copies", 0) + 1, **options)
        ]
        result = one["result"]
        assert found == list(zip(result["df_idx"], result["start"], result["end"]))
