"""The transformations of ecg-selfsupervised, with the numbers that they drew; where ours differ on purpose, the old slip is made here, in plain sight."""

import math

import numpy as np
import pytest
import torch
from parity_cases import ssl_cases

from einthoven.augment.baseline_shift import shifted
from einthoven.augment.baseline_wander import comb
from einthoven.augment.channel_resize import resized
from einthoven.augment.cosines import cosines
from einthoven.augment.down_sample import interpolated
from einthoven.augment.dynamic_time_warp import squeezed
from einthoven.augment.gaussian_blur import blurred, kernel
from einthoven.augment.random_resized_crop import stretched
from einthoven.augment.sources import add_course, add_noise, mixing
from einthoven.augment.time_out import silenced
from einthoven.augment.time_warp import paced
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.signal.contract import SignalContract

ORDER = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")
PTBXL_MEAN = """-0.00184586 -0.00130277 0.00017031 -0.00091313 -0.00148835 -0.00174687
    -0.00077071 -0.00207407 0.00054329 0.00155546 -0.00114379 -0.00035649"""
PTBXL_SD = """0.16401004 0.1647168 0.23374124 0.33767231 0.33362807 0.30583013
    0.2731171 0.27554379 0.17128962 0.14030828 0.14606956 0.14656108"""


class Drawn:
    """The numbers of one repetition, handed out in the order in which they were drawn."""

    def __init__(self, case, repetition):
        self.numbers = [case.arrays[draw["array"]] if "array" in draw else draw["value"] for draw in case.config["draws"][repetition]]
        self.case = case

    def take(self):
        return self.numbers.pop(0)

    def pairs(self, n):
        """n times (a, b)."""
        return np.array([(self.take(), self.take()) for _ in range(n)]).T.reshape(2, n)


def option(case, name):
    return case.config["kwargs"].get(name, case.config["get_params"].get(name))


def tensor(values):
    return torch.as_tensor(np.asarray(values, dtype=np.float64))[None]


def add(x, course, gain):
    return add_course({"ecg": x}, course, tensor(gain), TWELVE[: x.shape[1]], limb_laws=False)


def gaussian_noise(x, drawn):
    noise = torch.from_numpy(drawn.take().reshape(x.shape[2], x.shape[1])).T[None]
    scale = option(drawn.case, "scale") if drawn.case.config["tensor_input"] else 1.0  # NumPy's was drawn with its scale
    return add_noise({"ecg": x}, noise, torch.full((1, 1), scale, dtype=x.dtype), torch.eye(x.shape[1], dtype=x.dtype))


def em_noise(x, drawn):
    drawn.take()  # the amplitude, with which the noise was drawn
    noise = torch.from_numpy(drawn.take())
    noise = noise.T if drawn.case.config["tensor_input"] else noise.reshape(x.shape[1], x.shape[2])  # lead by lead
    noise = noise[None]
    return add_noise({"ecg": x}, noise, torch.ones(1, 1, dtype=x.dtype), mixing(TWELVE[: x.shape[1]], False, x))


def channel_resize(x, drawn):
    return resized(x, torch.from_numpy(drawn.take())[None])


def negation(x, drawn):
    return -x


def gaussian_blur(x, drawn):
    return blurred(x, kernel(0.01 * 100.0))


def crop(x, ratio, start):
    length = int(ratio * x.shape[2])
    assert 0 <= start <= x.shape[2] - length
    return torch.tensor([start]), length


def time_out(x, drawn):
    start, length = crop(x, drawn.take(), drawn.take())
    return silenced(x, start, torch.tensor([length]))


def random_resized_crop(x, drawn):
    start, length = crop(x, drawn.take(), drawn.take())
    order = torch.from_numpy(np.asarray(drawn.take()))
    # The tensor version ignored output_size.
    n_out = x.shape[2] if drawn.case.config["tensor_input"] else option(drawn.case, "output_size")
    if n_out < length:
        return x[:, :, start + order.sort().values]
    kept = torch.zeros(1, n_out, dtype=torch.bool)
    kept[0, [0, -1]] = True
    kept[0, order[: length - 2] + 1 if drawn.case.config["tensor_input"] else order] = True  # NumPy's choices are places already
    return stretched(x, start, kept)


def down_sample(x, drawn):
    lost = torch.from_numpy(drawn.take())  # NumPy's choices are places already, and half of all whatever the ratio
    if drawn.case.config["tensor_input"]:
        lost = lost[: int(1 - option(drawn.case, "downsample_ratio") * x.shape[2])] + 1  # a negative number: all but the last ones
    kept = torch.ones(1, x.shape[2], dtype=torch.bool)
    kept[0, lost] = False
    return interpolated(x, kept)


