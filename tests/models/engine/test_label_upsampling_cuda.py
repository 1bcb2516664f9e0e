"""The GPU's kernel without a GPU: its source compiled for the CPU, where it must compute what the rule says."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.engine import label_upsampling, label_upsampling_cuda
from models.engine.label_upsampling import upsample_in_torch
from models.engine.label_upsampling_cuda import BANKS, PTX, ROWS, SOURCE, Launch, upsample

# What CUDA adds to C++, for one thread at a time.
SHIM = """
#define __device__
#define __global__
struct Place { int x, y, z; };
static Place blockIdx, blockDim, threadIdx;
static int atomicAdd(int* counter, int more) { int before = *counter; *counter += more; return before; }
#include "label_upsampling.cu"
extern "C" void launch(int columns, int rows, int threads, const float* logits, const float* largest,
    unsigned char* labels, unsigned char* confidence, int* counts, int classes, int grid_rows, int grid_columns,
    int height, int width, double vertical, double horizontal) {
    blockDim = {threads, 1, 1};
    for (blockIdx.y = 0; blockIdx.y < rows; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < columns; blockIdx.x++)
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
                upsample(logits, largest, labels, confidence, counts, classes, grid_rows, grid_columns, height, width,
                         vertical, horizontal);
}
"""
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    if COMPILER is None:
        assert "CI" not in os.environ, "a C++ compiler is missing: apt-get install g++"
        pytest.skip("needs a C++ compiler")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "shim.cpp").write_text(SHIM)
    options = ("-shared", "-fPIC", "-O2", "-ffp-contract=off", f"-I{SOURCE.parent}")
    subprocess.run([COMPILER, *options, folder / "shim.cpp", "-o", folder / "kernel.so"], check=True)
    compiled = ctypes.CDLL(str(folder / "kernel.so")).launch

    def launch(grid: Sequence[int], block: Sequence[int], args: Sequence[Tensor | int | float]) -> None:
        compiled(grid[0], grid[1], block[0], *[_argument(value) for value in args])

    return launch


def _argument(value: Tensor | int | float) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int(value)


@given(
    grid=st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 3 * ROWS + 1), st.integers(1, 300)),
    covered=st.tuples(st.floats(0.3, 1), st.floats(0.3, 1)),
    levels=st.sampled_from([2, 5, 0]),
    confidence=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_kernel_keeps_the_rule_to_the_last_bit(
    kernel: Launch,
    grid: tuple[int, int, int],
    size: tuple[int, int],
    covered: tuple[float, float],
    levels: int,
    confidence: bool,
    seed: int,
) -> None:
    """levels: few make ties; 0 is any value."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(grid, generator=generator)
    if levels:
        logits = (logits * levels).round() / levels
    content = (covered[0] * grid[1], covered[1] * grid[2])
    largest = logits.softmax(0).amax(0) if confidence else None
    expected = upsample_in_torch(logits, largest, content, size)
    found = upsample(kernel, logits, largest, content, size)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or (one.dtype == other.dtype and torch.equal(one, other))


def test_logits_may_be_of_half_precision_and_channels_last(kernel: Launch) -> None:
    logits = torch.randn(1, 5, 8, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    [nhwc] = logits.contiguous(memory_format=torch.channels_last)
    labels, pixels, _ = upsample(kernel, nhwc, None, (8, 9), (50, 70))
    expected, expected_pixels, _ = upsample_in_torch(logits[0], None, (8, 9), (50, 70))
    assert torch.equal(labels, expected)
    assert torch.equal(pixels, expected_pixels)


def test_the_ptx_is_of_the_source() -> None:
    """After a change: nvcc -arch=compute_75 --fmad=false -ptx, version 7.0 for older drivers, and this first line."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    first, *rest = PTX.read_text().splitlines()
    assert first == f"// Of label_upsampling.cu, sha256 {digest}"
    assert ".version 7.0" in rest
    assert ".target sm_75" in rest
    # Neither the compiler nor the driver may fuse what the rule rounds twice.
    names = [line.split()[0] for line in rest if line.startswith("\t")]
    arithmetic = [name for name in names if re.match(r"(mul|add|sub)\..*f(32|64)$", name)]
    assert arithmetic
    assert all(".rn." in name for name in arithmetic)
    assert not any(name.startswith("fma") for name in names)
    assert f"#define ROWS {ROWS}\n#define BANKS {BANKS}\n" in SOURCE.read_text()


def test_a_driver_that_does_not_take_the_kernel_leaves_it_to_pytorch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(device: torch.device) -> Launch:  # noqa: ARG001 (the loader's)
        raise RuntimeError("CUDA error: unsupported PTX version")

    monkeypatch.setattr(label_upsampling_cuda, "load", refuse)
    device = torch.device("cuda", 7)
    try:
        assert label_upsampling._implementation(device) is upsample_in_torch
        assert "unsupported PTX version" in caplog.text
    finally:
        label_upsampling._implementation.cache_clear()
