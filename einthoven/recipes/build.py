"""A recipe's parts, built: the view of its store, its encoder, its objective or task."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import einthoven
from einthoven.augment import AUGMENTS, Pipeline
from einthoven.convert.open import open_weights
from einthoven.errors import RecipeError, StoreError
from einthoven.models import ENCODERS, PRESETS, Encoder
from einthoven.models.folder import load_weights
from einthoven.objectives import OBJECTIVES, Moment, Objective
from einthoven.recipes.claim import fingerprint
from einthoven.recipes.kinds import Finetune, Pretrain, Recipe
from einthoven.signal.contract import SignalContract
from einthoven.sources.vocabulary import CLASSES, LabelClass, own_classes
from einthoven.store.layout import SPLITS
from einthoven.store.read import Store
from einthoven.store.views import Crops, Pairs, Segments
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
        stride=getattr(recipe, "stride", None),
        shown=recipe.shown,
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


PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "ecg_transformer": {
        "pretrain": {"input_dropout": 0.1, "extractor_gradient": 0.1},
        # All of them are said, as in the published recipe: what is not would be as ``init`` was pretrained, with dropout on its tokens.
        "finetune": {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.1, "input_dropout": 0.0, "layerdrop": 0.0},
    }
}
"""How an encoder is trained where a recipe does not say: as it was published. A variant (encoder=tiny) may know better."""


def _is_shape(option: str) -> bool:
    """Whether an option of an encoder is part of what its weights mean, not of how it is trained."""
    return not (option.endswith("dropout") or option in ("layerdrop", "extractor_gradient", "ignore_padding"))


def build_encoder(recipe: Recipe, contract: SignalContract) -> tuple[Encoder, dict[str, Any] | None]:
    """The recipe's encoder, with ``init``'s weights where it names one; and the config of that model."""
    wanted = recipe.encoder
    if recipe.init is None:
        name = _encoder_name(wanted.name or "base")
        options = {**_published(name, recipe), **wanted.usual(wanted.name or "base"), **wanted.chosen}
        if options.get("extractor_gradient") == 0:
            raise RecipeError("encoder.extractor_gradient=0 would keep random convolutions: set init=, or encoder.extractor_gradient=1")
        return _made(name, {"leads": contract.leads, "fs": contract.fs, **options}, contract), None

    state, config = open_weights(recipe.init)
    known = dict(config["encoder"])
    name = known.pop("name")
    if wanted.name is not None and _encoder_name(wanted.name) != name:
        raise RecipeError(
            f"encoder={wanted.name} does not fit init={recipe.init}, which is of kind {name}; leave encoder away: init decides"
        )
    asked = {**(wanted.usual(wanted.name) if wanted.name else {}), **wanted.chosen}
    for key, value in asked.items():
        if _is_shape(key) and _plain(known.get(key)) != _plain(value):
            raise RecipeError(
                f"encoder.{key}={value} does not fit init={recipe.init}, which has {known.get(key)}; leave encoder away: init decides"
            )
    if tuple(known["leads"]) != contract.leads or float(known["fs"]) != contract.fs:
        raise RecipeError(
            f"init={recipe.init} takes {' '.join(known['leads'])} at {known['fs']:g} Hz; this run gives {' '.join(contract.leads)} at "
            f"{contract.fs:g} Hz: set leads=[{', '.join(known['leads'])}] and use a store at that rate (missing leads of a recording become 0)"
        )
    trained = {key: value for key, value in asked.items() if not _is_shape(key)}
    encoder = _made(name, {**known, **_published(name, recipe), **trained}, contract)
    own = (
        {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
        if config["kind"] != "encoder"
        else state
    )
    load_weights(encoder, own, recipe.init)
    if getattr(encoder, "extractor_gradient", 1) == 0:  # as asked for: neither the optimiser nor the watch over gradients need look at them
        encoder.get_submodule("feature_extractor").requires_grad_(False)
    return encoder, config


def _encoder_name(name: str) -> str:
    """The encoder of a variant: xresnet1d50 -> xresnet1d."""
    return PRESETS[name][0] if name in PRESETS else name


def _published(name: str, recipe: Recipe) -> dict[str, Any]:
    options = dict(PUBLISHED.get(name, {}).get(recipe.kind, {}))
    if name == "ecg_transformer" and recipe.kind == "finetune":  # the convolutions stay as they are, unless they know nothing yet
        options["extractor_gradient"] = 1.0 if recipe.init is None else 0.0
    return options


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down: as JSON has them."""
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _made(name: str, options: dict[str, Any], contract: SignalContract) -> Encoder:
    """An encoder of these sizes. Raises RecipeError where they contradict one another, or where a window is too short to give a frame."""
    try:
        encoder = ENCODERS[name](**options)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"encoder: {error}") from error
    if encoder.n_frames(round(contract.seconds * contract.fs)) < 1:
        raise RecipeError(
            f"seconds={contract.seconds:g} is too short for the encoder: a frame needs {encoder.least_samples / contract.fs:g} s at {contract.fs:g} Hz"
        )
    return encoder