def dynamic_time_warp(x, drawn):
    centres = [drawn.take() for _ in range(option(drawn.case, "warps"))]
    return squeezed(x, torch.tensor([centres]), option(drawn.case, "radius"), option(drawn.case, "step"))


def time_warp(x, drawn):
    return paced(x, torch.from_numpy(drawn.take())[None], torch.tensor([x.shape[2]]), option(drawn.case, "epsilon"))


def signed_gains(drawn, n):
    """(2 b - 1) z: a random sign times a number around 1."""
    b, z = drawn.pairs(n)
    return (2 * b - 1) * z


def baseline_wander(x, drawn):
    amplitude, spacing = drawn.take(), option(drawn.case, "fdelta")
    n_cosines = int(option(drawn.case, "fc") / spacing + 0.5)
    if drawn.case.config["tensor_input"]:
        # From 0 Hz on; ours begins at 0.01 Hz, as a constant is no wander.
        phase, share = drawn.take(), drawn.take()
        hz, gain = spacing * np.arange(n_cosines), np.ones(x.shape[1])
        np.testing.assert_allclose(hz[1:], comb(spacing, option(drawn.case, "fc")))
    else:
        assert not option(drawn.case, "independent_channels")
        phase, share = drawn.pairs(n_cosines)
        hz, gain, amplitude = spacing * np.arange(1, n_cosines + 1), signed_gains(drawn, x.shape[1]), 0.05  # its draw was not used
    course = cosines(amplitude * tensor(share), torch.as_tensor(hz), tensor(phase), x.shape[2], option(drawn.case, "fs"))
    return add(x, course, gain)


def powerline_noise(x, drawn):
    amplitude, phase, n_cosines = drawn.take(), drawn.take(), option(drawn.case, "K")
    share = np.array([drawn.take() for _ in range(n_cosines)])
    hz = 50.0 * torch.arange(1, n_cosines + 1)
    # The amplitude went in twice. Harmonics above fs / 2, which ours leaves out, are there.
    course = cosines(amplitude**2 * tensor(share), hz, tensor([phase] * n_cosines), x.shape[2], option(drawn.case, "fs"))
    return add(x, course, drawn.take())


def baseline_shift(x, drawn):
    n, fs = x.shape[2], option(drawn.case, "fs")
    amplitude, shifts = drawn.take(), []
    for _ in range(drawn.take()):
        middle, seconds, level = drawn.take(), drawn.take(), drawn.take()
        shifts.append((max(0, int(middle - 0.5 * fs * seconds)), min(n - 1, int(middle + 0.5 * fs * seconds)) + 1, level))
    if drawn.case.config["tensor_input"]:
        b, z = drawn.take(), drawn.take()
        gain = 2 * b - z  # for (2 b - 1) z
    else:
        gain = signed_gains(drawn, x.shape[1])
    start, end, level = np.array(shifts).reshape(-1, 3).T
    course = shifted(tensor(start), tensor(end), tensor(level), n)
    return add(x, amplitude * course, gain)


def normalize(x, drawn):
    mean, sd = (tuple(map(float, text.split())) for text in (PTBXL_MEAN, PTBXL_SD))
    contract = SignalContract(fs=100.0, leads=ORDER, scaling="corpus", mean=mean, std=sd, seconds=2.5)
    return torch.from_numpy(contract.apply(Record(x[0].numpy().astype(np.float32), 100.0, ORDER, "x")).signal)[None]


TRANSFORMS = {
    "GaussianNoise": gaussian_noise,
    "GaussianBlur1d": gaussian_blur,
    "RandomResizedCrop": random_resized_crop,
    "TimeOut": time_out,
    "ChannelResize": channel_resize,
    "DynamicTimeWarp": dynamic_time_warp,
    "TimeWarp": time_warp,
    "DownSample": down_sample,
    "Negation": negation,
    "BaselineWander": baseline_wander,
    "PowerlineNoise": powerline_noise,
    "EMNoise": em_noise,
    "BaselineShift": baseline_shift,
    "Normalize": normalize,
}


@pytest.mark.parametrize("case", ssl_cases("transform"))
def test_the_signal_is_that_of_the_old_transformation(case):
    config, name = case.config, case.config["transform"]
    transform = TRANSFORMS[name if name in TRANSFORMS else name.removeprefix("T")]
    for repetition in range(len(config["draws"])):
        x = torch.from_numpy(case.arrays["x"][repetition]).T[None].contiguous()
        before, drawn = x.clone(), Drawn(case, repetition)
        y = transform(x, drawn)
        assert not drawn.numbers, "numbers that were drawn and not used"
        expected = case.arrays[f"y{repetition}"]
        np.testing.assert_allclose(y[0].T.numpy(), expected, rtol=config["rtol"], atol=config["atol"])
        assert torch.equal(x, before)
        assert math.isfinite(y.sum())
