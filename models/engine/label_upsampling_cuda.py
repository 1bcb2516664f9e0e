"""Label upsampling on a GPU: one kernel, shipped as PTX, which the driver makes into code for whatever GPU it drives.

So nothing is compiled where it runs, as a Triton kernel would be, and no compiler is needed there. After a change of
label_upsampling.cu: tests/models/engine/test_label_upsampling_cuda.py says how the PTX is made.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("label_upsampling.cu")
PTX = SOURCE.with_suffix(".ptx")
# As in the source.
ROWS, BANKS = 16, 64
_THREADS = 128

Launch = Callable[..., None]
"""A kernel, called with its grid and block (x, y, z) and its args."""


def load(device: torch.device) -> Launch:
    """The kernel on `device`. Raises RuntimeError or OSError where the driver does not take it."""
    from torch.cuda._utils import _cuda_load_module

    with torch.cuda.device(device):
        kernels: Any = _cuda_load_module(PTX.read_bytes(), ["upsample"])
    launch: Launch = kernels["upsample"]
    return launch


def upsample(
    launch: Launch, logits: Tensor, largest: Tensor | None, content: tuple[float, float], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As label_upsampling.upsample_in_torch, to the last bit, in the current stream; waits for nothing."""
    classes, grid_rows, grid_columns = logits.shape
    rows, columns = size
    device = logits.device
    grid = logits.float().contiguous()
    labels = torch.empty(size, dtype=torch.uint8, device=device)
    confidence = torch.empty(0 if largest is None else size, dtype=torch.uint8, device=device)
    # An empty tensor is a null pointer: no confidence is wanted.
    points = torch.empty(0, device=device) if largest is None else largest.contiguous()
    counts = torch.zeros((BANKS, classes), dtype=torch.int32, device=device)
    scales = float(content[0]) / rows, float(content[1]) / columns
    launch(
        grid=(-(-columns // _THREADS), -(-rows // ROWS), 1),
        block=(_THREADS, 1, 1),
        args=[grid, points, labels, confidence, counts, classes, grid_rows, grid_columns, rows, columns, *scales],
    )
    return labels, counts.sum(0), None if largest is None else confidence
