from pathlib import Path

import torch

from models.engine.loading import find, load_engine
from models.engine.network_benchmark import convolution_peak, measure_network
from tests.photos import street


def test_a_networks_speed_is_its_operations_by_its_time(checkpoint_dir: Path) -> None:
    engine = load_engine(find("tiny", checkpoint_dir), dtype=torch.float32)
    measured = measure_network(engine, "eseg-lite-s", 11, [street(60, 90)] * 2, long_side=90, rounds=1)
    assert (measured.engine, measured.dtype) == ("compiled", "float32")
    # 17.3 G multiply-adds at 1024 x 2048.
    operations = 2 * 2 * 17.3e9 * (64 * 96) / (1024 * 2048)
    expected = operations / measured.network_ms / 1e9
    assert 0.8 * expected < measured.network_tflops + 0.001
    assert measured.network_tflops < 1.2 * expected + 0.001


def test_the_peak_is_a_speed() -> None:
    assert 0 < convolution_peak(torch.device("cpu"), torch.float32, rounds=1) < 1000
