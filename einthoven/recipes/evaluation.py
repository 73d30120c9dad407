"""The keys of ``einthoven evaluate``, typed like a recipe's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from einthoven.errors import RecipeError


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
    seed: int = Field(1, description="of the bootstrap")


def evaluation(overrides: Sequence[str]) -> Evaluate:
    """The evaluation that ``key=value`` texts ask for. Raises RecipeError."""
    from einthoven.recipes.compose import change, parse

    made = change(Evaluate(), parse(overrides))
    assert isinstance(made, Evaluate)
    if made.data is None:
        raise RecipeError("evaluate on what? add data=STORE")
    return made
