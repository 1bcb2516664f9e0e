"""A training recipe: every number that shapes a run, as data. The shipped ones lie in models/training/recipes/."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from models.training.layouts import LayoutName
from models.validation import explain
from models.zoo.options import Options

RECIPES = Path(__file__).parent / "recipes"


class RecipeError(Exception):
    """A recipe that does not exist or does not parse; the message says what to change."""


class Recipe(BaseModel):
    """Sizes are pixels, height before width; rates are per optimiser step.

    New fields need defaults: a run resumes with the recipe that its state.pt holds, which may be older than they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Where the numbers come from."""
    model: str
    """The architecture."""
    options: Options | None = None
    """Of the architecture; None: as its name has them."""
    label_set: str
    layout: LayoutName = "plain"
    """How the dataset's folders lie (models/training/layouts.py)."""
    train_split: str = "train"
    val_split: str = "val"
    data: str
    """What it trains on, for the model card."""
    licence: str
    """What the resulting weights may be used for."""

    epochs: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    """Optimiser steps, where the source counts those; a recipe has either this or epochs."""
    batch_size: int = Field(ge=2)
    """At least 2: the coarsest level can be one pixel, and batch norm needs two values."""
    accumulate: int = Field(default=1, ge=1)
    """Parts of a batch that are put through the network one after the other, where all at once needs too much memory.
    The gradient is their mean; norms and hard examples are of a part."""
    seed: int = Field(default=0, ge=0)
    """Of the order, the views and dropout. A later stage needs another, or it sees the views of the first again."""
    long_side: int = Field(gt=0)
    """Photos are scaled down to this long side for validation and serving."""
    enlarge: float = Field(default=1.0, ge=1, le=4)
    """Smaller ones are scaled up towards it by at most this factor."""
    brightness: float | None = Field(default=None, gt=0, lt=1)
    """Photos of a lower mean, 0..1, are brightened by gamma to about it, for training, validation and serving."""

    crop: tuple[PositiveInt, PositiveInt]
    scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    """Of the photo's own size: scale jitter, uniform in the logarithm."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a left-right flip."""
    photometric: float = Field(default=0.0, ge=0, le=1)
    """Strength of the brightness, contrast, saturation, hue, white balance and gamma jitter; 0 is none."""
    copy_paste: float = Field(default=0.0, ge=0, le=1)
    """Probability that a view gets the pixels of rare classes of another photo's view (Ghiasi et al. 2021)."""

    optimiser: Literal["sgd", "adamw"]
    learning_rate: float = Field(gt=0)
    """Peak: linear warm-up to it, then a cosine to zero."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD."""
    weight_decay: float = Field(ge=0)
    """Of kernels alone: norms, biases and fusion weights have none."""
    clip_gradient_norm: float | None = Field(default=None, gt=0)
    ema_decay: float = Field(ge=0, lt=1)
    """Of the exponential moving average of the weights, which is what is scored and saved (but see init_share)."""
    init_share: float = Field(default=0.0, ge=0, lt=1)
    """Of what is scored and saved, the share that is the weights the run began with, not their average. Above 0 a run
    needs --init, with weights of the whole network."""
    batch_norm_momentum: float | None = Field(default=None, ge=0, lt=1)
    """The share of its running statistics that a batch norm keeps at a step; None: as the architecture has it."""

    level_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a step leaves out a photo's map of a level, for each of ESeg's levels from P5 on."""
    channel_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a step leaves out a channel of what ESeg's classifier sees (Tompson et al. 2015)."""

    class_weights: Literal["none", "inverse-log"] = "none"
    """inverse-log: 1 / ln(1.02 + a class's share of the pixels) (Paszke et al. 2016, ENet), scaled to a mean of 1."""
    ohem_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Online hard example mining: only pixels whose true class got less than this probability count."""
    ohem_kept: float = Field(default=0.0, ge=0, le=1)
    """But always at least this share of the pixels, the hardest."""
    jaccard: float = Field(default=0.0, ge=0)
    """Weight of the soft Jaccard term beside the cross entropy."""
    loss_step: int = Field(default=1, ge=1)
    """The loss looks at every so many rows and columns. Neighbours say much the same: 3 takes a ninth of the work."""

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        return self

    @model_validator(mode="after")
    def _scales_upwards(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale is the smallest, then the largest")
        return self

    @model_validator(mode="after")
    def _mines_by_a_threshold(self) -> Self:
        if self.ohem_kept > 0 and self.ohem_threshold is None:
            raise ValueError("ohem_kept needs ohem_threshold")
        return self


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or a TOML file by path. Raises RecipeError."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise RecipeError(f"no recipe '{name}': give the path of a .toml file or one of: {shipped}")
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError(f"{path}: {explain(error)}") from error
