"""A network compiled by OpenVINO for the CPU that it finds itself on, in a tenth of a second and for any input size."""

from functools import cache
from pathlib import Path

import numpy as np
import openvino
import torch
from openvino.preprocess import PrePostProcessor
from torch import Tensor

from models.engine.network import Kind
from models.engine.precision import best_dtype

CPU = torch.device("cpu")
_TYPES = {torch.bfloat16: openvino.Type.bf16, torch.float32: openvino.Type.f32}
"""Of what is computed in floating point."""


class CompiledNetwork:
    """One OpenVINO graph with dynamic batch, height and width.

    Kernels are made for a size when it first comes (some tens of milliseconds), and kept.
    """

    kind: Kind = "compiled"
    device = CPU

    def __init__(self, graph: Path, *, dtype: torch.dtype | None = None, threads: int | None = None) -> None:
        """graph: OpenVINO's .xml, beside its .bin. dtype None: the best that this CPU has. Raises RuntimeError.

        dtype int8 is for a quantised graph: what is not quantised in it is computed in the best floating type.
        threads: the most to run in; None for as many as PyTorch has in the calling thread.
        """
        self.dtype = dtype or best_dtype(CPU)
        floating = best_dtype(CPU) if self.dtype is torch.int8 else self.dtype
        tensors = PrePostProcessor(_core().read_model(graph))
        tensors.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        tensors.input().model().set_layout(openvino.Layout("NCHW"))
        compiled = _core().compile_model(
            tensors.build(),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": _TYPES[floating],
                "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
                # Or else every process would bind its threads to the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._request = compiled.create_infer_request()

    def __call__(self, photos: Tensor) -> Tensor:
        self._request.set_input_tensor(openvino.Tensor(photos.contiguous().numpy(), shared_memory=True))
        self._request.infer()
        logits: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = self._request.get_output_tensor().data
        return torch.from_numpy(logits)


@cache
def _core() -> openvino.Core:
    return openvino.Core()
