"""Convolutions that must not be trained in bfloat16."""

import torch
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """A convolution that autocast leaves alone."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_in_float32(network: nn.Module) -> None:
    """Let dilated depthwise convolutions, Mobile SpineNet's, stay in float32 where autocast takes others to bfloat16.

    On CPUs PyTorch 2.13 (oneDNN 3.12) computes a wrong bfloat16 gradient of their kernels, sometimes an infinite one,
    in channels last on maps of 30 x 40 and more; their outputs and the gradient of their inputs are right.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.dilation) > 1:
            # The class alone, so that copies of the network stay whole.
            module.__class__ = Float32Conv2d
