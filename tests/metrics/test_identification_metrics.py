"""Scores of identification against scikit-learn, plain loops, and what they must be by their meaning."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from einthoven.metrics.bootstrap import bootstrap, interval
from einthoven.metrics.identification import FALSE_ACCEPTS, RANKS, Matching, cosine_similarity, match, person_similarity


def vectors(n_persons=30, seed=0, noise=1.0, decimals=None):
    """Gallery with one to three records a person, two strangers' probes among those of everybody; and whose all are."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n_persons + 2, 8))
    gallery_person = np.repeat(np.arange(n_persons), rng.integers(1, 4, n_persons))
    probe_person = rng.permutation(np.repeat(np.arange(n_persons + 2), rng.integers(1, 3, n_persons + 2)))
    gallery = centre[gallery_person] + noise * rng.normal(size=(len(gallery_person), 8))
    probe = centre[probe_person] + noise * rng.normal(size=(len(probe_person), 8))
    similarity = cosine_similarity(gallery, probe)
    return (similarity if decimals is None else similarity.round(decimals)), gallery_person, probe_person


def comparisons(similarity, gallery_person, probe_person):
    """Score, genuine or not, and probe of every comparison of a probe with a person, by plain loops."""
    score, genuine, row = [], [], []
    for i, person in enumerate(probe_person):
        for other in sorted(set(gallery_person.tolist())):
            score.append(max(similarity[i, j] for j in range(len(gallery_person)) if gallery_person[j] == other))
            genuine.append(other == person)
            row.append(i)
    return np.array(score), np.array(genuine), np.array(row)


def ones(matching):
    return {name: value[0] for name, value in matching(np.ones((1, len(matching)))).items()}


def test_the_cosine_is_that_of_two_vectors():
    rng = np.random.default_rng(0)
    gallery, probe = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
    expected = [[p @ g / np.sqrt(p @ p) / np.sqrt(g @ g) for g in gallery] for p in probe]
    np.testing.assert_allclose(cosine_similarity(7 * gallery, probe), expected, rtol=1e-12)


def test_a_persons_similarity_is_that_of_the_nearest_record():
    similarity = np.array([[0.1, 0.9, 0.3, -0.2], [0.5, 0.4, 0.6, 0.7]])
    best, persons = person_similarity(similarity, ["b", "a", "b", "c"])
    assert persons.tolist() == ["a", "b", "c"] and best.tolist() == [[0.9, 0.3, -0.2], [0.4, 0.6, 0.7]]


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_verification_agrees_with_scikit_learn(decimals, weighted):
    given = vectors(decimals=decimals)
    matching = Matching(*given)
    score, genuine, row = comparisons(*given)
    weight = np.random.default_rng(1).integers(0, 4, len(matching)) if weighted else np.ones(len(matching), dtype=int)
    ours = {name: value[0] for name, value in matching(weight[None]).items()}
    score, genuine = np.repeat(score, weight[row]), np.repeat(genuine, weight[row])
    np.testing.assert_allclose(ours["auroc"], roc_auc_score(genuine, score), rtol=1e-10)
    false, true, _ = roc_curve(genuine, score, drop_intermediate=False)
    np.testing.assert_allclose(ours["eer"], brentq(lambda x: 1 - x - interp1d(false, true)(x), 0, 1), atol=1e-8)
    for share in FALSE_ACCEPTS:
        np.testing.assert_allclose(ours[f"tar_at_far_{share:g}"], true[false <= share].max(), rtol=1e-12)


@pytest.mark.parametrize("decimals", [None, 1])
def test_ranks_agree_with_a_plain_loop(decimals):
    similarity, gallery_person, probe_person = vectors(decimals=decimals, noise=1.5)
    matching = Matching(similarity, gallery_person, probe_person)
    ranks = []
    for i, person in enumerate(probe_person):
        if person in gallery_person:
            own = max(similarity[i, gallery_person == person])
            ranks.append(1 + sum(max(similarity[i, gallery_person == other]) >= own for other in set(gallery_person) - {person}))
    ours = ones(matching)
    for k in RANKS:
        np.testing.assert_allclose(ours[f"rank_{k}"], np.mean([rank <= k for rank in ranks]))
    np.testing.assert_allclose(ours["mean_reciprocal_rank"], np.mean([1 / rank for rank in ranks]))
    curve = matching.cmc(np.ones((1, len(matching))), 30)[0]
    np.testing.assert_allclose(curve, [np.mean([rank <= k for rank in ranks]) for k in range(1, 31)])
    assert curve[-1] == 1 and 0 < ours["rank_1"] < 1


