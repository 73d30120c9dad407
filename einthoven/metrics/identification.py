"""How well persons are found again by their vectors: identification (who is it?) and verification (is it this person?).

The gallery holds the vectors of enrolled persons, probes are the vectors that are asked about. A probe and a person are as similar as the
largest cosine between the probe and that person's gallery vectors. Identification ranks the persons of the gallery for each probe
whose person is enrolled. Verification compares every probe with every enrolled person: its own (genuine) or another (impostor).

A score is answered for weighted probes, because a bootstrap draw is nothing but whole-number weights (``metrics.bootstrap``): draw
persons, with all their probes, by ``bootstrap(matching, len(matching), patient=probe_person)``. The gallery stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from einthoven.metrics.multilabel import ratio

RANKS = (1, 5, 10)
FALSE_ACCEPTS = (0.01, 0.001)


def cosine_similarity(gallery: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """(gallery, dim), (probe, dim) -> (probe, gallery) in [-1, 1]. Raises ValueError for vectors that are not finite or have no direction."""
    unit = []
    for name, vectors in (("gallery", gallery), ("probe", probe)):
        vectors = np.asarray(vectors, dtype=np.float64)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        if vectors.ndim != 2 or not np.isfinite(length).all() or not (length > 0).all():
            raise ValueError(f"expected {name} vectors (record, dim), finite and not 0; got shape {vectors.shape}")
        unit.append(vectors / length)
    return np.clip(unit[1] @ unit[0].T, -1, 1)


def person_similarity(similarity: np.ndarray, person: Sequence | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest over each person's gallery vectors: (probe, gallery), (gallery,) -> (probe, person), the persons (person,)."""
    names, number = np.unique(np.asarray(person), return_inverse=True)
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(names)))
    return np.maximum.reduceat(similarity[:, order], starts, axis=1), names


