"""The counts are those of prototypes that reproduce the printed figures of Li et al. 2021 (Tables 1, 3 and 6)."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from models.engine.batch_norm_folding import fold_batch_norm
from models.zoo.counting import count
from models.zoo.deeplab import DeepLabV3Plus
from models.zoo.layers import conv3x3
from models.zoo.registry import architecture, build
from models.zoo.resnet import DEPTHS, Depth

# Of the registry's networks, 21 classes at 512 x 512.
PARAMS = {
    "deeplabv3-r50": 74_220_885,
    "deeplabv3-r101": 93_213_013,
    "deeplabv3-r152": 108_856_661,
    "deeplabv3plus-r50": 74_383_813,
    "deeplabv3plus-r101": 93_375_941,
    "deeplabv3plus-r152": 109_019_589,
    "deeplabv3plus-rs50": 74_383_813,
}
GIGA_MACS = {
    "deeplabv3-r50": 114.4,
    "deeplabv3-r101": 192.0,
    "deeplabv3-r152": 269.5,
    "deeplabv3plus-r50": 117.1,
    "deeplabv3plus-r101": 194.7,
    "deeplabv3plus-r152": 272.2,
    "deeplabv3plus-rs50": 86.5,
}


@pytest.fixture(scope="module")
def shallow() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DeepLabV3Plus(Depth((1, 2, 1, 1, 1, 1)), 5).eval().requires_grad_(False)


@pytest.mark.parametrize("name", PARAMS)
def test_counts_on_voc(name: str) -> None:
    params, macs = count(architecture(name).build, 21, 512, 512)
    assert params == PARAMS[name]
    assert macs / 1e9 == pytest.approx(GIGA_MACS[name], rel=1e-3)


@pytest.mark.parametrize("name", PARAMS)
def test_the_printed_figures_are_near(name: str) -> None:
    network = architecture(name)
    params, macs = count(network.build, 21, 512, 512)
    assert network.paper.at == (512, 512)
    assert network.paper.num_classes == 21
    assert macs == pytest.approx(network.paper.macs, rel=0.02)
    if network.paper.params is not None:
        assert params == pytest.approx(network.paper.params, rel=0.01)


def test_counts_on_cityscapes_with_a_dense_decoder() -> None:
    params, macs = count(partial(DeepLabV3Plus, DEPTHS["r50"], decoder=conv3x3), 19, 1024, 2048)
    assert params == 75_524_019
    assert macs / 1e9 == pytest.approx(1086.3, rel=1e-3)


@pytest.mark.parametrize("name", PARAMS)
def test_a_side_of_the_logits_is_that_of_the_photo_over_the_stride_rounded_up(name: str) -> None:
    stride = 4 if name.startswith("deeplabv3plus") else 16
    with torch.device("meta"):
        network = build(name, 7).eval()
        assert network.stride == stride
        for height, width in ((1, 1), (1, 500), (37, 53), (65, 33), (511, 513)):
            logits = network(torch.empty(2, 3, height, width))
            assert logits.shape == (2, 7, math.ceil(height / stride), math.ceil(width / stride))


@pytest.mark.parametrize("name", PARAMS)
def test_every_batch_norm_folds_into_a_convolution(name: str) -> None:
    with torch.device("meta"):
        network = fold_batch_norm(build(name, 7).eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 53)])
def test_real_photos_of_odd_sizes_get_finite_logits(shallow: nn.Module, height: int, width: int) -> None:
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    logits = shallow(x)
    assert logits.shape == (1, 5, math.ceil(height / 4), math.ceil(width / 4))
    assert logits.isfinite().all()