def test_equal_vectors_for_everybody_earn_nothing():
    ours = ones(Matching(np.ones((6, 4)), np.arange(4), np.array([0, 1, 2, 3, 0, 1])))
    assert ours["rank_1"] == 0 and ours["auroc"] == 0.5 and ours["eer"] == 0.5 and ours["tar_at_far_0.01"] == 0


def test_a_share_of_false_accepts_may_be_reached_but_not_passed():
    """101 persons are enrolled, one probe is asked: each impostor above its own person is a share of 0.01."""
    similarity = np.linspace(0, 1, 101)[None]
    once, twice = (ones(Matching(similarity, np.arange(101), [person]))["tar_at_far_0.01"] for person in (99, 98))
    assert once == 1 and twice == 0


def test_perfect_vectors_make_no_error():
    vector = np.eye(5)
    ours = match(vector, np.arange(5), vector[[4, 1, 1]], np.array([4, 1, 1]))
    assert ours["rank_1"] == ours["auroc"] == ours["tar_at_far_0.001"] == ours["mean_reciprocal_rank"] == 1 and ours["eer"] == 0


def test_neither_order_nor_length_of_vectors_matters():
    rng = np.random.default_rng(2)
    gallery, probe, person = rng.normal(size=(9, 4)), rng.normal(size=(9, 4)), np.arange(9)
    first, order = match(gallery, person, probe, person), rng.permutation(9)
    second = match(3 * gallery[order], person[order], probe, person)
    assert first == pytest.approx(second)


def test_a_draw_is_the_score_of_the_records_drawn():
    similarity, gallery_person, probe_person = vectors()
    matching = Matching(similarity, gallery_person, probe_person)
    weight = np.random.default_rng(3).integers(0, 3, (4, len(matching)))
    drawn = matching(weight)
    for number, one in enumerate(weight):
        rows = np.repeat(np.arange(len(matching)), one)
        again = ones(Matching(similarity[rows], gallery_person, probe_person[rows]))
        assert again == pytest.approx({name: value[number] for name, value in drawn.items()})


def test_the_bootstrap_over_persons_surrounds_the_score():
    matching = Matching(*vectors(60, noise=1.3))
    drawn = bootstrap(matching, len(matching), patient=vectors(60, noise=1.3)[2], draws=200)
    point = ones(matching)
    for name, values in drawn.items():
        low, high = interval(values)
        assert values.shape == (200,) and low <= point[name] <= high and (low < high)


def test_a_draw_without_enrolled_probes_is_not_defined():
    drawn = Matching(np.random.default_rng(0).normal(size=(2, 3)), np.arange(3), np.array([1, 9]))(np.array([[0, 2], [2, 0]]))
    for name, values in drawn.items():
        assert np.isnan(values[0]) and np.isfinite(values[1]), name


@pytest.mark.parametrize(
    ("similarity", "gallery", "probe", "message"),
    [
        (np.ones((2, 3)), [1, 2], [1, 2], "shape"),
        (np.full((2, 2), np.nan), [1, 2], [1, 2], "finite"),
        (np.ones((2, 2)), [1, 2], [3, 4], "none of them"),
        (np.ones((2, 2)), [1, 1], [1, 2], "two persons"),
    ],
)
def test_what_cannot_be_scored_is_refused(similarity, gallery, probe, message):
    with pytest.raises(ValueError, match=message):
        Matching(similarity, gallery, probe)
    with pytest.raises(ValueError, match="finite and not 0"):
        cosine_similarity(np.zeros((2, 3)), np.ones((2, 3)))
