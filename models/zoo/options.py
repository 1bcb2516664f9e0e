"""What the papers vary under one architecture's name."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

OutputStride = Literal[4, 8, 16]
Decoder = Literal["separable", "dense"]


class Options(BaseModel):
    """Given to a network's constructor by name; None: as the registry has it. All are Rashwan et al. 2021."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_stride: OutputStride | None = None
    """Of SpineNet-Seg, mobile or not: 1 / this of the photo's resolution has the output block (section 3.3)."""
    aspp_rates: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
    """Of SpineNet-Seg's ASPP, mobile or not: three on PASCAL VOC (section 5.2), four on Cityscapes (5.3)."""
    decoder: Decoder | None = None
    """Of DeepLabv3+: its convolutions, which the figures of Table 3 show to be separable, those of Table 6 dense."""

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in self if value is not None}
