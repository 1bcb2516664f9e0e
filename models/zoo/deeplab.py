"""DeepLabv3 and DeepLabv3+ on ResNets: the baselines of Li et al. 2021, "Dilated SpineNet for Semantic Segmentation".

Chen et al. 2017 ("Rethinking Atrous Convolution") and 2018 ("Encoder-Decoder with Atrous Separable Convolution").
Any input size of at least 1 x 1 works.
"""

import torch
from torch import Tensor, nn

from models.zoo.layers import ASPP, Conv3x3, ConvNorm, init_weights, separable3x3, upsample
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
    convolutions on Cityscapes (Table 6): decoder=conv3x3.
    """

    stride = 4

    def __init__(self, depth: Depth, num_classes: int, *, decoder: Conv3x3 = separable3x3) -> None:
        super().__init__()
        self.backbone = ResNet(depth)
        self.aspp = ASPP(2048, 256, RATES)
        self.lateral = ConvNorm(256, 48, activation=nn.ReLU)
        self.decoder = nn.Sequential(decoder(256 + 48, 256, 1), decoder(256, 256, 1))
        self.classifier = nn.Conv2d(256, num_classes, 1)
        init_weights(self)

    def forward(self, photo: Tensor) -> Tensor:
        fine, coarse = self.backbone(photo)
        context = upsample(self.aspp(coarse), 4, fine, "bilinear")
        logits: Tensor = self.classifier(self.decoder(torch.cat([context, self.lateral(fine)], 1)))
        return logits
