"""The papers' recipes have the numbers that the papers print. What they leave open is ours, and not asked here."""

from typing import Any

import pytest
import torch
from torch import nn

from models import labelsets
from models.training.recipe import Recipe, load_recipe
from models.zoo.layers import ASPP
from models.zoo.registry import build

# Meng et al. 2022, section 4.1. "Initial" is said of the rate: nothing warms up to it.
_ESEG = {
    "batch_size": 16,
    "optimiser": "sgd",
    "momentum": 0.9,
    "scale": (0.5, 2.0),
    "learning_rate": 0.08,
    "warmup_epochs": 0.0,
    "weight_decay": 0.00005,
}
# Photos are 1024 x 2048, and the network sees them so (sections 2 and 4.3).
_ESEG_CITYSCAPES = _ESEG | {"steps": 90_000, "long_side": 2048}
# Rashwan et al. 2021, section 5.
_SPINENET = {"optimiser": "sgd", "momentum": 0.9, "ema_decay": 0.9998, "scale": (0.5, 2.0)}

PRINTED: dict[str, dict[str, Any]] = {
    "eseg-cityscapes": _ESEG_CITYSCAPES | {"crop": (512, 1024)},
    # Section 4.3: crops are larger, and their size is not printed.
    "eseg-lite-cityscapes": _ESEG_CITYSCAPES,
    "eseg-ade20k": _ESEG | {"crop": (520, 520), "long_side": 520, "epochs": 300},
    # Section 5.3.
    "spinenet-cityscapes": _SPINENET
    | {"crop": (512, 1024), "batch_size": 64, "batch_norm_momentum": 0.99, "steps": 100_000},
    # Section 5.3 and Table 6.
    "deeplab-cityscapes": _SPINENET
    | {"crop": (512, 1024), "batch_size": 64, "batch_norm_momentum": 0.99, "steps": 100_000},
    # Section 5.2.
    "spinenet-pascal-voc": _SPINENET
    | {"crop": (512, 512), "batch_size": 32, "batch_norm_momentum": 0.9997, "steps": 20_000},
}
# Training photos and classes: sections 4.1; 5.2 and 5.3.
DATA = {
    "eseg-cityscapes": (2975, 19),
    "eseg-lite-cityscapes": (2975, 19),
    "eseg-ade20k": (20210, 150),
    "spinenet-cityscapes": (2975, 19),
    "deeplab-cityscapes": (2975, 19),
    "spinenet-pascal-voc": (10582, 20 + 1),
}
# Sections 5.2 and 5.3, of their DeepLabs too.
ASPP_RATES = {
    "spinenet-cityscapes": [12, 24, 36, 72],
    # By the figures of Table 6.
    "deeplab-cityscapes": [12, 24, 36],
    "spinenet-pascal-voc": [12, 24, 36],
}


@pytest.fixture(params=PRINTED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(name: str) -> Recipe:
    return load_recipe(name)


def test_a_papers_numbers_are_those_of_its_recipe(name: str, recipe: Recipe) -> None:
    assert {field: getattr(recipe, field) for field in PRINTED[name]} == PRINTED[name]


def test_a_recipe_is_for_as_many_photos_and_classes_as_its_paper_has(name: str, recipe: Recipe) -> None:
    photos, classes = DATA[name]
    assert f" {photos} " in recipe.data
    assert len(labelsets.load(recipe.label_set).classes) == classes


def test_what_a_paper_names_without_a_number_is_not_left_out(name: str, recipe: Recipe) -> None:
    assert recipe.flip > 0
    assert recipe.ema_decay > 0
    # ESeg's section 4.1, and no other's, mines hard examples.
    assert (recipe.ohem_threshold is not None) == name.startswith("eseg")


def test_lite_models_see_larger_crops() -> None:
    (height, width), (lite_height, lite_width) = (
        load_recipe(name).crop for name in ("eseg-cityscapes", "eseg-lite-cityscapes")
    )
    assert lite_height * lite_width > height * width


@pytest.mark.parametrize("name", ["eseg-cityscapes", "eseg-lite-cityscapes"])
def test_the_steps_of_eseg_are_the_printed_484_epochs(name: str, recipe: Recipe) -> None:
    assert recipe.steps is not None
    assert round(recipe.steps * recipe.batch_size / DATA[name][0]) == 484


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("spinenet-cityscapes", "mobile-spinenet-s49"),
        ("spinenet-cityscapes", "spinenet-s49"),
        ("deeplab-cityscapes", "deeplabv3plus-r50"),
        ("spinenet-pascal-voc", "spinenet-s49"),
        ("spinenet-pascal-voc", "deeplabv3-r50"),
        ("spinenet-pascal-voc", "deeplabv3plus-r50"),
    ],
)
def test_the_aspp_of_each_model_that_a_recipe_is_for_has_the_rates_of_its_data(
    name: str, model: str, recipe: Recipe
) -> None:
    with torch.device("meta"):
        network = build(model, DATA[name][1], recipe.options)
    [aspp] = (module for module in network.modules() if isinstance(module, ASPP))
    dilations = [
        layer.dilation[0]
        for branch in aspp.branches
        for layer in branch.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert dilations == ASPP_RATES[name]


def test_deeplab_on_cityscapes_has_the_size_that_table_6_prints() -> None:
    recipe = load_recipe("deeplab-cityscapes")
    with torch.device("meta"):
        network = build(recipe.model, 19, recipe.options)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(76e6, rel=0.01)
