"""ResNets (He et al. 2016, Table 1) at output stride 16, their last stage there three times: DeepLab's backbones.

As Rashwan et al. 2021 ("Dilated SpineNet for Semantic Segmentation", section 3.2) use them. Any input size works.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from models.zoo.layers import ConvNorm


@dataclass(frozen=True, slots=True)
class Stage:
    """Bottlenecks of one inner width; `stride` belongs to one of them, `dilation` to all."""

    inner: int
    stride: int
    dilation: int


# Stages 2 to 7 (counted as in He et al.); 6 and 7 repeat stage 5. The dilations double where a stride is saved.
STAGES = (
    Stage(64, 1, 1),
    Stage(128, 2, 1),
    Stage(256, 2, 1),
    Stage(512, 1, 2),
    Stage(512, 1, 4),
    Stage(512, 1, 8),
)
# Multiplies the dilations of the three bottlenecks of each stage of width 512 (DeepLabv3; here a guess).
MULTI_GRID = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Depth:
    """Bottlenecks a stage, and whether a stage halves the resolution in its last bottleneck or in its first."""

    bottlenecks: tuple[int, ...]
    halve_last: bool = True


DEPTHS = {
    "r50": Depth((3, 4, 6, 3, 3, 3)),
    "r101": Depth((3, 4, 23, 3, 3, 3)),
    "r152": Depth((3, 8, 36, 3, 3, 3)),
    # ResNet-S50, the paper's own (section 3.2, Table 1).
    "rs50": Depth((3, 4, 6, 3, 3, 3), halve_last=False),
}


class ResNet(nn.Module):
    """Photo N x 3 x H x W to a fine map, N x 256 x ceil(H / 4) x ceil(W / 4), and a coarse one, N x 2048 x / 16."""

    def __init__(self, depth: Depth) -> None:
        super().__init__()
        self.stem = stem()
        channels = 64
        self.stages = nn.ModuleList()
        for stage, count in zip(STAGES, depth.bottlenecks, strict=True):
            blocks = nn.Sequential()
            for index in range(count):
                halves = index == (count - 1 if depth.halve_last else 0)
                stride = stage.stride if halves else 1
                dilation = stage.dilation * (MULTI_GRID[index] if stage.inner == 512 else 1)
                blocks.append(Bottleneck(channels, stage.inner, stride=stride, dilation=dilation, project=index == 0))
                channels = 4 * stage.inner
            self.stages.append(blocks)

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        fine = coarse = self.stages[0](self.stem(photo))
        for stage in self.stages[1:]:
            coarse = stage(coarse)
        return fine, coarse


def stem() -> nn.Sequential:
    """Photo to 64 channels at a quarter of its resolution."""
    return nn.Sequential(ConvNorm(3, 64, 7, stride=2, activation=nn.ReLU), nn.MaxPool2d(3, 2, 1))


class Bottleneck(nn.Module):
    """1x1 convolution to `inner`, 3x3 (strided, dilated), 1x1 to 4 x `inner` channels; shortcut; ReLU."""

    def __init__(self, inputs: int, inner: int, *, stride: int = 1, dilation: int = 1, project: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(inputs, inner, activation=nn.ReLU),
            ConvNorm(inner, inner, 3, stride=stride, dilation=dilation, activation=nn.ReLU),
            ConvNorm(inner, 4 * inner, activation=None),
        )
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = ConvNorm(inputs, 4 * inner, stride=stride, activation=None)
        elif stride > 1:
            self.shortcut = nn.MaxPool2d(1, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.shortcut(x) + self.layers(x))
        return y
