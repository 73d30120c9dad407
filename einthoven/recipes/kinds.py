"""The typed recipes: what a pretraining or a fine-tuning run is, in one frozen value.

A recipe is the training settings (``train/settings.py``) and, around them, the data, the encoder, and the objective or
task. Keys that everybody uses mean the same in both kinds. Contradictions are refused here, before anything is read.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from einthoven.leads import TWELVE, canonical
from einthoven.train.settings import Settings

FEW = 24
"""Names that a line of text may list."""


class Part(BaseModel):
    """A named part of a recipe: ``encoder=tiny`` names it, ``encoder.dim=96`` changes one of its options.

    Its options are those of the class behind the name (``options.py``); only those that were chosen are kept here.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    what: ClassVar[str]

    name: str | None

    @classmethod
    def names(cls) -> list[str]:
        """What the part may be called."""
        raise NotImplementedError

    @classmethod
    def kind_of(cls, name: str | None) -> type:
        """The class behind a name."""
        raise NotImplementedError

    @classmethod
    def usual(cls, name: str | None) -> dict[str, Any]:
        """Options that the name itself sets, where it is that of a variant."""
        return {}

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that were chosen."""
        return dict(self.__pydantic_extra__ or {})

    @classmethod
    def all_options(cls, name: str | None) -> type[BaseModel]:
        from einthoven.recipes.options import options_of

        return options_of(cls.kind_of(name))

    @model_validator(mode="after")
    def _known(self) -> Part:
        if self.name is not None and self.name not in self.names():
            names = self.names()
            close = difflib.get_close_matches(self.name, names, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            shown = (
                f"one of {', '.join(names)}" if len(names) <= FEW else f"{', '.join(names[:4])} or another: `einthoven methods` lists them"
            )
            raise ValueError(f"expected {self.what}, {shown}; got {self.name!r}{hint}")
        options = self.all_options(self.name)
        try:
            typed = options.model_validate(self.chosen)
        except ValidationError as error:
            raise ValueError("; ".join(_explain(entry, self.name, list(options.model_fields)) for entry in error.errors())) from None
        chosen = {key: value for key, value in typed.model_dump(mode="python").items() if key in self.chosen}
        object.__setattr__(self, "__pydantic_extra__", chosen)
        return self


def _explain(entry: Any, name: str | None, known: list[str]) -> str:
    where = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, known, 1)
        return f".{where}: {name or 'the encoder'} does not use it" + (f"; did you mean {close[0]}?" if close else "; leave it away")
    what = entry["msg"].removeprefix("Value error, ")
    return f".{where}: {what[0].lower()}{what[1:]}, got {entry['input']!r}"


class Encoder(Part):
    """Which encoder, and what differs from it; without a name it is init's, or ECG-FM's base without init."""

    what: ClassVar[str] = "an encoder"
    name: str | None = Field(
        None, description="tiny trains in seconds on a laptop; base is ECG-FM's; by default init's, or base without init"
    )

    @classmethod
    def names(cls) -> list[str]:
        from einthoven.models import ENCODERS, PRESETS

        return [*PRESETS, *(name for name in ENCODERS if name not in PRESETS)]

    @classmethod
    def kind_of(cls, name: str | None) -> type:
        from einthoven.models import ENCODERS, PRESETS

        return ENCODERS[PRESETS[name or "base"][0] if (name or "base") in PRESETS else str(name)]

    @classmethod
    def usual(cls, name: str | None) -> dict[str, Any]:
        from einthoven.models import PRESETS

        return dict(PRESETS[name][1]) if name in PRESETS else {}


class Objective(Part):
    """What is learned from, without labels."""

    what: ClassVar[str] = "an objective"
    name: str = Field(description="what is learned from")

    @classmethod
    def names(cls) -> list[str]:
        from einthoven.objectives import OBJECTIVES

        return list(OBJECTIVES)

    @classmethod
    def kind_of(cls, name: str | None) -> type:
        from einthoven.objectives import OBJECTIVES

        return OBJECTIVES[str(name)]


class Augmentation(Part):
    """One augmentation and its options."""

    what: ClassVar[str] = "an augmentation"
    name: str

    @classmethod
    def names(cls) -> list[str]:
        from einthoven.augment import AUGMENTS

        return list(AUGMENTS)

    @classmethod
    def kind_of(cls, name: str | None) -> type:
        from einthoven.augment import AUGMENTS

        return AUGMENTS[str(name)]


def some_leads(value: Any) -> Any:
    """12, a lead or a list of leads -> their canonical names, each once. Raises ValueError."""
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


def some_augmentations(value: Any) -> Any:
    """A name, a mapping, a list of them, or none."""
    values = [] if value in (None, "none", False) else [value] if isinstance(value, str | dict) else value
    return tuple({"name": entry} if isinstance(entry, str) else entry for entry in values)


class Recipe(Settings):
    """What pretraining and fine-tuning have in common."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    kind: ClassVar[str]
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (("steps", "epochs"),)

    name: str = Field(description="the recipe's name")
    data: Path | None = Field(None, description="the store to read, as `einthoven ingest` wrote it")
    run: Path | None = Field(None, description="the folder to write; by default runs/<recipe>-<number>")
    init: str | None = Field(None, description="weights to begin with: a run, a model folder, or a .pt or .ckpt of the older systems")
    split: str = Field("train", description="rows to train on: train, valid, test or all")
    where: str | None = Field(None, description='rows to read, as a condition on the table: "age >= 18 and fs == 500"')
    leads: tuple[str, ...] = Field(TWELVE, description="leads in order; 12, or a list such as [I, II, V1]")
    shown: tuple[str, ...] | None = Field(
        None, description="of these leads, the ones that are shown; the others are taken as not recorded (0); by default all"
    )
    seconds: float = Field(5.0, gt=0, description="length of a window")
    crop: Literal["windows", "random"] = Field(
        "windows",
        description="train on windows: every one of a recording, one after the other; random: one at a new random place each epoch",
    )
    scaling: Literal["record_zscore", "none", "corpus"] = Field(
        "record_zscore",
        description="record_zscore: each lead of each recording to mean 0, SD 1 (ECG-FM); none: mV; corpus: by the corpus's mean and SD",
    )
    encoder: Encoder = Field(
        default_factory=Encoder, description="tiny, small, base, large, xresnet1d50, s4, …: `einthoven methods` lists them"
    )
    augment: tuple[Augmentation, ...] = Field((), description="augmentations in order, e.g. [random_resized_crop, time_out]")
    batch: int | None = Field(  # type: ignore[assignment]
        None,
        ge=1,
        description="items per update, over all processes and micro-batches (a segment, or a pair of them); by default published_batch "
        "(tiny_batch with a tiny encoder), or as many as there are",
    )
    published_batch: int = Field(128, ge=1, description="the batch that was published")
    tiny_batch: int = Field(32, ge=1, description="a batch for a laptop")
    validate_every: int | None = Field(None, ge=0, description="updates between two validations; default: once an epoch; 0: never")
    micro_batch: int = Field(64, gt=0, description="items at a time over all processes; a larger batch is accumulated")

    _leads = field_validator("leads", mode="before")(some_leads)
    _augment = field_validator("augment", mode="before")(some_augmentations)

    @field_validator("shown", mode="before")
    @classmethod
    def _shown(cls, value: Any) -> Any:
        return None if value is None else some_leads(value)

    @field_validator("encoder", mode="before")
    @classmethod
    def _encoder(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _shown_are_leads(self) -> Recipe:
        if other := [lead for lead in self.shown or () if lead not in self.leads]:
            raise ValueError(f"shown: {' '.join(other)} is not among leads={' '.join(self.leads)}")
        return self

    @property
    def tiny(self) -> bool:
        """Whether the encoder is one that nobody published and a laptop trains in seconds."""
        return self.encoder.name is not None and ("tiny" in self.encoder.name or self.encoder.name.endswith("_small"))

    def settings(self, n_items: int) -> Settings:
        """The training loop's part of it for a view of so many items, with batch and accumulation worked out."""
        values = {name: getattr(self, name) for name in Settings.model_fields}
        if self.batch is None:
            usual = self.tiny_batch if self.tiny else self.published_batch
            values["batch"] = max(self.accumulate, min(usual, n_items))
        values["validate_every"] = self.validate_every or None  # with 0 the loop is given nothing to validate with
        values["accumulate"] = max(self.accumulate, -(-values["batch"] // self.micro_batch))
        return Settings(**values)


class Pretrain(Recipe):
    """Learn an encoder without labels."""

    kind: ClassVar[str] = "pretrain"

    published_batch: int = Field(512, ge=1, description="the batch that was published")
    tiny_batch: int = Field(16, ge=1, description="a batch for a laptop")
    objective: Objective = Field(description="what is learned from: `einthoven methods` lists them")
    across: Literal["record", "visits"] = Field(
        "record", description="pairs of segments within a recording, or across recordings of a patient too"
    )

    @field_validator("objective", mode="before")
    @classmethod
    def _objective(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _every_key_counts(self) -> Pretrain:
        method = Objective.kind_of(self.objective.name)
        if method.view != "pairs" and self.across != "record":  # type: ignore[attr-defined]
            raise ValueError(f"across: objective={self.objective.name} does not use it, it takes no pairs; leave it away")
        if method.view == "pairs" and self.crop != "windows":  # type: ignore[attr-defined]
            raise ValueError(f"crop={self.crop}: objective={self.objective.name} takes pairs of neighbouring windows; set crop=windows")
        return self


PROTOCOLS = {
    "full": "all weights learn (optim.layer_decay, optim.discriminative: lower layers slower)",
    "linear": "the encoder stays as it is, one linear layer on its pooled frames learns",
    "attention": "the encoder stays as it is, an attention head over its frames learns",
    "head_first": "the head alone for the first frozen_steps updates (by default a third of all), then all weights",
    "lora": "low-rank additions to the encoder's linear layers, and the head, learn; merged into plain weights at the end",
}
"""How a pretrained encoder is put to use, and what each way means."""


class Finetune(Recipe):
    """Learn a task from labels, from a pretrained encoder or from nothing."""

    kind: ClassVar[str] = "finetune"

    task: Literal["diagnosis", "identification", "regression"] = Field("diagnosis", description="what is learned")
    protocol: Literal["full", "linear", "attention", "head_first", "lora"] = Field(
        "full", description="; ".join(f"{name}: {meaning}" for name, meaning in PROTOCOLS.items())
    )
    frozen_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="protocol=head_first: share of all updates in which the head learns alone, where frozen_steps does not say it; by default a third",
    )
    label_share: float = Field(
        1.0, gt=0, le=1, description="share of the training persons whose labels are used; smaller shares are parts of larger ones"
    )
    stride: float | None = Field(
        None,
        gt=0,
        description="seconds between the windows that are answered for a recording; by default their length, so that they do not overlap",
    )
    aggregation: Literal["mean", "max"] = Field("mean", description="diagnosis: how the windows' probabilities become the recording's")

    classes: str | tuple[str, ...] = Field(
        "auto",
        description="diagnosis: a list of classes by name (cinc2021, ptbxl_super, …), codes of one's own, or auto: by the labels that the store holds",
    )
    unlabelled: Literal["negative", "leave_out"] = Field(
        "negative",
        description="diagnosis: a labelled recording with none of the classes is negative for all, or left out, as in the PTB-XL benchmark",
    )
    min_positives: int = Field(
        1, ge=1, description="diagnosis: classes with fewer positive training recordings are left out, and that is said"
    )
    pos_weight: bool | tuple[float, ...] = Field(
        False, description="diagnosis: true: weigh positives by (1 - p)/p of the training rows; or a list"
    )
    head_dropout: float = Field(0.0, ge=0, lt=1, description="diagnosis: before the last layer")
    hidden: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        (), description="diagnosis: widths of hidden layers of the head; published for xresnet1d: [128]"
    )
    pooling: str | None = Field(
        None, description="diagnosis: how frames become one vector: mean, max_mean, …; by default the encoder's own"
    )
    margin: float = Field(0.5, ge=0, lt=3.2, description="identification: ArcFace's angle between persons, radians")
    scale: float = Field(32.0, gt=0, description="identification: ArcFace's factor on the cosines")
    targets: tuple[str, ...] = Field(("age",), min_length=1, description="regression: columns of the store's table, or numbers in its meta")
    loss: Literal["l1", "huber", "mse"] = Field("l1", description="regression: what is minimised, on targets of mean 0 and SD 1")
    lora_rank: int = Field(8, gt=0, description="protocol=lora: rank of the additions")

    @field_validator("classes", "targets", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(str(code) for code in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _consistent(self) -> Finetune:
        if isinstance(self.pos_weight, tuple) and isinstance(self.classes, tuple) and len(self.pos_weight) != len(self.classes):
            raise ValueError(f"pos_weight: expected {len(self.classes)} numbers, one per class, got {len(self.pos_weight)}")
        fields = type(self).model_fields
        of_others = {
            "diagnosis": ("classes", "unlabelled", "min_positives", "pos_weight", "head_dropout", "hidden", "pooling", "aggregation"),
            "identification": ("margin", "scale"),
            "regression": ("targets", "loss"),
        }
        unused = [key for task, keys in of_others.items() if task != self.task for key in keys]
        if changed := [key for key in unused if getattr(self, key) != fields[key].default]:
            raise ValueError(f"{', '.join(changed)}: task={self.task} does not use {'it' if len(changed) == 1 else 'them'}; leave away")
        if self.protocol != "lora" and self.lora_rank != fields["lora_rank"].default:
            raise ValueError("lora_rank: only protocol=lora uses it; leave it away")
        if self.frozen_share is not None and self.protocol != "head_first":
            raise ValueError("frozen_share is protocol=head_first's; leave it away")
        if self.task != "diagnosis" and self.protocol == "attention":
            raise ValueError(f"protocol=attention is a way to diagnose; with task={self.task} take full, linear, head_first or lora")
        if self.protocol == "attention" and self.pooling is not None:
            raise ValueError("pooling: protocol=attention learns how frames become one vector; leave it away")
        if self.protocol in ("linear", "attention"):
            optim = self.optim
            rates = {
                "frozen_steps": self.frozen_steps,
                "optim.layer_decay": optim.layer_decay,
                "optim.discriminative": optim.discriminative,
            }
            if without := [key for key, value in rates.items() if value]:
                raise ValueError(
                    f"{', '.join(without)}: with protocol={self.protocol} the encoder does not learn at all; set it to 0 or null, or take another protocol"
                )
        return self
