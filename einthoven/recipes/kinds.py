"""The typed recipes: what a pretraining or a fine-tuning run is, in one frozen value.

A recipe is the training settings (``train/settings.py``) and, around them, the data, the encoder, and the objective or
task. Keys that everybody uses mean the same in both kinds. Contradictions are refused here, before anything is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from einthoven.leads import TWELVE, canonical
from einthoven.train.settings import Settings


class Part(BaseModel):
    """A named part of a recipe: a short form for the command line, and what may be changed about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    shorthand: ClassVar[str]


class Encoder(Part):
    """Which encoder, how large, and what differs from that size; None keeps the size's own value."""

    shorthand: ClassVar[str] = "size"
    name: Literal["ecg_transformer"] = Field("ecg_transformer", description="architecture")
    size: Literal["tiny", "small", "base", "large"] | None = Field(
        None,
        description="tiny trains in seconds on a laptop; base is ECG-FM's, 90 million parameters; by default init's, or base without init",
    )
    dim: int | None = Field(None, gt=0, description="width of a frame")
    depth: int | None = Field(None, gt=0, description="number of transformer layers")
    heads: int | None = Field(None, gt=0, description="attention heads")
    ffn: int | None = Field(None, gt=0, description="width of the feed-forward layers")
    dropout: float | None = Field(None, ge=0, lt=1, description="after attention and feed-forward layers")
    attention_dropout: float | None = Field(None, ge=0, lt=1, description="on attention weights")
    activation_dropout: float | None = Field(None, ge=0, lt=1, description="inside feed-forward layers")
    input_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="on the frames before the transformer; by default 0.1 in pretraining, 0 in fine-tuning and with encoder=tiny",
    )
    layerdrop: float | None = Field(None, ge=0, lt=1, description="share of layers skipped at random")
    norm_first: bool | None = Field(None, description="LayerNorm before instead of after each part (published weights: after)")
    ignore_padding: bool | None = Field(
        None, description="a padded recording gives the frames that it gives alone (published weights: false)"
    )
    extractor_gradient: float | None = Field(
        None,
        ge=0,
        le=1,
        description="factor on the gradient of the convolutions; by default 0.1 in pretraining, 0 (they do not learn) in fine-tuning from init, 1 from nothing",
    )

    @staticmethod
    def kept_by(size: str) -> tuple[str, ...]:
        """What ``encoder=SIZE`` leaves as the recipe has it: not another size's shape, but how the published recipe trains an encoder.

        The tiny encoder, which nobody published, has its own.
        """
        return (
            ()
            if size == "tiny"
            else ("dropout", "attention_dropout", "activation_dropout", "input_dropout", "layerdrop", "extractor_gradient")
        )

    def changes(self) -> dict[str, Any]:
        """What differs from the size's own values."""
        return {key: value for key, value in self.model_dump(exclude={"name", "size"}).items() if value is not None}


class Augmentation(Part):
    """One augmentation and its parameters."""

    shorthand: ClassVar[str] = "name"
    name: Literal["random_lead_mask"]
    p: float = Field(0.5, ge=0, le=1, description="probability with which each lead is masked")
    at_least: int = Field(0, ge=0, description="leads that are always kept")


