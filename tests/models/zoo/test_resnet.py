import pytest
import torch
from torch import nn

from models.zoo.resnet import DEPTHS, Bottleneck, ResNet


def bottlenecks(name: str) -> list[Bottleneck]:
    with torch.device("meta"):
        return [module for module in ResNet(DEPTHS[name]).modules() if isinstance(module, Bottleneck)]


def dense(block: Bottleneck) -> nn.Conv2d:
    (conv,) = (m for m in block.layers.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    return conv


@pytest.mark.parametrize(
    ("name", "halving"), [("r50", [6, 12]), ("r101", [6, 29]), ("r152", [10, 46]), ("rs50", [3, 7])]
)
def test_resnets_halve_late_and_resnet_s50_early(name: str, halving: list[int]) -> None:
    assert [i for i, block in enumerate(bottlenecks(name)) if dense(block).stride == (2, 2)] == halving


def test_the_saved_strides_become_dilations_on_a_multi_grid() -> None:
    dilations = [dense(block).dilation[0] for block in bottlenecks("r50")]
    assert dilations == [1] * 13 + [2, 4, 8, 4, 8, 16, 8, 16, 32]


@pytest.mark.parametrize("name", DEPTHS)
def test_the_first_block_of_each_stage_projects(name: str) -> None:
    counts = DEPTHS[name].bottlenecks
    starts = [sum(counts[:i]) for i in range(len(counts))]
    assert [i for i, block in enumerate(bottlenecks(name)) if isinstance(block.shortcut, nn.Sequential)] == starts


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 53), (64, 96)])
def test_a_fine_and_a_coarse_map(name: str, height: int, width: int) -> None:
    with torch.device("meta"):
        fine, coarse = ResNet(DEPTHS[name]).eval()(torch.empty(1, 3, height, width))
    assert fine.shape == (1, 256, -(-height // 4), -(-width // 4))
    assert coarse.shape == (1, 2048, -(-height // 16), -(-width // 16))


def test_an_identity_shortcut_is_subsampled() -> None:
    block = Bottleneck(8, 2, stride=2)
    # What the convolutions add is then zero.
    for parameter in block.layers.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 8, 5, 4)
    assert torch.equal(block(x), x[:, :, ::2, ::2])