def build_objective(recipe: Pretrain, encoder: Encoder) -> Objective:
    """The recipe's objective around an encoder; one that makes views gets the recipe's augmentations. Raises RecipeError where they do not fit."""
    method = OBJECTIVES[recipe.objective.name]
    if method.needs_context and not encoder.has_context:
        able = [name for name, kind in ENCODERS.items() if kind.has_context]
        raise RecipeError(
            f"objective={recipe.objective.name} hides or predicts frames before they are put into context, and this encoder has no such "
            f"halves; take one of {', '.join(able)}"
        )
    options: dict[str, Any] = dict(recipe.objective.chosen)
    if method.n_views > 1:
        if not recipe.augment:
            raise RecipeError(
                f"objective={recipe.objective.name} compares augmented views of each ECG: name augmentations, such as augment=[random_resized_crop, time_out]"
            )
        options["augment"] = build_augmentations(recipe, encoder)
    try:
        return method(encoder, **options)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"objective: {error}") from error


def windows_of(recipe: Recipe, store: Store, rows: np.ndarray, contract: SignalContract, **options: Any) -> Segments | Crops:
    """Windows to train on, as the recipe's ``crop`` says: all of them, or one of each recording at a new place each epoch."""
    if recipe.crop == "random":
        return Crops(store, rows, contract.seconds, seed=recipe.seed, **contract.of_view(), **options)
    return Segments(store, rows, contract.seconds, **contract.of_view(), **options)


def build_view(recipe: Pretrain, store: Store, rows: np.ndarray, contract: SignalContract) -> Segments | Pairs | Crops:
    """What the objective draws its batches from. Raises RecipeError, before training, where the store has nothing for it."""
    if OBJECTIVES[recipe.objective.name].view == "segments":
        return windows_of(recipe, store, rows, contract, short="drop")
    pairs = Pairs(store, rows, contract.seconds, across=recipe.across, short="drop", **contract.of_view())
    if len(pairs) == 0:
        raise RecipeError(
            f"{recipe.objective.name} needs recordings of at least {2 * contract.seconds:g} s (two windows) and {store.path} has none in its "
            f"{recipe.split} rows: shorten seconds, or take objective=w2v (recipe w2v), which needs one window"
        )
    return pairs


def build_augmentations(recipe: Recipe, encoder: Encoder) -> Pipeline:
    """The recipe's augmentations, in order, for the leads and the rate of its encoder. Raises RecipeError for what they cannot be."""
    try:
        pipeline = Pipeline([AUGMENTS[str(it.name)](**it.chosen, leads=encoder.leads, fs=encoder.fs) for it in recipe.augment])
        # Once on nothing: what a window is too short for is told here, not in the first update.
        pipeline({"ecg": torch.zeros(2, len(encoder.leads), round(recipe.seconds * encoder.fs))}, Moment())
    except (ValueError, TypeError) as error:
        raise RecipeError(f"augment: {error}") from error
    return pipeline


def fewer_labels(recipe: Finetune, store: Store, rows: np.ndarray) -> np.ndarray:
    """The training rows whose labels are used: those of a share of the persons, always the same ones, a smaller share within a larger.

    The order in which persons come in depends on their names alone, not on the seed of a run: all methods see the same labels.
    """
    if recipe.label_share == 1:
        return rows
    person = store.patient_number[rows]
    persons = np.unique(person)
    names = store.column("patient")[rows]
    record = store.column("record")[rows]
    first = {int(number): place for place, number in reversed(list(enumerate(person.tolist())))}
    keys = {number: zlib.crc32(f"label_share/{names[place] or record[place]}".encode()) for number, place in first.items()}
    order = sorted(persons.tolist(), key=lambda number: (keys[number], number))
    kept = order[: max(1, round(recipe.label_share * len(order)))]
    return rows[np.isin(person, kept)]


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
        **({"unlabelled": recipe.unlabelled} if isinstance(recipe, Finetune) and recipe.unlabelled != "negative" else {}),
        "code": f"einthoven {einthoven.__version__}",
    }
