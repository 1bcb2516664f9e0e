"""Every family at made-up sizes: all kinds of layers that the real networks have, and little work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from models.zoo import eseg, spinenet_seg
from models.zoo.deeplab import DeepLabV3, DeepLabV3Plus
from models.zoo.eseg import ESeg
from models.zoo.mobile_spinenet_seg import Head, MobileSpineNetSeg
from models.zoo.resnet import Depth
from models.zoo.spinenet_seg import CITYSCAPES_RATES, SpineNetSeg
from tests.photos import street


@dataclass(frozen=True, slots=True)
class Small:
    """A network's family, the stride of its logits, and how it is built for a number of classes."""

    family: str
    stride: int
    build: Callable[..., nn.Module]


# One stage of two bottlenecks: a shortcut is subsampled in blocks after the first alone.
_DEPTH = (1, 2, 1, 1, 1, 1)

SMALL = {
    "eseg-lite": Small("eseg", 8, partial(ESeg, eseg.Size(0.1, 0.1, 8, 1, lite=True))),
    "eseg": Small("eseg", 4, partial(ESeg, eseg.Size(0.1, 0.1, 8, 1, lite=False))),
    "spinenet": Small("spinenet", 8, partial(SpineNetSeg, spinenet_seg.Size(1, 0.125, 0))),
    "spinenet-plus": Small(
        "spinenet",
        4,
        partial(SpineNetSeg, spinenet_seg.Size(2, 0.125, 1), output_stride=4, aspp_rates=CITYSCAPES_RATES),
    ),
    "mobile-spinenet": Small("mobile-spinenet", 16, partial(MobileSpineNetSeg, 0.25, Head(16, 0), output_stride=16)),
    "mobile-spinenet-wide": Small("mobile-spinenet", 8, partial(MobileSpineNetSeg, 0.25, Head(16, 2))),
    "deeplabv3": Small("deeplabv3", 16, partial(DeepLabV3, Depth(_DEPTH))),
    "deeplabv3plus": Small("deeplabv3plus", 4, partial(DeepLabV3Plus, Depth(_DEPTH))),
    "deeplabv3plus-dense": Small(
        "deeplabv3plus", 4, partial(DeepLabV3Plus, Depth(_DEPTH, halve_last=False), decoder="dense")
    ),
}


def build_trained(name: str, num_classes: int) -> nn.Module:
    """The small network as after training, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return trained(SMALL[name].build(num_classes)).requires_grad_(False)


@torch.no_grad()
def trained(network: nn.Module) -> nn.Module:
    """`network` as after training: its batch norms have scales, shifts, and about the statistics of what they get.

    Without those the photo gets lost on its way through so many layers, and any logits look right.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(0, 0.5, generator=generator)
    photos = torch.from_numpy(np.stack([street(64, 96, seed) for seed in range(4)]))
    network.train()(photos.permute(0, 3, 1, 2) / 64 - 2)
    for norm in norms:
        assert norm.running_var is not None
        # Channels in which little happens would be amplified, and with them, unlike in trained networks, roundings.
        norm.running_var.clamp_(min=1.2 * float(norm.running_var.mean()))
    return network.eval()
