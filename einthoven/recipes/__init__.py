"""Named recipes. A variant is a difference; names for the command line come from this table, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from einthoven.recipes.kinds import Finetune, Pretrain, Recipe


def w2v() -> Pretrain:
    """wav2vec 2.0 on single segments: predict masked frames among distractors (Baevski et al., NeurIPS 2020)."""
    from einthoven.recipes.kinds import Pretrain
    from einthoven.train.settings import Optim

    return Pretrain(
        name="w2v",
        objective="w2v",
        epochs=200,
        optim=Optim(lr=5e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01),
    )


def w2v_cmsc() -> Pretrain:
    """wav2vec 2.0 and CMSC: adjacent segments of one patient also attract (Oh et al., CHIL 2022)."""
    return w2v().model_copy(update={"name": "w2v_cmsc", "objective": "w2v_cmsc"})


def w2v_cmsc_rlm() -> Pretrain:
    """W2V+CMSC with random lead masking: the method behind ECG-FM (Oh et al., CHIL 2022; McKeen et al., 2024)."""
    from einthoven.recipes.kinds import Augmentation

    return w2v_cmsc().model_copy(update={"name": "w2v_cmsc_rlm", "augment": (Augmentation(name="random_lead_mask"),)})


def diagnosis() -> Finetune:
    """Multi-label diagnosis from one or several windows of a recording (fairseq-signals' `diagnosis`)."""
    from einthoven.recipes.kinds import Encoder, Finetune
    from einthoven.train.settings import Optim

    return Finetune(
        name="diagnosis",
        epochs=100,
        optim=Optim(lr=5e-5, betas=(0.9, 0.98), eps=1e-8),
        # All of them are said, as in the published recipe: what is not would be as ``init`` was pretrained, with dropout on its tokens.
        encoder=Encoder(dropout=0.0, attention_dropout=0.0, activation_dropout=0.1, input_dropout=0.0, layerdrop=0.0),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"w2v": w2v, "w2v_cmsc": w2v_cmsc, "w2v_cmsc_rlm": w2v_cmsc_rlm, "diagnosis": diagnosis}
TINY_LR = 1e-3
PRETRAIN = ("w2v", "w2v_cmsc", "w2v_cmsc_rlm")
FINETUNE = ("diagnosis",)


def recipe(name: str, overrides: Sequence[str] = (), config_dir: Path | None = None, of: Sequence[str] = tuple(RECIPES)) -> Recipe:
    """The recipe ``name``, changed by ``key=value`` texts; ``of`` narrows the names to those that a command takes.

    With encoder=tiny it begins from a learning rate of 1e-3 instead of the published one, at which so small a network would not move.
    """
    from einthoven.recipes.compose import compose, parse

    changes = parse(overrides)
    if "tiny" in (changes.get("encoder"), changes.get("encoder.size")) and "optim.lr" not in changes:
        overrides = [*overrides, f"optim.lr={TINY_LR}"]
    return compose({key: RECIPES[key] for key in of}, name, overrides, config_dir)  # type: ignore[return-value]
