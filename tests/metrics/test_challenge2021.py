"""The challenge score against its definition written as loops, and the shipped matrix against the published block structure."""

import numpy as np
import pytest

from einthoven.errors import EinthovenError
from einthoven.metrics.challenge2021 import challenge_score, read_rewards
from einthoven.metrics.evaluation import evaluate

ABBREVIATIONS = (
    "AF AFL BBB Brady CLBBB CRBBB IAVB IRBBB LAD LAnFB LPR LQRSV LQT NSIVCB NSR PAC PR PRWP PVC QAb RAD SA SB STach TAb TInv".split()
)
GROUPS = [
    "AF AFL TAb TInv",
    "BBB CLBBB",
    "Brady IAVB IRBBB LPR SA SB",
    "CRBBB",
    "LAD LAnFB NSIVCB RAD",
    "LQRSV PRWP",
    "LQT",
    "NSR",
    "PAC",
    "PR PVC STach",
    "QAb",
]
BLOCKS = [
    [0.5, 0.475, 0.3, 0.4, 0.35, 0.425, 0.45, 0.25, 0.3375, 0.375, 0.4],
    [0.475, 0.475, 0.325, 0.425, 0.375, 0.45, 0.475, 0.275, 0.3625, 0.4, 0.375],
    [0.3, 0.325, 0.5, 0.4, 0.45, 0.375, 0.35, 0.45, 0.4625, 0.425, 0.2],
    [0.4, 0.425, 0.4, 1, 0.45, 0.475, 0.45, 0.35, 0.4375, 0.475, 0.3],
    [0.35, 0.375, 0.45, 0.45, 0.5, 0.425, 0.4, 0.4, 0.4875, 0.475, 0.25],
    [0.425, 0.45, 0.375, 0.475, 0.425, 0.475, 0.475, 0.325, 0.4125, 0.45, 0.325],
    [0.45, 0.475, 0.35, 0.45, 0.4, 0.475, 1, 0.3, 0.3875, 0.425, 0.35],
    [0.25, 0.275, 0.45, 0.35, 0.4, 0.325, 0.3, 1, 0.4125, 0.375, 0.15],
    [0.3375, 0.3625, 0.4625, 0.4375, 0.4875, 0.4125, 0.3875, 0.4125, 1, 0.4625, 0.2375],
    [0.375, 0.4, 0.425, 0.475, 0.475, 0.45, 0.425, 0.375, 0.4625, 0.5, 0.275],
    [0.4, 0.375, 0.2, 0.3, 0.25, 0.325, 0.35, 0.15, 0.2375, 0.275, 1],
]


def test_the_shipped_matrix_has_the_published_block_structure():
    rewards = read_rewards()
    group = [next(g for g, names in enumerate(GROUPS) if name in names.split()) for name in ABBREVIATIONS]
    expected = np.array([[1.0 if k == m else BLOCKS[group[k]][group[m]] for m in range(26)] for k in range(26)])
    np.testing.assert_array_equal(rewards.matrix, expected)
    assert rewards.sinus_rhythm == ABBREVIATIONS.index("NSR") == 14
    assert {len(codes) for codes in rewards.classes} == {1, 2} and sum(len(codes) for codes in rewards.classes) == 30


@pytest.mark.data
def test_the_shipped_matrix_is_the_challenges_own_file(data_root):
    theirs, ours = read_rewards(data_root / "cinc2021" / "weights.csv"), read_rewards()
    assert theirs.classes == ours.classes
    np.testing.assert_array_equal(theirs.matrix, ours.matrix)


def by_loops(says, truth, reward, sinus):
    """The score as the challenge defines it, pair by pair."""

    def total(answer):
        out = 0.0
        for o, y in zip(answer, truth):
            either = max(1, sum(bool(a) or bool(b) for a, b in zip(o, y)))
            out += sum(reward[k, m] / either for k in range(len(y)) for m in range(len(y)) if y[k] and o[m])
        return out

    inactive = np.zeros_like(truth)
    inactive[:, sinus] = 1
    return (total(says) - total(inactive)) / (total(truth) - total(inactive))


def test_the_score_is_the_double_loop_of_its_definition():
    generator, rewards = np.random.default_rng(0), read_rewards()
    truth, says = generator.random((40, 26)) < 0.1, generator.random((40, 26)) < 0.15
    expected = by_loops(says, truth, rewards.matrix, rewards.sinus_rhythm)
    np.testing.assert_allclose(challenge_score(says, truth.astype(float)), expected, rtol=1e-12)


def test_the_right_answer_scores_one_and_always_sinus_rhythm_zero():
    truth = np.random.default_rng(1).random((30, 26)) < 0.2
    sinus = np.zeros_like(truth)
    sinus[:, 14] = True
    assert challenge_score(truth, truth.astype(float)) == pytest.approx(1.0)
    assert challenge_score(sinus, truth.astype(float)) == 0.0
    assert challenge_score(sinus, sinus.astype(float)) == 0.0


def test_an_unknown_label_takes_no_part():
    generator = np.random.default_rng(2)
    truth, says = (generator.random((30, 26)) < 0.2).astype(float), generator.random((30, 26)) < 0.2
    truth[:, 3] = np.nan
    changed = says.copy()
    changed[:, 3] = ~changed[:, 3]
    assert challenge_score(says, truth) == challenge_score(changed, truth)


def test_classes_are_found_by_any_of_their_codes_in_any_order():
    rewards = read_rewards()
    codes = ["|".join(reversed(one)) for one in rewards.classes]
    order = np.random.default_rng(3).permutation(26)
    shuffled = ["no such code", *(codes[row] for row in order)]
    assert [shuffled[position] for position in rewards.places(shuffled)] == codes
    assert rewards.places([one[-1] for one in rewards.classes]) == list(range(26))
    assert rewards.places(codes[:-1]) == [*range(25), None]


def test_a_table_of_another_form_is_refused(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text(",1,2\n1,0.5,x\n2,0.5,1\n")
    with pytest.raises(EinthovenError, match=r"weights\.csv"):
        read_rewards(path)
    path.write_text(",1,2\n1,0.5,1\n")
    with pytest.raises(EinthovenError, match="as rows and as columns"):
        read_rewards(path)


def test_classes_that_a_model_does_not_know_count_as_never_answered():
    rng = np.random.default_rng(5)
    rewards = read_rewards()
    codes = ["|".join(one) for one in rewards.classes]
    label, probability = (rng.random((60, 26)) < 0.2).astype(float), rng.random((60, 26))
    known = [column for column in range(26) if column not in (3, 20)]
    silent = probability > 0.5
    silent[:, [3, 20]] = False
    found = evaluate(
        probability[:, known], label[:, known], [codes[k] for k in known], codes=[codes[k] for k in known], bootstrap=0, challenge=label
    )
    assert found.value("cinc2021") == pytest.approx(challenge_score(silent, label))
    without = evaluate(probability[:, known], label[:, known], [codes[k] for k in known], codes=[codes[k] for k in known], bootstrap=0)
    assert "cinc2021" not in without.summary
