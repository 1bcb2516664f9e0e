"""Which device and number format a network runs in."""

import os

import torch

# Instruction sets (ONEDNN_MAX_CPU_ISA) without int8 products that cannot overflow.
_WITHOUT_VNNI = {"SSE41", "AVX", "AVX2", "AVX512_CORE"}

# Compute capabilities of the first GPUs with tensor cores, and of the first whose tensor cores take bfloat16.
_VOLTA, _AMPERE = (7, 0), (8, 0)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32 (emulated bfloat16 is slower than float32).

    float16 on GPUs that multiply that alone: Volta and Turing.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= _AMPERE:
            return torch.bfloat16
        return torch.float16 if capability >= _VOLTA else torch.float32
    features = torch.cpu.get_capabilities()
    native = features.get("amx_bf16") or features.get("avx512_bf16")
    # oneDNN can be told (ONEDNN_MAX_CPU_ISA) to do without.
    return torch.bfloat16 if native and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def multiplies_int8() -> bool:
    """Whether the CPU sums products of int8 in int32 (VNNI, AMX): elsewhere they are no faster, and may overflow."""
    features = torch.cpu.get_capabilities()
    native = any(features.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    return bool(native) and os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in _WITHOUT_VNNI
