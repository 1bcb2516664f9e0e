"""The counts are those of prototypes that reproduce the printed figures of Rashwan et al. 2021 (Tables 1, 3 and 6)."""

from functools import partial

import pytest

from models.zoo.counting import count
from models.zoo.deeplab import DeepLabV3Plus
from models.zoo.registry import architecture
from models.zoo.resnet import DEPTHS

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
    params, macs = count(partial(DeepLabV3Plus, DEPTHS["r50"], decoder="dense"), 19, 1024, 2048)
    assert params == 75_524_019
    assert macs / 1e9 == pytest.approx(1086.3, rel=1e-3)
