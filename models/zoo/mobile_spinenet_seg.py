"""Mobile SpineNet-Seg: SpineNet-Seg's graph of inverted bottlenecks (Rashwan et al. 2021, section 3.4 and Table 9).

The stem and the resampling are those of Mobile SpineNet (Du et al. 2020); the activation (ReLU) is a guess. The counts
rule squeeze-and-excitation out. Any input size of at least 1 x 1 works.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from models.zoo.layers import ASPP, ConvNorm, bare_separable3x3, init_weights, separable3x3
from models.zoo.options import OutputStride
from models.zoo.spinenet_seg import CITYSCAPES_RATES, TABLE, Resampler, Row, SpineNet, table_at

EXPANSION = 6
# Channels of the stem, of its level-1 block, and of the blocks that Table 2 gives the widths 64 to 512.
STEM, FIRST = 8, 16
CHANNELS = {64: 24, 128: 40, 256: 80, 512: 112}

WIDTHS = {"s49": 1.0, "s49-minus": 0.65}


@dataclass(frozen=True, slots=True)
class Head:
    """Width of ASPP and what follows it, and how many separable 3x3 convolutions stand before the classifier."""

    width: int
    convs: int


# AS_WRITTEN reads the paper's text: it has 1.75 M parameters fewer than are printed, at either width. WIDE is the
# separable head that fits the printed counts; the text says neither 512 nor two convolutions.
AS_WRITTEN = Head(256, 0)
WIDE = Head(512, 2)


class MobileSpineNetSeg(nn.Module):
    """Photo N x 3 x H x W to logits N x classes x ceil(H / s) x ceil(W / s), s the output stride.

    width: 1 for Mobile SpineNet-S49, 0.65 for S49- (channels are truncated).
    """

    def __init__(
        self,
        width: float,
        head: Head,
        num_classes: int,
        *,
        output_stride: OutputStride = 8,
        aspp_rates: tuple[int, ...] = CITYSCAPES_RATES,
    ) -> None:
        super().__init__()
        self.stride = output_stride
        table = table_at(output_stride)
        stem, first = int(width * STEM), int(width * FIRST)
        start = nn.Sequential(
            ConvNorm(3, stem, 3, stride=2, activation=nn.ReLU),
            InvertedBottleneck(stem, first),
            InvertedBottleneck(first, channels(width, TABLE[0]), stride=2),
        )
        self.backbone = SpineNet(table, start, partial(inverted_bottleneck, width), partial(resampler, width))
        self.head = nn.Sequential(
            ASPP(channels(width, table[-1]), head.width, aspp_rates, bare_separable3x3),
            *(separable3x3(head.width, head.width) for _ in range(head.convs)),
            nn.Conv2d(head.width, head.width, 3, padding=1, groups=head.width, bias=False),
            nn.Conv2d(head.width, num_classes, 1),
        )
        init_weights(self)

    def forward(self, photo: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(photo))
        return logits


def channels(width: float, row: Row) -> int:
    return int(width * CHANNELS[row.width])


def inverted_bottleneck(width: float, row: Row) -> "InvertedBottleneck":
    return InvertedBottleneck(channels(width, row), channels(width, row), dilation=row.dilation)


def resampler(width: float, source: Row, target: Row) -> Resampler:
    """A strided depthwise convolution for each halving, or nearest upsampling; then a 1x1 convolution."""
    inputs = channels(width, source)
    halvings = max(0, target.stride.bit_length() - source.stride.bit_length())
    depthwise = (ConvNorm(inputs, inputs, 3, stride=2, groups=inputs, activation=nn.ReLU) for _ in range(halvings))
    expand = ConvNorm(inputs, channels(width, target), activation=None)
    return Resampler(nn.Sequential(*depthwise), expand, factor=max(1, source.stride // target.stride))


class InvertedBottleneck(nn.Module):
    """1x1 convolution to 6 x the input's channels, depthwise 3x3 (strided, dilated), 1x1; residual where it fits."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        hidden = EXPANSION * inputs
        self.layers = nn.Sequential(
            ConvNorm(inputs, hidden, activation=nn.ReLU),
            ConvNorm(hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden, activation=nn.ReLU),
            ConvNorm(hidden, outputs, activation=None),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y
