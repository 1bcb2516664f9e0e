"""What else one might run a network with: OpenVINO, ONNX Runtime and torch.compile, each from photo to label map.

All get float32 NCHW and have upsampling and argmax in their graph; each is used as its documentation advises.
"""

import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.engine.benchmark import PlainPyTorch, taking_turns
from models.engine.engine import Engine, Photo
from models.engine.precision import best_dtype

Labels = NDArray[np.int64]
Run = Callable[[Tensor], Labels]


class PhotosToLabels(nn.Module):
    """float32, N x 3 x H x W, normalised, to int64, N x H x W."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos: Tensor) -> Tensor:
        return F.interpolate(self.network(photos), photos.shape[2:], mode="bilinear", align_corners=False).argmax(1)


def missing() -> dict[str, str]:
    """The alternatives that are not installed here, each with what it needs."""
    known = {
        "openvino": ("pip install 'segserve[engine]'", find_spec("openvino")),
        "onnxruntime": ("pip install 'segserve[bench]'", find_spec("onnxruntime") and find_spec("onnxscript")),
        "torch_compile": ("a C++ compiler, c++", shutil.which("c++")),
    }
    return {name: needs for name, (needs, there) in known.items() if not there}


def compare_alternatives(engine: Engine, plain: PlainPyTorch, photos: Sequence[Photo], rounds: int) -> dict[str, float]:
    """NAME_ms (median) and NAME_agreement (with plain PyTorch) of all that are installed, taking turns with the engine.

    Also engine_beside_ms, the engine's own median in these rounds.
    """
    expected = plain.run(photos)
    example = plain.normalise(photos)
    runs = {name: make(PhotosToLabels(plain.network), example) for name, make in _installed().items()}
    labels = {name: run(example) for name, run in runs.items()}
    works = [partial(_from_photos, run, plain, photos) for run in runs.values()]
    times = taking_turns([*works, lambda: engine.run(photos, long_side=plain.long_side)], rounds)
    found = {f"{name}_ms": round(time, 2) for name, time in zip([*runs, "engine_beside"], times, strict=True)}
    return found | {
        f"{name}_agreement": round(float(np.mean(found_labels == expected)), 6) for name, found_labels in labels.items()
    }


def _from_photos(run: Run, plain: PlainPyTorch, photos: Sequence[Photo]) -> Labels:
    return run(plain.normalise(photos))


def _installed() -> dict[str, Callable[[nn.Module, Tensor], Run]]:
    known = {"openvino": _openvino, "onnxruntime": _onnxruntime, "torch_compile": _torch_compile}
    return {name: make for name, make in known.items() if name not in missing()}


@torch.inference_mode()
def _openvino(module: nn.Module, example: Tensor) -> Run:
    import openvino

    from models.engine.compilation import convert

    graph = convert(module, example)
    dtype = "bf16" if best_dtype(torch.device("cpu")) is torch.bfloat16 else "f32"
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": dtype}
    request = openvino.Core().compile_model(graph, "CPU", hints).create_infer_request()

    def run(photos: Tensor) -> Labels:
        request.infer([photos.numpy()], share_inputs=True)
        labels: Labels = request.get_output_tensor().data
        return labels.copy()

    return run


def _onnxruntime(module: nn.Module, example: Tensor) -> Run:
    import onnxruntime

    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = f"{folder}/network.onnx"
        torch.onnx.export(module, (example,), file, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(photos: Tensor) -> Labels:
        labels: Labels = session.run(None, {name: photos.numpy()})[0]
        return labels

    return run


def _torch_compile(module: nn.Module, example: Tensor) -> Run:  # noqa: ARG001 (compiled when it is called)
    compiled = torch.compile(module)

    def run(photos: Tensor) -> Labels:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            labels: Labels = compiled(photos).numpy()
        return labels

    return run
