import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from models.training.float32_convolutions import keep_in_float32
from models.zoo.registry import build


def gradient(network: nn.Module, photos: Tensor, *, bfloat16: bool) -> Tensor:
    """Of the first kernel."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        outputs = network(photos)
    torch.manual_seed(1)
    outputs.backward(torch.randn(outputs.shape).to(outputs.dtype))
    found = next(network.parameters()).grad
    assert found is not None
    return found.clone()


@pytest.mark.parametrize(("dilation", "size"), [(2, (30, 40)), (3, (48, 64)), (12, (30, 40))])
def test_kernels_of_dilated_depthwise_convolutions_get_their_gradient(dilation: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 64, 3, padding=dilation, dilation=dilation, groups=64, bias=False)
    network = convert_conv2d_weight_memory_format(nn.Sequential(convolution), torch.channels_last)
    photos = torch.randn(4, 64, *size).contiguous(memory_format=torch.channels_last)
    right = gradient(network, photos, bfloat16=False)
    keep_in_float32(network)
    found = gradient(copy.deepcopy(network), photos, bfloat16=True)
    assert (found - right).norm() < 0.02 * right.norm()


def test_others_stay_as_they_are() -> None:
    network = build("mobile-spinenet-s49", 11)
    names = {name: tensor.shape for name, tensor in network.state_dict().items()}
    keep_in_float32(network)
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == names
    kept = {m for m in network.modules() if isinstance(m, nn.Conv2d) and type(m) is not nn.Conv2d}
    assert kept
    assert all(max(m.dilation) > 1 and m.groups == m.in_channels for m in kept)
