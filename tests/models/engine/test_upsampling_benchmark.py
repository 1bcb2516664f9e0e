import numpy as np

from models.engine.benchmark import PlainPyTorch
from models.engine.upsampling_benchmark import compare_upsampling
from models.weights.card import Preprocessing
from tests.conftest import in_colours
from tests.models.colour_network import ColourNetwork


def test_both_agree_and_boundaries_are_counted() -> None:
    preprocessing = Preprocessing(long_side=64)
    plain = PlainPyTorch(ColourNetwork(preprocessing), preprocessing, long_side=64)
    # At the network's own resolution: a boundary between columns 31 and 32.
    halves = np.zeros((32, 64), np.uint8)
    halves[:, 32:] = 3
    comparison = compare_upsampling(plain, [in_colours(halves)] * 2, rounds=2)
    stride = 64 // plain.logits([in_colours(halves)]).shape[3]
    assert comparison.classes == 11
    assert comparison.boundary_cells == round(1 / (64 // stride - 1), 4)
    assert comparison.upsample_agreement == 1
    assert comparison.random_upsample_agreement > 0.999
    assert min(comparison.eager_upsample_ms, comparison.upsample_ms) > 0
