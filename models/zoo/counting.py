"""Parameters and multiply-adds of a network, counted on the meta device: nothing is allocated or computed."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn


@cache
def count(build: Callable[[int], nn.Module], num_classes: int, height: int, width: int) -> tuple[int, int]:
    """(learnable numbers, multiply-adds of all convolutions at batch 1 up to the logits) for a height x width photo."""
    macs = 0

    def add(convolution: nn.Conv2d, _: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        # Each output is a sum over one filter.
        macs += output.numel() * convolution.weight[0].numel()

    with torch.device("meta"), torch.no_grad():
        network = build(num_classes).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(add)
        network(torch.empty(1, 3, height, width))
    return sum(p.numel() for p in network.parameters()), macs
