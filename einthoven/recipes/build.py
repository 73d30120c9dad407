"""A recipe's parts, built: the view of its store, its encoder, its objective or task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import einthoven
from einthoven.augment import AUGMENTS
from einthoven.convert.open import open_weights
from einthoven.errors import RecipeError, StoreError
from einthoven.models import ENCODERS, SIZES
from einthoven.models.folder import load_weights
from einthoven.objectives import OBJECTIVES
from einthoven.recipes.claim import fingerprint
from einthoven.recipes.kinds import Finetune, Pretrain, Recipe
from einthoven.signal.contract import SignalContract
from einthoven.sources.vocabulary import CLASSES, LabelClass, own_classes
from einthoven.store.layout import SPLITS
from einthoven.store.read import Store
from einthoven.store.views import Pairs, Segments
from einthoven.store.where import select


def rows_of(recipe: Recipe, store: Store, split: str) -> np.ndarray:
    """Row numbers of a split ("all": every row), narrowed by the recipe's ``where``."""
    if split not in (*SPLITS, "all"):
        raise RecipeError(f"split: expected {', '.join(SPLITS)} or all; got {split}")
    rows = np.arange(len(store)) if split == "all" else np.flatnonzero(store.column("split") == split)
    if recipe.where:
        rows = rows[np.isin(rows, select(store, recipe.where))]
    if not len(rows) and split == recipe.split:
        raise RecipeError(f"{store.path} has no recordings in split={split}" + (f" where {recipe.where}" if recipe.where else ""))
    return rows


def contract_of(recipe: Recipe, store: Store, rows: np.ndarray) -> SignalContract:
    """What the model will expect of a signal: the store's rate, the recipe's leads, window and scaling.

    With scaling=corpus, the mean and SD are those that ``init`` was trained with, or else those of the training rows.
    """
    mean = std = None
    if recipe.scaling == "corpus":
        known = open_weights(recipe.init)[1]["contract"] if recipe.init is not None else {}
        if known.get("scaling") == "corpus" and tuple(known["leads"]) == recipe.leads:
            mean, std = tuple(known["mean"]), tuple(known["std"])
        else:
            mean, std = corpus_statistics(store, rows, recipe.leads)
    return SignalContract(
        fs=store.fs,
        leads=recipe.leads,
        scaling=recipe.scaling,
        seconds=recipe.seconds,
        resampling=store.facts["signal"]["resampling"],
        mean=mean,
        std=std,
    )


