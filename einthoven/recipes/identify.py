"""The lesson of identification: persons are classes in training, and strangers to one another in validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from einthoven.errors import RecipeError, StoreError
from einthoven.metrics.identification import match
from einthoven.recipes.build import build_encoder, contract_of, fewer_labels, rows_of, windows_of
from einthoven.recipes.kinds import Finetune
from einthoven.recipes.lesson import Lesson, Say
from einthoven.recipes.protocol import prepared
from einthoven.recipes.validation import compare_scaling
from einthoven.signal.contract import SignalContract
from einthoven.store.gallery import WHOLE, Roles, gallery_and_probe
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.tasks.identification import Identification
from einthoven.train.answers import answers

METRICS = ("rank_1", "rank_5", "rank_10", "mean_reciprocal_rank", "auroc", "eer", "tar_at_far_0.01", "tar_at_far_0.001")


def identification_lesson(recipe: Finetune, store: Store, say: Say) -> tuple[Lesson, SignalContract]:
    """Raises RecipeError where there are not two persons to tell apart."""
    rows = fewer_labels(recipe, store, rows_of(recipe, store, recipe.split))
    named = np.array([patient is not None for patient in store.column("patient")], dtype=bool)
    if unnamed := int((~named[rows]).sum()):
        say(f"{unnamed} of {len(rows)} recordings are of unknown persons and are left out")
        rows = rows[named[rows]]
    persons = np.unique(store.patient_number[rows])
    if len(persons) < 2:
        raise RecipeError(
            f"identification learns to tell persons apart, and {store.path} names {len(persons)} in its {recipe.split} rows: ingest it with patient ids "
            "(a column patient in labels.csv), or take task=diagnosis"
        )
    contract = contract_of(recipe, store, rows)
    view = windows_of(recipe, store, rows, contract)
    torch.manual_seed(recipe.seed)
    encoder, before = build_encoder(recipe, contract)
    compare_scaling(recipe, before, say)
    task = Identification(prepared(encoder, recipe), persons, margin=recipe.margin, scale=recipe.scale)
    roles: Roles | None = None
    if recipe.validate_every != 0 and recipe.split not in ("valid", "all"):
        try:
            roles = gallery_and_probe(store, rows_of(recipe, store, "valid"))
        except StoreError as error:
            say(f"training goes on without validation: {error}")

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, Identification) and roles is not None
        gallery, probe = (embedded(module, store, which, contract, min(recipe.micro_batch, 64)) for which in (roles.gallery, roles.probe))
        found = match(gallery, roles.gallery_person, probe, roles.probe_person)
        return {"loss": 1 - found["auroc"], **found}

    return Lesson(task, view, validate if roles is not None else None, METRICS), contract


def embedded(module: nn.Module, store: Store, rows: np.ndarray, contract: SignalContract, batch: int = 64) -> np.ndarray:
    """A vector per row of the store, the mean of its windows' vectors: (n,) row numbers, in any order, also twice -> (n, dim)."""
    which = np.unique(rows)
    view = Segments(store, which, contract.seconds, stride=contract.stride, **contract.of_view())
    vectors, _, found = answers(module.predict, view, batch, next(module.parameters()).device, names=())  # type: ignore[arg-type]
    place = {row: number for number, row in enumerate(found.tolist())}
    return vectors[[place[row] for row in rows.tolist()]]


def windows_embedded(
    module: nn.Module, store: Store, roles: Roles, contract: SignalContract, batch: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of gallery and probes, where some are single windows of a recording: (gallery, dim), (probe, dim)."""
    found: list[Any] = []
    for rows, segment in ((roles.gallery, roles.gallery_segment), (roles.probe, roles.probe_segment)):
        whole = segment == WHOLE
        vectors: np.ndarray | None = None
        if whole.any():
            part = embedded(module, store, rows[whole], contract, batch)
            vectors = np.empty((len(rows), part.shape[1]))
            vectors[whole] = part
        if not whole.all():
            part = _single(module, store, rows[~whole], segment[~whole], contract, batch)
            vectors = np.empty((len(rows), part.shape[1])) if vectors is None else vectors
            vectors[~whole] = part
        found.append(vectors)
    return found[0], found[1]


def _single(module: nn.Module, store: Store, rows: np.ndarray, segment: np.ndarray, contract: SignalContract, batch: int) -> np.ndarray:
    from einthoven.train.batch import to_batch

    view = Segments(store, np.unique(rows), contract.seconds, **contract.of_view())
    at = np.searchsorted(view.rows, rows)
    device = next(module.parameters()).device
    parts = [
        module.predict(to_batch(view.cut(at[first : first + batch], segment[first : first + batch]), device)).float().cpu().numpy()  # type: ignore[operator]
        for first in range(0, len(rows), batch)
    ]
    return np.concatenate(parts)
