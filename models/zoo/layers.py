"""Building blocks that more than one family uses.

Tensors are float, N x C x H x W. "Same" padding is symmetric (k // 2, times the dilation): a stride-2 layer makes a
side n ceil(n / 2).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
# Of a map, with kernel, stride and padding.
Pooling = Callable[[Tensor, int, int, int], Tensor]
# Of input channels, output channels and dilation.
Conv3x3 = Callable[[int, int, int], nn.Module]


class ConvNorm(nn.Sequential):
    """k x k convolution without bias, batch norm, and (unless None) an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: Activation | None,
    ) -> None:
        padding = dilation * (kernel // 2)
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False),
            batch_norm(out_channels),
        ]
        if activation is not None:
            layers.append(activation())
        super().__init__(*layers)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with EfficientNet's constants: epsilon 1e-3, running statistics kept with momentum 0.99."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def conv3x3(inputs: int, outputs: int, dilation: int = 1) -> ConvNorm:
    return ConvNorm(inputs, outputs, 3, dilation=dilation, activation=nn.ReLU)


def separable3x3(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and 1x1 convolution, each with batch norm and ReLU."""
    depthwise = ConvNorm(inputs, inputs, 3, dilation=dilation, groups=inputs, activation=nn.ReLU)
    return nn.Sequential(depthwise, ConvNorm(inputs, outputs, activation=nn.ReLU))


def bare_separable3x3(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 convolution, nothing between, then 1x1 convolution with batch norm and ReLU."""
    depthwise = nn.Conv2d(inputs, inputs, 3, 1, dilation, dilation, inputs, bias=False)
    return nn.Sequential(depthwise, *ConvNorm(inputs, outputs, activation=nn.ReLU))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: N x inputs x h x w to N x width x h x w (Chen et al. 2017, DeepLabv3, 3.3).

    A 1x1 branch, one dilated 3x3 branch a rate and the image's mean, side by side, projected to `width`. Batch norm of
    the mean needs a batch of two or more in training. The dropout rate is a public implementation's default.
    """

    def __init__(self, inputs: int, width: int, rates: Sequence[int], conv: Conv3x3 = conv3x3) -> None:
        super().__init__()
        pointwise = ConvNorm(inputs, width, activation=nn.ReLU)
        self.branches = nn.ModuleList([pointwise, *(conv(inputs, width, rate) for rate in rates)])
        self.image = ConvNorm(inputs, width, activation=nn.ReLU)
        self.project = nn.Sequential(ConvNorm((len(rates) + 2) * width, width, activation=nn.ReLU), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.branches]
        mean = self.image(x.mean((2, 3), keepdim=True))
        pooled: Tensor = self.project(torch.cat([*maps, mean.expand_as(maps[0])], 1))
        return pooled


class SqueezeExcite(nn.Module):
    """Channel gate: global mean, 1x1 to `reduced`, activation, 1x1 back, sigmoid (Hu et al. 2018)."""

    def __init__(self, channels: int, reduced: int, activation: Activation) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, reduced, 1), activation(), nn.Conv2d(reduced, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x.mean((2, 3), keepdim=True))
        return gated


def init_weights(network: nn.Module) -> None:
    """He initialisation (fan out) of every convolution, zero biases: for networks trained from scratch."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def upsample(x: Tensor, factor: int, size: Sequence[int], mode: str) -> Tensor:
    """`x` enlarged by `factor`, cut at the right and bottom to `size` (H, W); "bilinear" uses align_corners False.

    Never by what the sizes' ratio happens to be: 3 cells made of 5 are still twice as wide, and to squeeze them into 5
    would shift what they say by up to a cell.
    """
    if factor > 1:
        x = F.interpolate(x, scale_factor=factor, mode=mode, align_corners=False if mode == "bilinear" else None)
    return x[..., : size[0], : size[1]]


def halve(x: Tensor, pool: Pooling) -> Tensor:
    """3x3 stride-2 pooling of `x`: a side n becomes ceil(n / 2)."""
    return pool(x, 3, 2, 1)


def average_pool(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Mean over the positions inside the map (padding does not dilute the border)."""
    return F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)


def max_pool(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    return torch.max_pool2d(x, kernel, stride, padding)
