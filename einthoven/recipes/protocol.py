"""How a pretrained encoder is put to use: which of its weights learn, and what is saved in the end. The names are in ``kinds.PROTOCOLS``."""

from __future__ import annotations

import copy

from torch import nn

from einthoven.errors import RecipeError
from einthoven.layers.lora import add_lora, has_lora, merge_lora
from einthoven.models.encoder import Encoder
from einthoven.recipes.kinds import Finetune


def prepared(encoder: Encoder, recipe: Finetune) -> Encoder:
    """The encoder as the recipe's protocol wants it: frozen, with low-rank additions, or as it is. Raises RecipeError where that has no sense."""
    if recipe.protocol in ("linear", "attention"):
        encoder.freeze()
    elif recipe.protocol == "lora":
        try:
            add_lora(encoder, rank=recipe.lora_rank)
        except ValueError as error:
            raise RecipeError(f"protocol=lora: {error}") from error
    return encoder


def merged(module: nn.Module) -> nn.Module:
    """The module with its low-rank additions in its plain weights, which is what is saved; the module itself where it has none."""
    if not has_lora(module):
        return module
    plain = copy.deepcopy(module)
    merge_lora(plain)
    return plain
