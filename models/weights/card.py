"""What a checkpoint says of itself: the JSON under the key `segserve` in its safetensors header."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from models.labelsets import LabelSetError, UnknownLabelSetError, load
from models.zoo.options import Options


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocessing(_Frozen):
    """From a photo to the network's input (see models/engine/geometry.py)."""

    long_side: int = Field(gt=0)
    """The longest side, in pixels, at which the network was trained and scored; larger photos are scaled down to it."""
    enlarge: float = Field(default=1.0, ge=1, le=4)
    """Smaller photos are scaled up towards `long_side` by at most this factor: thin things need pixels."""
    brightness: float | None = Field(default=None, gt=0, lt=1)
    """Photos of a lower mean, 0..1, are brightened by gamma to about this one; None: none are."""
    grid: int = Field(default=32, gt=0)
    """Both sides of the input are padded to multiples of this many pixels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean colour, RGB, 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of the colours, RGB, 0..1."""


class Card(_Frozen):
    """A checkpoint's own description."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(ge=1)
    architecture: str
    options: Options | None = None
    """Of the architecture, where they are not the registry's."""
    label_set: str
    num_classes: int = Field(ge=2, le=255)
    input_size: tuple[PositiveInt, PositiveInt]
    """Height and width, in pixels, of the photos that it was scored on."""
    preprocessing: Preprocessing
    licence: str
    """What the weights may be used for, in a sentence."""
    data: str
    """What they were trained on."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Measured scores, such as "val_miou", 0..1."""

    @model_validator(mode="after")
    def _agrees_with_its_label_set(self) -> Self:
        try:
            classes = len(load(self.label_set).classes)
        except (UnknownLabelSetError, LabelSetError) as error:
            raise ValueError(str(error)) from error
        if classes != self.num_classes:
            raise ValueError(f"num_classes is {self.num_classes}, but {self.label_set} has {classes}")
        return self
