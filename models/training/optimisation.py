"""How weights move: the optimiser, and what a step keeps and leaves out."""

from typing import Any

import torch
from torch import nn

from models.training.recipe import Recipe, RecipeError


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Weight decay on kernels alone: vectors and scalars (biases, norms, fusion weights) have none."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in network.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, recipe.learning_rate)
    return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum)


def set_batch_norm_momentum(network: nn.Module, kept: float) -> None:
    """Let every batch norm keep this share of its running statistics at a step (torch counts the share it replaces)."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1 - kept


def set_dropout(network: nn.Module, recipe: Recipe) -> None:
    """Let the network leave out as much as the recipe says. Raises RecipeError where it has no such layer."""
    for name, kind in (("level_dropout", nn.Dropout3d), ("channel_dropout", nn.Dropout2d)):
        rate, layer = getattr(recipe, name), getattr(network, name, None)
        if isinstance(layer, kind):
            layer.p = rate
        elif rate > 0:
            raise RecipeError(f"{recipe.model} has no {name}, only ESeg models have: take it out of the recipe")
