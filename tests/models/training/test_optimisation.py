import pytest
import torch
from torch import nn

from models.training.optimisation import make_optimiser, set_batch_norm_momentum, set_dropout
from models.training.recipe import RecipeError
from models.zoo.registry import build
from tests.models.training.runs import make_recipe


def test_only_kernels_decay() -> None:
    network = build("eseg-lite-s", 11)
    decayed, others = make_optimiser(network, make_recipe(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0)
    kernels = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d)}
    assert {id(p) for p in decayed["params"]} == kernels
    assert len(decayed["params"]) + len(others["params"]) == len(list(network.parameters()))


def test_batch_norms_keep_the_share_of_their_statistics_that_is_asked_for() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)).train()
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    set_batch_norm_momentum(network, 0.9)
    norm(torch.full((2, 1, 4, 4), 5.0))
    assert norm.running_mean is not None
    assert norm.running_mean.item() == pytest.approx(0.5)


def test_dropout_is_as_the_recipe_says() -> None:
    network = build("eseg-lite-s", 11)
    set_dropout(network, make_recipe(level_dropout=0.3, channel_dropout=0.1))
    rates = {name: m.p for name, m in network.named_modules() if isinstance(m, nn.Dropout2d | nn.Dropout3d)}
    assert rates == {"level_dropout": 0.3, "channel_dropout": 0.1}


@pytest.mark.parametrize("field", ["level_dropout", "channel_dropout"])
def test_dropout_that_a_network_has_no_layer_for_is_refused(field: str) -> None:
    network = build("spinenet-s49", 11)
    set_dropout(network, make_recipe())
    with pytest.raises(RecipeError, match=f"spinenet-s49 has no {field}, only ESeg models have: take it out"):
        set_dropout(network, make_recipe(model="spinenet-s49", **{field: 0.1}))
