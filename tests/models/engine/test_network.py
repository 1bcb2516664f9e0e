import copy

import torch
from torch import nn

from models.engine.network import EagerNetwork
from models.weights.card import Preprocessing


def test_an_eager_network_is_its_module_after_normalisation_with_batch_norms_folded() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU())
    module[1].running_mean = torch.randn(5)
    preprocessing = Preprocessing(long_side=96, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    network = EagerNetwork(copy.deepcopy(module), preprocessing, device=torch.device("cpu"), dtype=torch.float32)
    photos = torch.randint(256, (2, 8, 9, 3), dtype=torch.uint8)
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    with torch.inference_mode():
        expected = module.eval()(((photos / 255 - mean) / std).permute(0, 3, 1, 2))
        torch.testing.assert_close(network(photos), expected)
    assert (network.kind, network.device.type, network.dtype) == ("eager", "cpu", torch.float32)
