import copy

import torch
from torch import nn

from models.engine.batch_norm_folding import fold_batch_norm
from tests.models.zoo.small_networks import trained


@torch.inference_mode()
def test_a_norm_after_a_convolution_becomes_part_of_it() -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()))
    folded = fold_batch_norm(copy.deepcopy(network))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(2, 3, 9, 7)
    torch.testing.assert_close(folded(x), network(x))


@torch.inference_mode()
def test_a_norm_after_something_else_stays() -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    x = torch.randn(1, 3, 5, 5)
    expected = network(x)
    assert torch.equal(fold_batch_norm(network)(x), expected)
