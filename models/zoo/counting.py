"""Parameters and multiply-adds of a network, counted on the meta device: nothing is allocated or computed."""

from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@cache
def count(build: Callable[[int], nn.Module], num_classes: int, height: int, width: int) -> tuple[int, int]:
    """(learnable numbers, multiply-adds of all convolutions at batch 1 up to the logits) for a height x width photo."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build(num_classes).eval()
        network(torch.empty(1, 3, height, width))
    # The counter counts a multiply and an add as two.
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2
