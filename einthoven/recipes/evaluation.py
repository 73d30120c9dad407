"""The keys of ``einthoven evaluate``, typed like a recipe's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from einthoven.errors import RecipeError
from einthoven.recipes.kinds import some_leads


class Evaluate(BaseModel):
    """What to evaluate on, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    data: Path | None = Field(None, description="a store")
    split: Literal["train", "valid", "test", "all"] = Field("test", description="rows to evaluate on")
    where: str | None = Field(None, description="rows to read, as a condition on the table")
    run: Path | None = Field(None, description="the folder to write; by default evaluation/<store>-<split> in the run")
    batch: int = Field(64, gt=0, description="windows at a time")
    device: str = Field("auto", description="cpu, cuda, …")
    bootstrap: int = Field(1000, ge=0, description="bootstrap draws behind the intervals; 0: none")
    seed: int = Field(1, description="of the bootstrap, and of the noise")
    noise: int = Field(
        0,
        ge=0,
        le=6,
        description="robustness: baseline wander, powerline, electrode motion and baseline shift are added at this level, 1 to 6, before answering",
    )
    shown: tuple[str, ...] | None = Field(
        None, description="robustness: only these leads are shown to the model, the others are taken as not recorded"
    )
    unlabelled: Literal["negative", "leave_out"] | None = Field(
        None,
        description="a labelled recording with none of the model's classes counts as negative for all, or is left out; by default as in training",
    )
    task: Literal["identification"] | None = Field(None, description="identification: how well a bare encoder's vectors find persons again")
    singles: Literal["leave_out", "distractors", "two_windows"] = Field(
        "leave_out",
        description="identification: persons with one recording: left out, enrolled only, or found again by its second window (easier)",
    )

    @field_validator("shown", mode="before")
    @classmethod
    def _shown(cls, value: Any) -> Any:
        return None if value is None else some_leads(value)


def evaluation(overrides: Sequence[str]) -> Evaluate:
    """The evaluation that ``key=value`` texts ask for. Raises RecipeError."""
    from einthoven.recipes.compose import change, parse

    made = change(Evaluate(), parse(overrides))
    assert isinstance(made, Evaluate)
    if made.data is None:
        raise RecipeError("evaluate on what? add data=STORE")
    return made
