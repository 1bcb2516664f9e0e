"""DeepLabv3 and DeepLabv3+ on ResNets: the baselines of Rashwan et al. 2021, "Dilated SpineNet for Semantic
Segmentation".

Chen et al. 2017 ("Rethinking Atrous Convolution") and 2018 ("Encoder-Decoder with Atrous Separable Convolution").
Any input size of at least 1 x 1 works.
"""

import torch
from torch import Tensor, nn

from models.zoo.layers import ASPP, ConvNorm, conv3x3, init_weights, separable3x3, upsample
from models.zoo.options import Decoder
from models.zoo.resnet import Depth, ResNet

RATES = (12, 24, 36)


class DeepLabV3(nn.Module):
    """Photo N x 3 x H x W to logits N x classes x ceil(H / 16) x ceil(W / 16)."""

    stride = 16

    def __init__(self, depth: Depth, num_classes: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth)
        self.head = nn.Sequential(ASPP(2048, 256, RATES), nn.Conv2d(256, num_classes, 1))
        init_weights(self)

    def forward(self, photo: Tensor) -> Tensor:
        _, coarse = self.backbone(photo)
        logits: Tensor = self.head(coarse)
        return logits


class DeepLabV3Plus(nn.Module):
    """Photo N x 3 x H x W to logits N x classes x ceil(H / 4) x ceil(W / 4).

    The printed figures fit a decoder of separable convolutions on VOC (Table 3), the default here, and one of dense
    convolutions on Cityscapes (Table 6).
    """

    stride = 4

    def __init__(self, depth: Depth, num_classes: int, *, decoder: Decoder = "separable") -> None:
        super().__init__()
        self.backbone = ResNet(depth)
        self.aspp = ASPP(2048, 256, RATES)
        self.lateral = ConvNorm(256, 48, activation=nn.ReLU)
        conv = conv3x3 if decoder == "dense" else separable3x3
        self.decoder = nn.Sequential(conv(256 + 48, 256), conv(256, 256))
        self.classifier = nn.Conv2d(256, num_classes, 1)
        init_weights(self)

    def forward(self, photo: Tensor) -> Tensor:
        fine, coarse = self.backbone(photo)
        context = upsample(self.aspp(coarse), 4, fine.shape[2:], "bilinear")
        logits: Tensor = self.classifier(self.decoder(torch.cat([context, self.lateral(fine)], 1)))
        return logits