class Recipe(Settings):
    """What pretraining and fine-tuning have in common."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    kind: ClassVar[str]
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (("steps", "epochs"),)
    published_batch: ClassVar[int]
    tiny_batch: ClassVar[int]

    name: str = Field(description="the recipe's name")
    data: Path | None = Field(None, description="the store to read, as `einthoven ingest` wrote it")
    run: Path | None = Field(None, description="the folder to write; by default runs/<recipe>-<number>")
    init: str | None = Field(None, description="weights to begin with: a run, a model folder, or a .pt of fairseq-signals")
    split: str = Field("train", description="rows to train on: train, valid, test or all")
    where: str | None = Field(None, description='rows to read, as a condition on the table: "age >= 18 and fs == 500"')
    leads: tuple[str, ...] = Field(TWELVE, description="leads in order; 12, or a list such as [I, II, V1]")
    seconds: float = Field(5.0, gt=0, description="length of a window")
    scaling: Literal["record_zscore", "none", "corpus"] = Field(
        "record_zscore",
        description="record_zscore: each lead of each recording to mean 0, SD 1 (ECG-FM); none: mV; corpus: by the corpus's mean and SD",
    )
    encoder: Encoder = Field(Encoder(), description="tiny, small, base or large")
    augment: tuple[Augmentation, ...] = Field((), description="augmentations in order, e.g. [random_lead_mask]")
    batch: int | None = Field(  # type: ignore[assignment]
        None,
        ge=1,
        description="items per update, over all processes and micro-batches (a segment, or a pair of them); by default the published number "
        "(512 pairs, 128 segments; 16 and 32 with encoder=tiny), or as many as there are",
    )
    validate_every: int | None = Field(None, ge=0, description="updates between two validations; default: once an epoch; 0: never")
    micro_batch: int = Field(64, gt=0, description="items at a time over all processes; a larger batch is accumulated")

    @field_validator("leads", mode="before")
    @classmethod
    def _leads(cls, value: Any) -> Any:
        if value in (12, "12", "twelve", "all"):
            return TWELVE
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected 12 or a list of leads such as [I, II, V1], got {value!r}")
        known = tuple(canonical(name) for name in names)
        unknown = [name for name in known if name not in TWELVE]
        if unknown:
            raise ValueError(f"unknown lead {', '.join(unknown)}; the leads are {' '.join(TWELVE)}")
        if len(set(known)) != len(known):
            raise ValueError(f"a lead is named twice: {' '.join(known)}")
        return known

    @field_validator("augment", mode="before")
    @classmethod
    def _augment(cls, value: Any) -> Any:
        values = [] if value in (None, "none", False) else [value] if isinstance(value, str | dict) else value
        return tuple({"name": entry} if isinstance(entry, str) else entry for entry in values)

    @field_validator("encoder", mode="before")
    @classmethod
    def _encoder(cls, value: Any) -> Any:
        return {"size": value} if isinstance(value, str) else value

    def settings(self, n_items: int) -> Settings:
        """The training loop's part of it for a view of so many items, with batch and accumulation worked out."""
        values = {name: getattr(self, name) for name in Settings.model_fields}
        if self.batch is None:
            usual = self.tiny_batch if self.encoder.size == "tiny" else self.published_batch
            values["batch"] = max(self.accumulate, min(usual, n_items))
        values["validate_every"] = self.validate_every or None  # with 0 the loop is given nothing to validate with
        values["accumulate"] = max(self.accumulate, -(-values["batch"] // self.micro_batch))
        return Settings(**values)


_MASKED = ("mask_prob", "mask_length", "negatives", "codes", "codebooks", "target_dim", "logit_temperature", "diversity_weight",
           "penalty_weight", "feature_dropout")  # fmt: skip
OBJECTIVE_KEYS: dict[str, tuple[str, ...]] = {
    "w2v": _MASKED,
    "cmsc": ("across", "cmsc_temperature"),
    "w2v_cmsc": (*_MASKED, "across", "cmsc_temperature", "cmsc_weight"),
}
"""The keys that an objective uses, of those that not all of them use."""


class Pretrain(Recipe):
    """Learn an encoder without labels."""

    kind: ClassVar[str] = "pretrain"
    published_batch: ClassVar[int] = 512
    tiny_batch: ClassVar[int] = 16
    published_dropout: ClassVar[float] = 0.1

    objective: Literal["w2v", "cmsc", "w2v_cmsc"] = Field(description="what is learned from")
    across: Literal["record", "visits"] = Field(
        "record", description="pairs of segments within a recording, or across recordings of a patient too"
    )
    mask_prob: float = Field(0.65, gt=0, lt=1, description="share of frames at which a masked span begins, times its length")
    mask_length: int = Field(10, gt=0, description="frames in a masked span; a frame is 16 samples")
    negatives: int = Field(100, gt=0, description="negatives per masked frame")
    codes: int = Field(320, gt=1, description="entries per codebook")
    codebooks: int = Field(2, gt=0, description="codebooks")
    target_dim: int = Field(256, gt=0, description="width in which targets and predictions are compared")
    logit_temperature: float = Field(0.1, gt=0, description="temperature of the masked prediction")
    diversity_weight: float = Field(0.1, ge=0, description="weight of the codebook's diversity")
    penalty_weight: float = Field(10.0, ge=0, description="weight of the penalty on the features' energy")
    feature_dropout: float | None = Field(
        None, ge=0, lt=1, description="on the features that become targets; by default 0.1, and 0 with encoder=tiny"
    )
    cmsc_temperature: float = Field(0.1, gt=0, description="temperature of CMSC")
    cmsc_weight: float = Field(1.0, ge=0, description="weight of CMSC beside the masked prediction")

    @model_validator(mode="after")
    def _every_key_counts(self) -> Pretrain:
        unused = [key for keys in OBJECTIVE_KEYS.values() for key in keys if key not in OBJECTIVE_KEYS[self.objective]]
        fields = type(self).model_fields
        if changed := [key for key in dict.fromkeys(unused) if getattr(self, key) != fields[key].default]:
            raise ValueError(
                f"{', '.join(changed)}: objective={self.objective} does not use {'it' if len(changed) == 1 else 'them'}; leave away"
            )
        return self

    def dropout(self, chosen: float | None) -> float:
        """A dropout that was chosen, or the published one. The tiny encoder has none: it is too small to need it, and what a process
        drops is its own draw, so that without dropout any number of processes gives the same curve."""
        return chosen if chosen is not None else 0.0 if self.encoder.size == "tiny" else self.published_dropout


class Finetune(Recipe):
    """Learn a task from labels, from a pretrained encoder or from nothing."""

    kind: ClassVar[str] = "finetune"
    published_batch: ClassVar[int] = 128
    tiny_batch: ClassVar[int] = 32

    task: Literal["diagnosis"] = Field("diagnosis", description="what is learned")
    classes: str | tuple[str, ...] = Field(
        "auto",
        description="a list of classes by name (cinc2021, ptbxl_super, …), codes of one's own, or auto: by the labels that the store holds",
    )
    min_positives: int = Field(1, ge=1, description="classes with fewer positive training recordings are left out, and that is said")
    pos_weight: bool | tuple[float, ...] = Field(False, description="true: weigh positives by (1 - p)/p of the training rows; or a list")
    head_dropout: float = Field(0.0, ge=0, lt=1, description="before the last layer")

    @field_validator("classes", mode="before")
    @classmethod
    def _classes(cls, value: Any) -> Any:
        return tuple(str(code) for code in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _consistent(self) -> Finetune:
        if isinstance(self.pos_weight, tuple) and isinstance(self.classes, tuple) and len(self.pos_weight) != len(self.classes):
            raise ValueError(f"pos_weight: expected {len(self.classes)} numbers, one per class, got {len(self.pos_weight)}")
        return self
