"""An engine's network alone, against the machine's own limit: the fastest convolution that it manages."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from models.engine.benchmark import taking_turns
from models.engine.engine import Engine, Photo
from models.engine.network import wait_for
from models.engine.precision import best_dtype
from models.zoo.counting import count
from models.zoo.registry import architecture

# Channels (in and out), height and width of 3x3 convolutions that keep every core busy; of so many photos each.
_DENSE = ((128, 128, 256), (256, 64, 128), (512, 32, 64))
_PHOTOS = {"cpu": 1, "cuda": 64}


@dataclass(frozen=True, slots=True)
class NetworkComparison:
    """network_ms: median of a batch, normalised and padded, to logits. Speeds count 2 operations a multiply-add.

    conv_peak_tflops: PyTorch's fastest dense convolution in the device's best floating type, which int8 may surpass.
    """

    engine: str
    dtype: str
    network_ms: float
    network_tflops: float
    conv_peak_tflops: float
    network_share: float


@torch.inference_mode()
def measure_network(
    engine: Engine, architecture_name: str, num_classes: int, photos: Sequence[Photo], long_side: int, rounds: int
) -> NetworkComparison:
    """The photos must be of one size."""
    network = engine.network
    size = engine.input_size(photos[0].shape[0], photos[0].shape[1], long_side)
    batch = engine.batch(photos, [size] * len(photos), size.bucket)
    _, macs = count(architecture(architecture_name).build, num_classes, *size.bucket)

    def run() -> None:
        network(batch)
        wait_for(network.device)

    # A GPU captures a shape when it comes for the second time.
    run()
    run()
    [milliseconds] = taking_turns([run], rounds)
    speed = 2 * macs * len(photos) / milliseconds / 1e9
    peak = convolution_peak(network.device, best_dtype(network.device), rounds)
    return NetworkComparison(
        engine=network.kind,
        dtype=str(network.dtype).removeprefix("torch."),
        network_ms=round(milliseconds, 2),
        network_tflops=round(speed, 3),
        conv_peak_tflops=round(peak, 3),
        network_share=round(speed / peak, 3),
    )


@torch.inference_mode()
def convolution_peak(device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    """10^12 operations a second."""
    speeds = []
    for channels, height, width in _DENSE:
        x = torch.randn(_PHOTOS[device.type], channels, height, width, device=device)
        x = x.to(dtype, memory_format=torch.channels_last)
        kernel = torch.randn(channels, channels, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)

        def convolve(x: torch.Tensor = x, kernel: torch.Tensor = kernel) -> None:
            F.conv2d(x, kernel, padding=1)
            wait_for(device)

        convolve()
        [milliseconds] = taking_turns([convolve], rounds)
        speeds.append(2 * x.numel() * channels * 9 / milliseconds / 1e9)
    return max(speeds)
