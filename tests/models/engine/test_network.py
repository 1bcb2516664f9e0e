import copy

import torch
from torch import nn

from models.engine.network import EagerNetwork


def test_an_eager_network_is_its_module_with_batch_norms_folded() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU())
    module[1].running_mean = torch.randn(5)
    network = EagerNetwork(copy.deepcopy(module), device=torch.device("cpu"), dtype=torch.float32)
    batch = torch.randn(2, 3, 8, 9)
    with torch.inference_mode():
        torch.testing.assert_close(network(batch), module.eval()(batch))
    assert (network.kind, network.device.type, network.dtype) == ("eager", "cpu", torch.float32)
