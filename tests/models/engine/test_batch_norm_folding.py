import copy

import pytest
import torch
from torch import nn

from models.engine.batch_norm_folding import fold_batch_norm
from models.zoo.registry import ARCHITECTURES, build


def trained(network: nn.Module) -> nn.Module:
    """`network` as after training: its batch norms have statistics, scales and shifts."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return network.eval()


@torch.inference_mode()
def test_outputs_stay_and_no_norm_is_left() -> None:
    torch.manual_seed(0)
    network = trained(build("eseg-lite-s", 11))
    folded = fold_batch_norm(copy.deepcopy(network))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(2, 3, 64, 96)
    expected = network(x)
    assert (folded(x) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_has_its_norms_folded(name: str) -> None:
    with torch.device("meta"):
        network = build(name, 7).eval()
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


@torch.inference_mode()
def test_a_norm_after_something_else_stays() -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    x = torch.randn(1, 3, 5, 5)
    expected = network(x)
    assert torch.equal(fold_batch_norm(network)(x), expected)
