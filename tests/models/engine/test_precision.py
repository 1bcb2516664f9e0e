import pytest
import torch

from models.engine.precision import best_dtype, default_device, multiplies_int8


def test_the_default_device_is_a_gpu_only_where_there_is_one() -> None:
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("capabilities", "allowed", "dtype"),
    [
        ({"amx_bf16": True}, True, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, True, torch.bfloat16),
        ({"avx512_bf16": True}, False, torch.float32),
        ({"avx512_bf16": False, "avx2": True}, True, torch.float32),
        ({}, True, torch.float32),
    ],
)
def test_a_cpu_runs_bfloat16_only_if_it_multiplies_it(
    capabilities: dict[str, bool], allowed: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: allowed)
    assert best_dtype(torch.device("cpu")) == dtype


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_a_gpu_runs_in_what_its_tensor_cores_take(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability if device == asked else (1, 0))
    assert best_dtype(asked) == dtype


@pytest.mark.parametrize(
    ("capabilities", "allowed", "expected"),
    [
        ({"avx512_vnni": True}, "", True),
        ({"avx_vnni": True}, "default", True),
        ({"amx_int8": True}, "AVX512_CORE_AMX", True),
        ({"avx512_vnni": True}, "avx2", False),
        ({"avx512_vnni": True}, "AVX512_CORE", False),
        ({"avx2": True, "avx512_vnni": False}, "", False),
    ],
)
def test_a_cpu_runs_int8_only_if_its_sums_cannot_overflow(
    capabilities: dict[str, bool], allowed: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    assert multiplies_int8() == expected