def corpus_statistics(store: Store, rows: np.ndarray, leads: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and SD of each lead in mV over all samples of ``rows``, from the moments in the table."""
    mean, sd, first = store.statistics()
    n_samples, names = store.column("n_samples"), store.column("leads")
    sums = {lead: np.zeros(3) for lead in leads}
    for row in rows.tolist():
        for place, lead in enumerate(names[row].split()):
            if lead in sums:
                m, s, n = float(mean[first[row] + place]), float(sd[first[row] + place]), float(n_samples[row])
                sums[lead] += n * np.array([1.0, m, s * s + m * m])
    absent = [lead for lead, total in sums.items() if total[0] == 0 or total[2] <= 0]
    if absent:
        raise StoreError(f"scaling=corpus needs every lead in the training rows; none has {' '.join(absent)}")
    means = tuple(total[1] / total[0] for total in sums.values())
    sds = tuple(float(np.sqrt(max(total[2] / total[0] - m * m, 1e-12))) for total, m in zip(sums.values(), means, strict=True))
    return means, sds


def build_encoder(recipe: Recipe, contract: SignalContract) -> tuple[nn.Module, dict[str, Any] | None]:
    """The recipe's encoder, with ``init``'s weights where it names one; and the config of that model."""
    wanted = recipe.encoder
    pretraining = isinstance(recipe, Pretrain)
    if isinstance(recipe, Pretrain):
        wanted = wanted.model_copy(update={"input_dropout": recipe.dropout(wanted.input_dropout)})
    if wanted.extractor_gradient is None:  # published: 0.1 in pretraining; the convolutions stay as they are in fine-tuning
        wanted = wanted.model_copy(update={"extractor_gradient": 0.1 if pretraining else 1.0 if recipe.init is None else 0.0})
    if recipe.init is None:
        options = {**SIZES[wanted.size or "base"], **wanted.changes()}
        if options.get("extractor_gradient") == 0:
            raise RecipeError("encoder.extractor_gradient=0 would keep random convolutions: set init=, or encoder.extractor_gradient=1")
        return _made(wanted.name, {"leads": contract.leads, "fs": contract.fs, **options}, contract), None

    state, config = open_weights(recipe.init)
    known = dict(config["encoder"])
    name = known.pop("name")
    shape = ("dim", "depth", "heads", "ffn", "norm_first")
    size = {key: value for key, value in SIZES[wanted.size].items() if key in shape} if wanted.size else {}
    for key, value in {**size, **{key: value for key, value in wanted.changes().items() if key in shape}}.items():
        if known.get(key) != value:
            raise RecipeError(
                f"encoder.{key}={value} does not fit init={recipe.init}, which has {known.get(key)}; leave encoder away: init decides"
            )
    if tuple(known["leads"]) != contract.leads or float(known["fs"]) != contract.fs:
        raise RecipeError(
            f"init={recipe.init} takes {' '.join(known['leads'])} at {known['fs']:g} Hz; this run gives {' '.join(contract.leads)} at "
            f"{contract.fs:g} Hz: set leads=[{', '.join(known['leads'])}] and use a store at that rate (missing leads of a recording become 0)"
        )
    encoder = _made(name, {**known, **{key: value for key, value in wanted.changes().items() if key not in shape}}, contract)
    own = (
        {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
        if config["kind"] != "encoder"
        else state
    )
    load_weights(encoder, own, recipe.init)
    if encoder.extractor_gradient == 0:  # as asked for: neither the optimiser nor the watch over gradients need look at them
        encoder.feature_extractor.requires_grad_(False)
    return encoder, config


def _made(name: str, options: dict[str, Any], contract: SignalContract) -> nn.Module:
    """An encoder of these sizes. Raises RecipeError where they contradict one another, or where a window is too short to give a frame."""
    try:
        encoder = ENCODERS[name](**options)
    except ValueError as error:
        raise RecipeError(f"encoder: {error}") from error
    if encoder.n_frames(round(contract.seconds * contract.fs)) < 1:
        raise RecipeError(
            f"seconds={contract.seconds:g} is too short for a frame; the encoder makes one of {encoder.samples_per_frame / contract.fs:g} s"
        )
    return encoder


def build_objective(recipe: Pretrain, encoder: Any) -> nn.Module:
    """The recipe's objective around an encoder."""
    masked = {
        "mask": {"prob": recipe.mask_prob, "length": recipe.mask_length},
        "n_negatives": recipe.negatives,
        "latent_vars": recipe.codes,
        "latent_groups": recipe.codebooks,
        "final_dim": recipe.target_dim,
        "temperature": recipe.logit_temperature,
        "dropout_features": recipe.dropout(recipe.feature_dropout),
        "diversity_weight": recipe.diversity_weight,
        "energy_weight": recipe.penalty_weight,
    }
    cmsc = {"cmsc_temperature": recipe.cmsc_temperature, "cmsc_weight": recipe.cmsc_weight}
    options: dict[str, dict[str, Any]] = {"w2v": masked, "cmsc": {"temperature": recipe.cmsc_temperature}, "w2v_cmsc": {**masked, **cmsc}}
    return OBJECTIVES[recipe.objective](encoder, **options[recipe.objective])


def build_view(recipe: Pretrain, store: Store, rows: np.ndarray, contract: SignalContract) -> Segments | Pairs:
    """What the objective draws its batches from. Raises RecipeError, before training, where the store has nothing for it."""
    options: dict[str, Any] = {"leads": contract.leads, "scaling": contract.scaling, "mean": contract.mean, "std": contract.std}
    if OBJECTIVES[recipe.objective].view == "segments":
        return Segments(store, rows, contract.seconds, short="drop", **options)
    pairs = Pairs(store, rows, contract.seconds, across=recipe.across, short="drop", **options)
    if len(pairs) == 0:
        raise RecipeError(
            f"{recipe.objective} needs recordings of at least {2 * contract.seconds:g} s (two windows) and {store.path} has none in its "
            f"{recipe.split} rows: shorten seconds, or take objective=w2v (recipe w2v), which needs one window"
        )
    return pairs


def build_augmentations(recipe: Recipe) -> tuple[Any, ...]:
    return tuple(AUGMENTS[it.name](p=it.p, at_least=it.at_least) for it in recipe.augment)


def choose_classes(recipe: Finetune, store: Store, rows: np.ndarray) -> tuple[LabelClass, ...]:
    """The classes that a recipe asks for; ``usable_classes`` says which of them the training rows can teach."""
    labels, systems = store.labels(), store.column("label_system")
    present = {system for system in systems[rows] if system is not None}
    if not present:
        raise RecipeError(
            f"{store.path} has no labels in its {recipe.split} rows: ingest it with labels (labels.csv for a folder), or pretrain on it"
        )
    if isinstance(recipe.classes, tuple):
        wanted = own_classes(recipe.classes, sorted(present)[0])
    elif recipe.classes == "auto":
        wanted = _auto_classes(store, rows, sorted(present), labels)
    elif recipe.classes in CLASSES:
        wanted = CLASSES[recipe.classes]
    else:
        raise RecipeError(f"classes: expected auto, a list of codes, or one of {', '.join(CLASSES)}; got {recipe.classes}")
    return wanted


def _auto_classes(store: Store, rows: np.ndarray, systems: Sequence[str], labels: Sequence[Any]) -> tuple[LabelClass, ...]:
    """By the vocabulary of the labels: the challenge's 26 for SNOMED CT, PTB-XL's superclasses for SCP-ECG, else every code that occurs."""
    lists = {"SNOMED CT": "cinc2021", "SCP-ECG": "ptbxl_super"}
    if len(systems) == 1 and systems[0] in lists:
        return CLASSES[lists[systems[0]]]
    if len(systems) == 1:
        return own_classes({code for row in rows.tolist() for code in labels[row] or ()}, systems[0])
    if "SNOMED CT" in systems:  # several vocabularies: the one list that has codes in more than one
        return CLASSES["cinc2021"]
    raise RecipeError(f"{store.path} has labels of several vocabularies ({', '.join(systems)}): say which classes to learn with classes=…")


def usable_classes(classes: Sequence[LabelClass], label: np.ndarray, min_positives: int) -> tuple[list[LabelClass], list[str]]:
    """Classes of which enough positives and a negative are known, and one line about each of the others. label: (row, class)."""
    kept, left = [], []
    for it, column in zip(classes, label.T, strict=True):
        n_positive, n_negative = int((column == 1).sum()), int((column == 0).sum())
        if n_positive >= min_positives and n_negative >= 1:
            kept.append(it)
        else:
            left.append(f"{it.name} ({n_positive} positive, {n_negative} negative)")
    return kept, left


def provenance(recipe: Recipe, store: Store) -> dict[str, Any]:
    """Where a model comes from: data, recipe, code, seed; no path of the machine it was made on."""
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "init": Path(recipe.init).name if recipe.init else None,
        "data": {key: store.facts["source"].get(key) for key in ("name", "version", "licence", "citation")},
        "records_sha256": fingerprint(store),
        "code": f"einthoven {einthoven.__version__}",
    }
