"""The bootstrap against drawing copies of records and scoring them with scikit-learn, and against known theory."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from einthoven.metrics.bootstrap import bootstrap, draw_weights, interval, paired_difference
from einthoven.metrics.challenge2021 import challenge_score, read_rewards
from einthoven.metrics.evaluation import evaluate
from einthoven.metrics.multilabel import Multilabel


def predictions(seed=0, n=200, classes=3, strength=1.2):
    generator = np.random.default_rng(seed)
    label = (generator.random((n, classes)) < 0.3).astype(float)
    return 1 / (1 + np.exp(-(generator.normal(size=(n, classes)) + strength * label))), label


def test_a_draw_is_scikit_learns_score_of_the_records_drawn():
    probability, label = predictions()
    ours = bootstrap(Multilabel(probability, label), 200, draws=20, seed=4)["macro_auroc"]
    weights = np.concatenate(list(draw_weights(200, draws=20, seed=4)))
    for draw in range(20):
        rows = np.repeat(np.arange(200), weights[draw])
        np.testing.assert_allclose(ours[draw], roc_auc_score(label[rows], probability[rows]), rtol=1e-12)


def test_draws_depend_on_the_seed_and_not_on_the_chunks():
    one = np.concatenate(list(draw_weights(50, draws=30, seed=1, chunk=7)))
    two = np.concatenate(list(draw_weights(50, draws=30, seed=1, chunk=30)))
    np.testing.assert_array_equal(one, two)
    assert (one.sum(axis=1) == 50).all()
    assert not np.array_equal(one, np.concatenate(list(draw_weights(50, draws=30, seed=2))))


def test_a_patient_is_drawn_with_all_records_and_widens_the_interval():
    probability, label = predictions(n=60)
    copies, patient = np.repeat(np.arange(60), 5), np.repeat(np.arange(60), 5)
    weight = np.concatenate(list(draw_weights(300, patient=patient, draws=10)))
    assert (weight.reshape(10, 60, 5) == weight.reshape(10, 60, 5)[:, :, :1]).all()
    by_record = evaluate(probability[copies], label[copies], "abc", bootstrap=300).summary["macro_auroc"]
    by_patient = evaluate(probability[copies], label[copies], "abc", bootstrap=300, patient=patient).summary["macro_auroc"]
    assert by_patient["value"] == by_record["value"]
    # Five copies of a record say nothing new, so the honest interval is about sqrt(5) times as wide.
    assert 1.7 < (by_patient["high"] - by_patient["low"]) / (by_record["high"] - by_record["low"]) < 2.9


def test_records_without_a_patient_are_drawn_one_by_one():
    weight = np.concatenate(list(draw_weights(6, patient=["a", "a", None, None, float("nan"), ""], draws=200, seed=0)))
    assert (weight[:, 0] == weight[:, 1]).all()
    assert all((weight[:, i] != weight[:, j]).any() for i in range(1, 6) for j in range(i + 1, 6))


def test_the_interval_of_a_mean_is_that_of_the_central_limit_theorem():
    values = np.random.default_rng(0).normal(3, 2, size=500)
    drawn = bootstrap(lambda weight: {"mean": weight @ values / weight.sum(axis=1)}, 500, draws=4000)["mean"]
    low, high = interval(drawn)
    half = 1.96 * values.std() / math.sqrt(500)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.15 * half)


def test_draws_in_which_a_score_is_not_defined_are_left_out():
    low, high = interval(np.array([[np.nan, np.nan], [0.2, np.nan], [0.4, np.nan]]), 0.5)
    np.testing.assert_allclose([low[0], high[0]], [0.25, 0.35])
    assert np.isnan([low[1], high[1]]).all()


def test_two_models_are_compared_on_the_same_draws():
    probability, label = predictions(n=300)
    worse = np.clip(probability + np.random.default_rng(1).normal(0, 0.25, probability.shape), 0, 1)
    same = paired_difference(Multilabel(probability, label), Multilabel(probability, label), 300, draws=200)["macro_auroc"]
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    less = paired_difference(Multilabel(probability, label), Multilabel(worse, label), 300, draws=400)["macro_auroc"]
    assert less["low"] > 0 and less["p"] < 0.05
    alone = [evaluate(one, label, "abc", bootstrap=400).summary["macro_auroc"] for one in (probability, worse)]
    assert less["high"] - less["low"] < sum(one["high"] - one["low"] for one in alone)


def test_an_evaluation_holds_its_values_inside_their_intervals_and_writes_strict_json():
    probability, label = predictions()
    label[:, 2] = 0
    found = evaluate(probability, label, ["a", "b", "c"], patient=np.arange(200) // 2, bootstrap=200, thresholds=[0.4, 0.5, 0.6])
    for name, entry in found.summary.items():
        assert entry["low"] <= entry["value"] <= entry["high"] or name.endswith(("ece", "f_max")), name
    assert found.summary["macro_auroc"]["n_classes"] == 2 and "n_classes" not in found.summary["micro_auroc"]
    assert found.settings["n_patients"] == 100 and found.settings["thresholds"] == "given"
    assert [row["threshold"] for row in found.per_class] == [0.4, 0.5, 0.6]
    back = json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert back["per_class"][2]["auroc"] is None and back["per_class"][0]["auroc"] == found.per_class[0]["auroc"]
    header, *lines = found.to_csv().splitlines()
    assert header.startswith("name,code,n_known") and len(lines) == 3 and lines[2].startswith("c,,200,0,0.0,0.6,,,")
    assert (
        found.to_json()
        == evaluate(probability, label, ["a", "b", "c"], patient=np.arange(200) // 2, bootstrap=200, thresholds=[0.4, 0.5, 0.6]).to_json()
    )


def test_the_challenge_score_is_given_when_its_classes_are_there():
    generator, rewards = np.random.default_rng(0), read_rewards()
    codes = ["|".join(one) for one in rewards.classes]
    label = (generator.random((60, 26)) < 0.15).astype(float)
    probability = np.clip(0.4 * label + 0.55 * generator.random((60, 26)), 0, 1)
    order = generator.permutation(26)
    found = evaluate(probability[:, order], label[:, order], codes, codes=[codes[row] for row in order], bootstrap=50)
    np.testing.assert_allclose(found.value("cinc2021"), challenge_score(probability > 0.5, label), rtol=1e-12)
    assert found.summary["cinc2021"]["low"] < found.value("cinc2021") < found.summary["cinc2021"]["high"]
    assert "cinc2021" not in evaluate(probability[:, :25], label[:, :25], codes[:25], codes=codes[:25], bootstrap=0).summary
    with pytest.raises(KeyError, match="macro_auroc"):
        found.value("auroc_macro")


@pytest.mark.parity
def test_published_ptb_xl_predictions_have_their_published_auroc_and_interval(parity_root):
    """The benchmark's own resamples, as weights, give the interval that Strodthoff et al. (2020) published."""
    folder = parity_root / "ecg_selfsupervised" / "ptbxl_published_predictions"
    if not folder.is_dir():
        pytest.skip("the published predictions are not among the golden values")
    published = json.loads((folder / "config.json").read_text())["published"]["macro_auc"]
    with np.load(folder / "io.npz") as arrays:
        probability, ids = arrays["p"].astype(np.float64), arrays["bootstrap_ids"]
        label = np.unpackbits(arrays["y_packed"], axis=1)[:, : probability.shape[1]].astype(np.float64)
    statistic = Multilabel(probability, label)
    ones = np.ones((1, len(label)), dtype=np.int64)
    assert statistic(ones)["macro_auroc"][0] == pytest.approx(published["point"], rel=1e-9)
    weight = np.stack([np.bincount(draw, minlength=len(label)) for draw in ids])
    drawn = statistic(weight)["macro_auroc"]
    assert drawn.mean() == pytest.approx(published["mean"], rel=1e-7)
    low, high = interval(drawn, 0.9)
    np.testing.assert_allclose([low, high], [published["lower"], published["upper"]], rtol=1e-6)
