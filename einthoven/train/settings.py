"""How a run is trained: the typed settings that every recipe has. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Optim(BaseModel):
    """The optimiser and which parameters learn how fast."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["adamw", "adam", "adam_legacy", "sgd"] = Field(
        "adamw",
        description="adamw; adam (weight decay as a part of the gradient); adam_legacy (fairseq's, with eps inside the bias correction); sgd",
    )
    lr: float = Field(5e-5, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.98), description="decay of the two moments of adam, adamw and adam_legacy")
    eps: float = Field(1e-6, ge=0, description="added to the root of the second moment")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.01, ge=0, description="weight decay; decoupled from the gradient in adamw and adam_legacy")
    decay_all: bool = Field(
        True, description="weight decay on norms, biases and vectors too, as in fairseq; false: on matrices and kernels alone"
    )
    layer_decay: float | None = Field(None, gt=0, le=1, description="learning rate of each encoder layer relative to the one above it")
    head_lr: float | None = Field(None, gt=0, description="peak learning rate of all that is not the encoder; default: lr")
    discriminative: tuple[float, ...] | None = Field(
        None,
        min_length=1,
        description="factors on the learning rate of the encoder's stages, from the input to the top; where there are fewer factors than "
        "stages, each is for equally many",
    )
    discriminative_stages: tuple[int, ...] | None = Field(
        None, description="how many stages each factor of discriminative is for, where not equally many, e.g. [4, 9]"
    )
    lars: float | None = Field(
        None, gt=0, description="LARS: trust coefficient with which each weight's gradient is scaled to the weight's norm; none: off"
    )
    lars_clip: bool = Field(True, description="LARS: never lengthen a gradient; false: as in SwAV")

    @model_validator(mode="after")
    def _betas(self) -> Optim:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected two numbers from 0 to below 1, got {self.betas}")
        return self

    @model_validator(mode="after")
    def _every_key_counts(self) -> Optim:
        if self.momentum != 0.9 and self.name != "sgd":
            raise ValueError(f"momentum is sgd's, the optimiser is {self.name}: set betas, or leave it away")
        if not self.lars_clip and self.lars is None:
            raise ValueError("lars_clip belongs to lars: set lars to its trust coefficient (0.02; SwAV: 0.001), or leave it away")
        return self

    @model_validator(mode="after")
    def _stages(self) -> Optim:
        if self.discriminative is None:
            if self.discriminative_stages is not None:
                raise ValueError("discriminative_stages says how many stages each factor of discriminative is for: set discriminative too")
            return self
        if self.layer_decay is not None:
            raise ValueError("layer_decay and discriminative both set the rates of the encoder's stages: give one of them")
        if min(self.discriminative) <= 0:
            raise ValueError(f"discriminative: expected factors above 0, got {self.discriminative}; to freeze an encoder set frozen")
        counts = self.discriminative_stages
        if counts is not None and (len(counts) != len(self.discriminative) or min(counts) < 1):
            raise ValueError(
                f"discriminative_stages: expected a number above 0 for each of the {len(self.discriminative)} factors of discriminative, got {counts}"
            )
        return self


SCHEDULE_KEYS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "fixed": ("per_epoch", "shrink_from", "shrink"),
    "tri_stage": ("hold", "fall", "final"),
    "step": ("period", "decay", "final"),
    "cosine": ("final",),
    "warmup_cosine": ("final",),
    "one_cycle": ("peak_at", "momentum", "final"),
}
"""The keys that a schedule uses beside the warm-up, which all but one_cycle have."""


