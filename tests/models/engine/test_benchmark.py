import numpy as np
import torch

from models.engine.benchmark import PlainPyTorch, compare
from models.engine.engine import Engine
from models.engine.network import EagerNetwork
from models.weights.card import Preprocessing
from tests.conftest import in_colours
from tests.models.colour_network import ColourNetwork


def test_engine_and_plain_pytorch_agree_and_both_take_time() -> None:
    preprocessing = Preprocessing(long_side=32)
    plain = PlainPyTorch(ColourNetwork(preprocessing), preprocessing, long_side=64)
    engine = Engine(EagerNetwork(ColourNetwork(preprocessing), preprocessing, dtype=torch.float32), preprocessing)
    labels = np.random.default_rng(0).integers(0, 11, (2, 64, 64), dtype=np.uint8)
    comparison = compare(engine, plain, list(in_colours(labels)), rounds=3)
    assert comparison.label_agreement == 1
    assert comparison.eager_ms > 0
    assert comparison.engine_ms > 0
    assert comparison.rounds == 3


def test_plain_pytorch_labels_photos_as_the_colours_say() -> None:
    preprocessing = Preprocessing(long_side=32)
    network = ColourNetwork(preprocessing)
    truth = np.arange(8, dtype=np.uint8)[:, np.newaxis].repeat(8, axis=1)
    [labels] = PlainPyTorch(network, preprocessing, long_side=8).run([in_colours(truth)])
    assert np.array_equal(labels, truth)
    assert network.inputs[0].dtype == torch.float32
