from pathlib import Path

import pytest

from models import labelsets
from models.training.recipe import RECIPES, RecipeError, load_recipe
from models.weights.checkpoint import Checkpoint
from models.zoo.registry import ARCHITECTURES
from tests.models.training.made_up import MAKERS
from tests.models.training.runs import as_toml, make_recipe, start


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_shipped_recipes_name_what_there_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model in ARCHITECTURES
    assert recipe.label_set in labelsets.names()
    assert recipe.licence


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_a_shipped_recipe_trains_on_data_of_its_layout(
    name: str, straight: Path, dataset_dir: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(name)
    data = dataset_dir
    if recipe.layout != "plain":
        data = tmp_path / "data"
        MAKERS[recipe.layout](data)
    # In a small network's stead, which has no options.
    small = {"model": "eseg-lite-s", "options": None}
    short = small | {"epochs": None, "steps": 1, "batch_size": 2, "crop": (32, 64), "warmup_epochs": 0}
    init = straight / "last.safetensors" if recipe.init_share > 0 else None
    start(recipe.model_copy(update=short), data, tmp_path / "run", init=init).train()
    assert Checkpoint.open(tmp_path / "run/last.safetensors").card.label_set == recipe.label_set


def test_a_recipe_can_be_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(make_recipe(ohem_threshold=0.7)), encoding="utf-8")
    assert load_recipe(str(path)) == make_recipe(ohem_threshold=0.7)


def test_an_unknown_recipe_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'dream': .* one of: .*eseg-lite-s-camvid"):
        load_recipe("dream")
    with pytest.raises(RecipeError, match="no recipe"):
        load_recipe(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("epochs = 0", "epochs: Input should be greater than 0"),
        ("batch_size = 1", "batch_size: Input should be greater than or equal to 2"),
        ("crop = [48]", "crop: 1: Field required"),
        ("scale = [0.0, 2.0]", "scale: 0: Input should be greater than 0"),
        ("scale = [2.0, 0.5]", "scale is the smallest, then the largest"),
        ("flip = 2.0", "flip"),
        ("ema_decay = 1.0", "ema_decay"),
        ('layout = "coco"', "layout: Input should be 'plain', 'cityscapes', 'pascal-voc' or 'ade20k'"),
        ("batch_norm_momentum = 1.0", "batch_norm_momentum: Input should be less than 1"),
        ('optimiser = "adam"', "optimiser: Input should be 'sgd' or 'adamw'"),
        ('colour = "red"', "colour: Extra inputs are not permitted"),
        ("ohem_threshold = 1.5", "ohem_threshold"),
        ("ohem_kept = 0.5", "ohem_kept needs ohem_threshold"),
        ("seed = -1", "seed: Input should be greater than or equal to 0"),
        ("momentum = 1.5", "momentum: Input should be less than 1"),
        ("clip_gradient_norm = -1.0", "clip_gradient_norm: Input should be greater than 0"),
        ("level_dropout = 1.0", "level_dropout: Input should be less than 1"),
        ("options = {output_stride = 5}", "options: output_stride: Input should be 4, 8 or 16"),
    ],
)
def test_a_bad_value_is_named_with_its_file(line: str, reason: str, tmp_path: Path) -> None:
    key = line.partition(" ")[0]
    rest = [other for other in as_toml(make_recipe()).splitlines() if not other.startswith(f"{key} ")]
    path = tmp_path / "bad.toml"
    path.write_text("\n".join([*rest, line]), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.touch()
    with pytest.raises(RecipeError, match="source: Field required; model: Field required"):
        load_recipe(str(path))


@pytest.mark.parametrize("lengths", ["", "epochs = 2\nsteps = 3\n"])
def test_a_run_has_one_length(lengths: str, tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(as_toml(make_recipe(epochs=1)).replace("epochs = 1\n", lengths), encoding="utf-8")
    with pytest.raises(RecipeError, match="give either epochs or steps"):
        load_recipe(str(path))


@pytest.mark.parametrize("data", [b"epochs = = 3", b"\xff\xfe"])
def test_what_is_not_toml_is_said_to_be_so(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(RecipeError, match=r"bad\.toml is not TOML: "):
        load_recipe(str(path))
