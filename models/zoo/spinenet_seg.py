"""SpineNet-Seg: a scale-permuted backbone and a DeepLabv3 head (Rashwan et al. 2021, "Dilated SpineNet for Semantic
Segmentation").

Any input size of at least 1 x 1 works. The activation (ReLU), the stem and the resampling are those of the original
SpineNet (Du et al. 2020): this paper names none. No endpoint convolution follows the output block.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from models.zoo.layers import ASPP, ConvNorm, conv3x3, init_weights, upsample
from models.zoo.options import OutputStride
from models.zoo.resnet import Bottleneck, stem


@dataclass(frozen=True, slots=True)
class Row:
    """One row of Table 2: its permuted level, cross-scale parent, level adjustment, dilation and feature dimension.

    `width` is the 3x3 convolution's, already that of the adjusted level; a block's output is 4 times as wide.
    """

    level: int
    parent: int
    adjustment: int
    dilation: int
    width: int

    @property
    def stride(self) -> int:
        """No block is coarser than 1/16: levels 5 to 7 are the baseline's stages of that name, all at stride 16."""
        return 1 << min(self.level + self.adjustment, 4)


# B0 has the stem before it, and B1 has B0, without resampling: their parents are not read. B21 is the output block.
TABLE = (
    Row(2, 0, 0, 1, 64),
    Row(2, 0, 0, 1, 64),
    Row(3, 0, -1, 1, 64),
    Row(4, 1, -1, 2, 128),
    Row(3, 1, 0, 1, 128),
    Row(3, 2, 0, 1, 128),
    Row(6, 3, 0, 1, 512),
    Row(6, 5, -1, 2, 512),
    Row(7, 4, 0, 1, 512),
    Row(7, 6, 0, 4, 512),
    Row(5, 6, 0, 1, 512),
    Row(5, 7, 0, 2, 512),
    Row(4, 8, 0, 4, 256),
    Row(4, 9, 0, 1, 256),
    Row(5, 11, 0, 4, 512),
    Row(4, 11, 0, 4, 256),
    Row(4, 12, 0, 1, 256),
    Row(2, 14, 0, 4, 64),
    Row(7, 16, -1, 2, 512),
    Row(6, 15, 0, 1, 512),
    Row(4, 17, -1, 4, 128),
    Row(3, 0, 0, 1, 128),
)

# Rates of the ASPP (sections 5.2, 5.3).
VOC_RATES = (12, 24, 36)
CITYSCAPES_RATES = (12, 24, 36, 72)


@dataclass(frozen=True, slots=True)
class Size:
    """Copies of every block, width multiplier (section 3.3), and 3x3 convolutions between ASPP and classifier (4)."""

    repeats: int
    width: float
    convs: int


SIZES = {
    "s49": Size(1, 1.0, 0),
    "s96": Size(2, 1.0, 0),
    "s143": Size(3, 1.0, 0),
    "s143-plus": Size(3, 1.3, 2),
}


class SpineNetSeg(nn.Module):
    """Photo N x 3 x H x W to logits N x classes x ceil(H / s) x ceil(W / s), s the output stride.

    The output stride moves the output block and its two resamplers alone (section 3.3). At 1.3 times the width the
    output block is widened too: a guess, 3 % above Table 6's multiply-adds (at stride 8; at 4 it would be 36 %).
    """

    def __init__(
        self, size: Size, num_classes: int, *, output_stride: OutputStride = 8, aspp_rates: tuple[int, ...] = VOC_RATES
    ) -> None:
        super().__init__()
        self.stride = output_stride
        table = table_at(output_stride)
        inner = int(size.width * TABLE[0].width)
        start = nn.Sequential(stem(), Bottleneck(64, inner, project=True), *bottlenecks(size, TABLE[0], skip=1))
        self.backbone = SpineNet(table, start, partial(bottlenecks, size), partial(resampler, size))
        self.head = nn.Sequential(
            ASPP(4 * int(size.width * table[-1].width), 256, aspp_rates),
            *(conv3x3(256, 256) for _ in range(size.convs)),
            nn.Conv2d(256, num_classes, 3, padding=1),
        )
        init_weights(self)

    def forward(self, photo: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(photo))
        return logits


def table_at(output_stride: OutputStride) -> tuple[Row, ...]:
    return (*TABLE[:-1], replace(TABLE[-1], level=output_stride.bit_length() - 1))


def bottlenecks(size: Size, row: Row, skip: int = 0) -> nn.Sequential:
    """The copies of one block but for the first `skip`."""
    inner = int(size.width * row.width)
    blocks = (Bottleneck(4 * inner, inner, dilation=row.dilation) for _ in range(size.repeats - skip))
    return nn.Sequential(*blocks)


def resampler(size: Size, source: Row, target: Row) -> "Resampler":
    """Half the source's inner width in between, for all sizes (alpha 0.5; this paper names none, the counts fit it)."""
    source_inner, target_inner = int(size.width * source.width), int(size.width * target.width)
    middle = source_inner // 2
    layers: list[nn.Module] = [ConvNorm(4 * source_inner, middle, activation=nn.ReLU)]
    if source.stride < target.stride:
        layers.append(ConvNorm(middle, middle, 3, stride=2, activation=nn.ReLU))
    if 2 * source.stride < target.stride:
        layers.append(nn.MaxPool2d(3, 2, 1))
    expand = ConvNorm(middle, 4 * target_inner, activation=None)
    return Resampler(nn.Sequential(*layers), expand, factor=max(1, source.stride // target.stride))


class SpineNet(nn.Module):
    """The graph of `table`: photo N x 3 x H x W to the output block's map.

    start: stem and B0. block: makes the copies of a row's block. resample: makes the way from one row to another.
    """

    def __init__(
        self,
        table: tuple[Row, ...],
        start: nn.Module,
        block: Callable[[Row], nn.Module],
        resample: Callable[[Row, Row], "Resampler"],
    ) -> None:
        super().__init__()
        self.rows = table[2:]
        self.start = start
        self.second = block(table[1])
        self.nodes = nn.ModuleList(
            Node(resample(previous, row), resample(table[row.parent], row), block(row))
            for previous, row in zip(table[1:-1], self.rows, strict=True)
        )

    def forward(self, photo: Tensor) -> Tensor:
        maps: list[Tensor] = [self.start(photo)]
        maps.append(self.second(maps[0]))
        for row, node in zip(self.rows, self.nodes, strict=True):
            size = [(side + row.stride - 1) // row.stride for side in photo.shape[2:]]
            maps.append(node(maps[-1], maps[row.parent], size))
        return maps[-1]


class Node(nn.Module):
    """A block whose input is the sum of the block before it and its cross-scale parent, both resampled; then ReLU."""

    def __init__(self, previous: "Resampler", parent: "Resampler", block: nn.Module) -> None:
        super().__init__()
        self.previous = previous
        self.parent = parent
        self.activation = nn.ReLU()
        self.block = block

    def forward(self, previous: Tensor, parent: Tensor, size: list[int]) -> Tensor:
        fused = self.previous(previous, size) + self.parent(parent, size)
        y: Tensor = self.block(self.activation(fused))
        return y


class Resampler(nn.Module):
    """A map in the channels and the resolution of another: `reduce`, nearest upsampling by `factor`, `expand`."""

    def __init__(self, reduce: nn.Module, expand: nn.Module, *, factor: int) -> None:
        super().__init__()
        self.reduce = reduce
        self.expand = expand
        self.factor = factor

    def forward(self, x: Tensor, size: list[int]) -> Tensor:
        y: Tensor = self.expand(upsample(self.reduce(x), self.factor, size, "nearest"))
        return y
