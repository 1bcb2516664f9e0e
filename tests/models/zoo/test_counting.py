from functools import partial

import torch
from torch import nn

from models.zoo.counting import count


def small(channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.Conv2d(channels, num_classes, 1)
    )


def test_counts_of_two_convolutions_by_hand() -> None:
    params, macs = count(partial(small, 8), 5, 10, 14)
    assert params == 3 * 8 * 9 + 2 * 8 + 8 * 5 + 5
    # Logits are 5 x 7.
    assert macs == 5 * 7 * (3 * 8 * 9 + 8 * 5)


def test_counting_makes_no_network() -> None:
    # 10 TB of weights, were they made.
    params, _ = count(partial(nn.Conv2d, 3, kernel_size=1_000_000, padding=500_000), 1, 8, 8)
    assert params == 3 * 10**12 + 1
    assert torch.empty(0).device.type == "cpu"
