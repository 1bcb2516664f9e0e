"""ESeg: an EfficientNet encoder and a BiFPN over P2..P9 (Meng et al. 2022, "Revisiting Multi-Scale Feature Fusion").

The Lite sizes fuse the expansion and depthwise convolutions, use ReLU, no squeeze-and-excitation, and start at P3
(section 4.3). Level i has 1 / 2**i of the input's resolution. Any input size of at least 1 x 1 works.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.zoo.layers import (
    Activation,
    ConvNorm,
    SqueezeExcite,
    average_pool,
    batch_norm,
    halve,
    init_weights,
    max_pool,
    upsample,
)

# EfficientNet-B0's stages (Tan & Le 2019, Table 1): kernel, stride, expansion, channels, repeats.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# The stages (from 1) whose outputs are P1..P5.
TAPS = {1: 1, 2: 2, 3: 3, 5: 4, 7: 5}
TOP_LEVEL = 9


@dataclass(frozen=True, slots=True)
class Size:
    """One row of the paper's Table 3, and whether it is a Lite model."""

    width: float
    depth: float
    channels: int
    repeats: int
    lite: bool


SIZES = {
    "lite-s": Size(0.4, 0.6, 64, 1, lite=True),
    "lite-m": Size(0.6, 1.0, 80, 2, lite=True),
    "lite-l": Size(1.0, 1.0, 96, 3, lite=True),
    "s": Size(1.0, 1.1, 96, 4, lite=False),
    "m": Size(1.4, 1.8, 192, 5, lite=False),
    "l": Size(2.0, 3.1, 288, 6, lite=False),
}


class ESeg(nn.Module):
    """Photo N x 3 x H x W to logits N x classes x ceil(H / s) x ceil(W / s): s = 4, Lite 8."""

    def __init__(self, size: Size, num_classes: int) -> None:
        super().__init__()
        base = 3 if size.lite else 2
        activation: Activation = nn.ReLU if size.lite else nn.SiLU
        self.stride = 2**base
        self.first_coarse = 5 - base
        self.encoder = Encoder(size, activation, base)
        taps = self.encoder.channels
        laterals = taps + [taps[-1]] * (TOP_LEVEL - 5)
        self.laterals = nn.ModuleList(lateral(c, size.channels) for c in laterals)
        self.bifpn = nn.Sequential(*(BiFPN(len(laterals), size.channels, activation) for _ in range(size.repeats)))
        self.level_weights = nn.Parameter(torch.ones(len(laterals)))
        self.classifier = nn.Conv2d(size.channels, num_classes, 3, padding=1)
        # Not the paper's, and off unless a recipe sets their rates.
        self.level_dropout, self.channel_dropout = nn.Dropout3d(0), nn.Dropout2d(0)
        init_weights(self)

    def forward(self, photo: Tensor) -> Tensor:
        levels: list[Tensor] = self.encoder(photo)
        while len(levels) < len(self.laterals):
            levels.append(halve(levels[-1], average_pool))
        levels = [project(level) for project, level in zip(self.laterals, levels, strict=True)]
        if self.training:
            for i in range(self.first_coarse, len(levels)):
                levels[i] = self.level_dropout(levels[i][:, None])[:, 0]
        levels = self.bifpn(levels)
        weights = self.level_weights.softmax(0)
        fused = levels[0] * weights[0]
        for finer, (weight, level) in enumerate(zip(weights[1:], levels[1:], strict=True), start=1):
            fused = fused + upsample(weight * level, 2**finer, fused.shape[2:], "bilinear")
        if self.training:
            fused = self.channel_dropout(fused)
        logits: Tensor = self.classifier(fused)
        return logits


class Encoder(nn.Module):
    """EfficientNet scaled by width and depth, without its classifier: the levels from `base` to P5, finest first."""

    def __init__(self, size: Size, activation: Activation, base: int) -> None:
        super().__init__()
        block = FusedMBConv if size.lite else MBConv
        channels = round_channels(32 * size.width)
        self.stem = ConvNorm(3, channels, 3, stride=2, activation=activation)
        self.stages = nn.ModuleList()
        self.channels: list[int] = []
        self.tapped: list[bool] = []
        for number, (kernel, stride, expansion, stage_channels, repeats) in enumerate(STAGES, start=1):
            out = round_channels(stage_channels * size.width)
            blocks = nn.Sequential()
            for index in range(math.ceil(repeats * size.depth)):
                blocks.append(block(channels, out, kernel, stride if index == 0 else 1, expansion, activation))
                channels = out
            self.stages.append(blocks)
            self.tapped.append(TAPS.get(number, 0) >= base)
            if self.tapped[-1]:
                self.channels.append(channels)

    def forward(self, photo: Tensor) -> list[Tensor]:
        x = self.stem(photo)
        levels = []
        for stage, tapped in zip(self.stages, self.tapped, strict=True):
            x = stage(x)
            if tapped:
                levels.append(x)
        return levels


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, raised by 8 where rounding would lose more than a tenth (EfficientNet)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze-and-excitation at a quarter of the input width."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, act: Activation) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [ConvNorm(inputs, hidden, activation=act)]
        layers += [
            ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden, activation=act),
            SqueezeExcite(hidden, max(1, int(0.25 * inputs)), act),
            ConvNorm(hidden, outputs, activation=None),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class FusedMBConv(nn.Module):
    """Dense k x k convolution to the hidden width, then 1x1 (Gupta & Tan 2019); at expansion 1 the first alone."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, act: Activation) -> None:
        super().__init__()
        if expansion == 1:
            self.layers = nn.Sequential(ConvNorm(inputs, outputs, kernel, stride=stride, activation=act))
        else:
            self.layers = nn.Sequential(
                ConvNorm(inputs, inputs * expansion, kernel, stride=stride, activation=act),
                ConvNorm(inputs * expansion, outputs, activation=None),
            )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


def lateral(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), batch_norm(outputs))


class BiFPN(nn.Module):
    """One top-down and one bottom-up pass over the levels, finest first (EfficientDet, Tan et al. 2020, 3.3)."""

    def __init__(self, levels: int, channels: int, activation: Activation) -> None:
        super().__init__()
        self.top_down = nn.ModuleList(FusionNode(2, channels, activation) for _ in range(levels - 1))
        middle = [FusionNode(3, channels, activation) for _ in range(levels - 2)]
        self.bottom_up = nn.ModuleList([*middle, FusionNode(2, channels, activation)])

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        down = list(levels)
        for i in range(len(levels) - 2, -1, -1):
            down[i] = self.top_down[i](levels[i], upsample(down[i + 1], 2, levels[i].shape[2:], "nearest"))
        up = down[:1]
        for i, node in enumerate(self.bottom_up, start=1):
            inputs = [levels[i], halve(up[-1], max_pool)]
            if i < len(levels) - 1:
                inputs.insert(1, down[i])
            up.append(node(*inputs))
        return up


class FusionNode(nn.Module):
    """Fast normalised fusion of same-sized maps, activation, separable 3x3 convolution, batch norm."""

    def __init__(self, inputs: int, channels: int, activation: Activation) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.layers = nn.Sequential(
            activation(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1),
            batch_norm(channels),
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        weights = self.weights.relu()
        weights = weights / (weights.sum() + 1e-4)
        fused = inputs[0] * weights[0]
        for weight, x in zip(weights[1:], inputs[1:], strict=True):
            fused = fused + weight * x
        y: Tensor = self.layers(fused)
        return y
