"""The counts are those of prototypes that reproduce the paper's printed figures (Rashwan et al. 2021, Tables 3
and 6)."""

from collections import Counter
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.zoo.counting import count
from models.zoo.options import OutputStride
from models.zoo.registry import architecture
from models.zoo.spinenet_seg import CITYSCAPES_RATES, SIZES, TABLE, SpineNetSeg

NAMES = ("spinenet-s49", "spinenet-s96", "spinenet-s143", "spinenet-s143-plus")

# Stride, inner width and dilation of B0 to B21.
BLOCKS = [
    *((4, 64, 1), (4, 64, 1), (4, 64, 1), (8, 128, 2), (8, 128, 1), (8, 128, 1)),
    *((16, 512, 1), (16, 512, 2), (16, 512, 1), (16, 512, 4), (16, 512, 1), (16, 512, 2)),
    *((16, 256, 4), (16, 256, 1), (16, 512, 4), (16, 256, 4), (16, 256, 1)),
    *((4, 64, 4), (16, 512, 2), (16, 512, 1), (8, 128, 4), (8, 128, 1)),
]


def on_meta(size: str, output_stride: OutputStride = 8) -> SpineNetSeg:
    with torch.device("meta"):
        return SpineNetSeg(SIZES[size], 7, output_stride=output_stride).eval()


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("spinenet-s49", 69_734_613, 97_531_330_560),
        ("spinenet-s96", 116_048_597, 153_433_014_272),
        ("spinenet-s143", 162_362_581, 209_334_697_984),
    ],
)
def test_counts_on_voc(name: str, params: int, macs: int) -> None:
    assert count(architecture(name).build, 21, 512, 512) == (params, macs)


@pytest.mark.parametrize(
    ("size", "params", "giga_macs"),
    [("s49", 70_975_699, 820.9), ("s96", 117_289_683, 1268.1), ("s143", 163_603_667, 1715.3)],
)
def test_counts_on_cityscapes_with_four_rates(size: str, params: int, giga_macs: float) -> None:
    four_rates = partial(SpineNetSeg, SIZES[size], aspp_rates=CITYSCAPES_RATES)
    counted, macs = count(four_rates, 19, 1024, 2048)
    assert counted == params
    assert macs / 1e9 == pytest.approx(giga_macs, rel=1e-3)


def test_counts_of_s143_plus_on_cityscapes() -> None:
    params, macs = count(architecture("spinenet-s143-plus").build, 19, 1024, 2048)
    assert params == 274_617_711
    assert macs / 1e9 == pytest.approx(2853.2, rel=1e-3)


def test_counts_of_s143_plus_at_output_stride_4() -> None:
    at_stride_4 = partial(SpineNetSeg, SIZES["s143-plus"], aspp_rates=CITYSCAPES_RATES, output_stride=4)
    _, macs = count(at_stride_4, 19, 1024, 2048)
    assert macs / 1e9 == pytest.approx(3776, rel=1e-3)


def test_the_registrys_networks_are_near_the_printed_figures() -> None:
    for name in NAMES:
        network = architecture(name)
        params, macs = count(network.build, network.paper.num_classes, *network.paper.at)
        assert params == pytest.approx(network.paper.params, rel=0.012)
        assert macs == pytest.approx(network.paper.macs, rel=0.033)


def test_the_table_has_the_papers_blocks_and_strides() -> None:
    assert [(row.stride, row.width, row.dilation) for row in TABLE] == BLOCKS
    # Section 3.2's allocation, where levels 5 to 7 are all called 5.
    assert Counter(min(row.level, 5) for row in TABLE) == {2: 3, 3: 4, 4: 6, 5: 9}


def test_each_block_gets_the_one_before_it_and_its_cross_scale_parent() -> None:
    network = on_meta("s49")
    nodes = network.backbone.nodes
    blocks = [network.backbone.start, network.backbone.second, *nodes]
    outputs: list[Tensor] = []
    read: list[tuple[int, int]] = []

    def remember_output(_: nn.Module, __: object, output: Tensor) -> None:
        outputs.append(output)

    def remember_inputs(_: nn.Module, inputs: tuple[Tensor, Tensor, object]) -> None:
        previous, parent = (next(i for i, y in enumerate(outputs) if y is x) for x in inputs[:2])
        read.append((previous, parent))

    for block in blocks:
        block.register_forward_hook(remember_output)
    for node in nodes:
        node.register_forward_pre_hook(remember_inputs)
    network(torch.empty(1, 3, 64, 64, device="meta"))
    parents = [0, 1, 1, 2, 3, 5, 4, 6, 6, 7, 8, 9, 11, 11, 12, 14, 16, 15, 17, 0]
    assert read == [(index - 1, parent) for index, parent in enumerate(parents, start=2)]
    channels_and_sides = [tuple(y.shape[1:]) for y in outputs]
    assert channels_and_sides == [(4 * width, 64 // stride, 64 // stride) for stride, width, _ in BLOCKS]


@pytest.mark.parametrize("size", ["s49", "s143-plus"])
@pytest.mark.parametrize("output_stride", [4, 16])
def test_the_output_stride_moves_the_output_block_alone(size: str, output_stride: OutputStride) -> None:
    usual, moved = on_meta(size).state_dict(), on_meta(size, output_stride).state_dict()
    different = {name for name in usual.keys() | moved.keys() if name not in usual or name not in moved}
    different |= {name for name in usual.keys() & moved.keys() if usual[name].shape != moved[name].shape}
    assert all(name.startswith(("backbone.nodes.19.previous", "backbone.nodes.19.parent")) for name in different)