class Schedule(BaseModel):
    """The learning rate over the updates, as a factor on its peak (``schedule.py``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["constant", "fixed", "tri_stage", "step", "cosine", "warmup_cosine", "one_cycle"] = Field(
        "constant",
        description="constant; fixed (per epoch); tri_stage (rise, hold, exponential fall); step; cosine; warmup_cosine (that of SimCLR and "
        "SwAV on ECGs: begins at 0); one_cycle (fastai's)",
    )
    warmup: int = Field(0, ge=0, description="updates over which the rate rises; with tri_stage see phases")
    warmup_from: float | None = Field(
        None,
        ge=0,
        le=1,
        description="factor at the first update; default: 1/warmup (tri_stage: 0.01, step and warmup_cosine: 0, one_cycle: 1/25)",
    )
    phases: tuple[float, float, float] | None = Field(None, description="tri_stage: shares of rise, hold and fall in all updates")
    hold: int = Field(0, ge=0, description="tri_stage without phases: updates at the peak")
    fall: int = Field(0, ge=0, description="tri_stage without phases: updates from the peak to final")
    final: float | None = Field(
        None,
        ge=0,
        le=1,
        description="lowest factor, at the end of tri_stage (0.01), cosine, warmup_cosine, step (0) or one_cycle (1/250000)",
    )
    per_epoch: tuple[float, ...] = Field((1.0,), min_length=1, description="fixed: factors of the first epochs, the last one stays")
    shrink_from: int | None = Field(None, ge=1, description="fixed: first epoch (from 1) from which the rate shrinks every epoch")
    shrink: float = Field(0.1, gt=0, le=1, description="fixed: factor of each shrinking")
    period: int = Field(25_000, ge=1, description="step: updates between two falls")
    decay: float = Field(0.5, gt=0, le=1, description="step: factor of each fall")
    peak_at: float = Field(0.3, ge=0, le=1, description="one_cycle: share of the updates in which the rate rises")
    momentum: tuple[float, float] | None = Field(
        (0.95, 0.85),
        description="one_cycle: the momentum (sgd's, or the first of betas) at both ends and at the peak; none: the optimiser's own",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Schedule:
        if self.phases is not None:
            if self.name != "tri_stage":
                raise ValueError(f"phases belong to tri_stage, the schedule is {self.name}")
            if min(self.phases) < 0 or abs(sum(self.phases) - 1) > 1e-9:
                raise ValueError(f"phases: expected three shares that sum to 1, got {self.phases}")
            if self.warmup or self.hold or self.fall:
                raise ValueError("give tri_stage either phases or warmup, hold and fall, not both")
        elif self.name == "tri_stage" and not (self.warmup or self.hold or self.fall):
            raise ValueError("tri_stage needs phases (for example [0.1, 0.4, 0.5]), or warmup, hold and fall in updates")
        unused = [key for keys in SCHEDULE_KEYS.values() for key in keys if key not in SCHEDULE_KEYS[self.name]]
        fields = type(self).model_fields
        if changed := [key for key in dict.fromkeys(unused) if getattr(self, key) != fields[key].default]:
            raise ValueError(
                f"{', '.join(changed)}: the schedule {self.name} does not use {'it' if len(changed) == 1 else 'them'}; leave away"
            )
        if self.name == "one_cycle" and self.warmup:
            raise ValueError("one_cycle rises by itself: leave warmup away, and set peak_at, the share of the updates in which it rises")
        if self.momentum is not None and not all(0 <= value < 1 for value in self.momentum):
            raise ValueError(f"momentum: expected two numbers from 0 to below 1, got {self.momentum}")
        if self.name == "tri_stage" and self.final == 0:
            raise ValueError("tri_stage falls exponentially and never reaches 0: expected final > 0")
        return self


class Settings(BaseModel):
    """What the training loop needs to know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(1, ge=0, description="of every random choice in the run")
    steps: int | None = Field(None, ge=1, description="updates to make; give this or epochs")
    epochs: float | None = Field(None, gt=0, description="passes over the data; give this or steps")
    batch: int = Field(
        64, ge=1, description="items per update, over all processes and micro-batches (an item is a segment, or a pair of them)"
    )
    accumulate: int = Field(1, ge=1, description="micro-batches whose gradients make one update")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the device computes in it, else fp32")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient; none: no clipping")
    optim: Optim = Field(Optim(), description="optimiser")
    schedule: Schedule = Field(Schedule(), description="learning rate over the updates")
    frozen_steps: int = Field(0, ge=0, description="updates at the beginning in which the encoder does not learn")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of an average of the weights, which is then validated and exported; none: off"
    )
    workers: int = Field(0, ge=0, description="processes that read data; the result does not depend on it")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    save_every: int = Field(1000, ge=1, description="updates between two checkpoints")
    keep: int = Field(2, ge=1, description="newest checkpoints that are kept, beside the best one")
    validate_every: int | None = Field(None, ge=1, description="updates between two validations; default: once an epoch")
    metric: str = Field(
        "loss", description="validation metric that chooses the best checkpoint; last: none does, the last weights are kept"
    )
    maximise: bool = Field(False, description="whether a larger metric is better")
    patience: int | None = Field(None, ge=1, description="validations without a better metric after which training stops; none: never")
    log_every: int = Field(50, ge=1, description="updates between two lines of metrics.jsonl")
    sharded: bool = Field(
        False, description="spread weights and optimiser over the processes (fully_shard), for models that one device cannot hold"
    )
    compile: bool = Field(False, description="compile the encoder's layers with torch.compile")
    tensorboard: bool = Field(False, description="write TensorBoard logs too")
    strict: bool = Field(False, description="stop, instead of warning, when a parameter never learns or a representation has collapsed")

    @model_validator(mode="after")
    def _length(self) -> Settings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"expected exactly one of steps and epochs, got steps={self.steps}, epochs={self.epochs}")
        if self.batch is not None and self.accumulate > self.batch:  # a recipe may leave the batch open
            raise ValueError(f"accumulate={self.accumulate} is more than batch={self.batch}: a micro-batch would be empty")
        if self.sharded and self.ema is not None:
            raise ValueError("sharded and ema exclude each other: set one of them")
        return self