class Matching:
    """Every score of this module for similarities, under any weights of the probes.

    similarity                : (probe, gallery), higher is more alike
    gallery_person, probe_person : who each is

    Calling it with weights (draw, probe) gives name -> (draw,):
    rank_1, rank_5, rank_10   : share of enrolled persons' probes whose person is among the k most similar. A person who is exactly
                                as similar stands before the right one, so that equal vectors for everybody earn nothing
    mean_reciprocal_rank      : mean of 1 / rank
    auroc                     : chance that a genuine comparison is more similar than an impostor's, ties by half
    eer                       : error rate where as many impostors are let in as genuine comparisons are turned away
    tar_at_far_0.01, …        : share of genuine comparisons let in at the threshold that lets in at most that share of impostors

    Raises ValueError where no probe's person is in the gallery, or where there is nobody else in it.
    """

    def __init__(self, similarity: np.ndarray, gallery_person: Sequence | np.ndarray, probe_person: Sequence | np.ndarray):
        similarity = np.asarray(similarity, dtype=np.float64)
        if similarity.shape != (len(probe_person), len(gallery_person)):
            expected = f"(probe={len(probe_person)}, gallery={len(gallery_person)})"
            raise ValueError(f"expected similarities of shape {expected}; got {similarity.shape}")
        if not np.isfinite(similarity).all():
            raise ValueError("expected finite similarities; got NaN or infinity among them (a vector of a model that diverged?)")
        best, persons = person_similarity(similarity, gallery_person)
        probe_person = np.asarray(probe_person)
        place = np.minimum(np.searchsorted(persons, probe_person), len(persons) - 1)
        self.enrolled = persons[place] == probe_person
        if not self.enrolled.any():
            raise ValueError("expected probes of persons who are in the gallery; none of them is")
        if len(persons) < 2:
            raise ValueError("expected two persons or more in the gallery; got one")
        rows = np.flatnonzero(self.enrolled)
        genuine = best[rows, place[rows]]
        impostor = best.copy()
        impostor[rows, place[rows]] = -np.inf
        self.n_impostors = len(persons) - self.enrolled.astype(np.float64)
        impostor.sort(axis=1)
        self.rank = 1 + (impostor[rows] >= genuine[:, None]).sum(axis=1)

        # The curves only turn where the threshold passes a genuine comparison: count, there, what else has been let in.
        order = np.argsort(-genuine, kind="stable")
        self.rows, self.rank, self.threshold = rows[order], self.rank[order], genuine[order]
        levels, level = np.unique(-self.threshold, return_inverse=True)
        self.ends = np.append(np.flatnonzero(np.diff(level)), len(level) - 1)  # last genuine comparison of each level
        n_columns = impostor.shape[1]
        at_least = np.stack([n_columns - np.searchsorted(row, -levels, side="left") for row in impostor])
        above = np.stack([n_columns - np.searchsorted(row, -levels, side="right") for row in impostor])
        self.at_least, self.above = at_least.astype(np.float32), above.astype(np.float32)  # (probe, level): counts, exact in float32

    def __len__(self) -> int:
        return len(self.enrolled)

    def roc(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the curve from (0, 0) to (1, 1): shares of impostors and of genuine comparisons let in, (draw, corner) each; NaN
        where a draw has none of a kind."""
        real = np.asarray(weight, dtype=np.float64)
        own = np.cumsum(real[:, self.rows], axis=1)[:, self.ends]
        n_impostors = (real @ self.n_impostors)[:, None]
        after = np.concatenate([ratio(real @ self.at_least, n_impostors), np.ones((len(real), 1))], axis=1)
        before = np.concatenate([ratio(real @ self.above, n_impostors), np.ones((len(real), 1))], axis=1)
        let_in = ratio(own, own[:, -1:])
        so_far = np.concatenate([np.zeros((len(real), 1)), let_in], axis=1)
        let_in = np.concatenate([let_in, let_in[:, -1:]], axis=1)
        # Down to a level only impostors come in; at the level itself the genuine of it, and the impostors that are as similar.
        false = np.stack([before, after], axis=2).reshape(len(real), -1)
        true = np.stack([so_far, let_in], axis=2).reshape(len(real), -1)
        zero = np.zeros((len(real), 1))
        return np.concatenate([zero, false], axis=1), np.concatenate([zero, true], axis=1)

    def cmc(self, weight: np.ndarray, n_ranks: int) -> np.ndarray:
        """Cumulative match characteristic: share of probes whose person is among the first k, for k from 1 on: (draw, n_ranks)."""
        own = np.asarray(weight, dtype=np.float64)[:, self.rows]
        return ratio(own @ (self.rank[:, None] <= np.arange(1, n_ranks + 1)), own.sum(axis=1, keepdims=True))

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        weight = np.asarray(weight)
        if weight.ndim != 2 or weight.shape[1] != len(self):
            raise ValueError(f"expected weights of shape (draw, probe={len(self)}); got {weight.shape}")
        own = weight[:, self.rows].astype(np.float64)
        cmc = self.cmc(weight, max(RANKS))
        out = {f"rank_{k}": cmc[:, k - 1] for k in RANKS}
        out["mean_reciprocal_rank"] = ratio(own @ (1 / self.rank), own.sum(axis=1))
        false, true = self.roc(weight)
        out["auroc"] = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2).sum(axis=1)
        out["eer"] = _crossing(false, true)
        for share in FALSE_ACCEPTS:
            allowed = np.where(false <= share, true, 0.0).max(axis=1)
            out[f"tar_at_far_{share:g}"] = np.where(np.isnan(out["auroc"]), np.nan, allowed)
        return out


def _crossing(false: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Where the curve, straight between its corners, meets false = 1 - true: (draw, corner) -> (draw,)."""
    gap = false + true - 1  # rises from -1 to 1
    after = np.argmax(gap >= 0, axis=1)
    rows = np.arange(len(gap))
    low, high = gap[rows, after - 1], gap[rows, after]
    part = np.divide(-low, high - low, out=np.zeros(len(gap)), where=high > low)
    eer = false[rows, after - 1] + part * (false[rows, after] - false[rows, after - 1])
    return np.where(np.isnan(gap).any(axis=1), np.nan, eer)


def match(
    gallery: np.ndarray, gallery_person: Sequence | np.ndarray, probe: np.ndarray, probe_person: Sequence | np.ndarray
) -> dict[str, float]:
    """Every score of ``Matching`` for vectors (record, dim) and whose they are (record,)."""
    matching = Matching(cosine_similarity(gallery, probe), gallery_person, probe_person)
    return {name: float(value[0]) for name, value in matching(np.ones((1, len(matching)))).items()}
