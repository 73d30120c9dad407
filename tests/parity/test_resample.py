"""Resampling of ecg-selfsupervised: its image-like resize and its plain spline, in its order of leads."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.signal.resample import resample


@pytest.mark.parametrize("case", ssl_cases("resample"))
def test_leads_are_resized_as_there(case):
    close = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    for number, one in enumerate(case.config["cases"]):
        x, n_channels = case.arrays[f"x{number}"], one["channels"]
        for method, key in (("image", "y"), ("spline", "y_zoom")):
            ours = resample(x.T, one["fs"], one["target_fs"], method).T
            assert ours.dtype == np.float32
            if one["use_channel_map"]:
                places = [case.config["channel_map"][name.lower()] for name in one["sig_names"]]
                arranged = np.zeros((len(ours), n_channels), dtype=np.float32)
                for place, column in zip(places, ours.T):
                    if place < n_channels:
                        arranged[:, place] = column
            else:
                arranged = ours[:, :n_channels]
            golden = case.arrays[f"{key}{number}"]
            assert list(arranged.shape) == one["out_shape"] == list(golden.shape)
            np.testing.assert_allclose(arranged, golden, **close, err_msg=f"{method}, {one['fs']} Hz")
