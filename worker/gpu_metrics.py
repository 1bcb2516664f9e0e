"""How busy, full and warm the GPUs of this machine are, by NVIDIA's management library; nothing where there is none."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

# Name, help and what the library is asked of a GPU.
_MEASURES: Sequence[tuple[str, str, Callable[[Any, Any], float]]] = (
    (
        "segserve_worker_gpu_utilisation_ratio",
        "Share of the last moments in which the GPU ran something.",
        lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    ),
    (
        "segserve_worker_gpu_memory_used_bytes",
        "Memory of the GPU that is taken.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    ),
    (
        "segserve_worker_gpu_memory_total_bytes",
        "Memory of the GPU.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
    ),
    (
        "segserve_worker_gpu_temperature_celsius",
        "Temperature of the GPU.",
        lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    ),
)


class GpuMetrics:
    """A collector of prometheus_client's. Labels: gpu (its index) and uuid."""

    def __init__(self) -> None:
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
        except ImportError:
            return
        except pynvml.NVMLError:
            return  # There is no driver.
        self._nvml = pynvml

    def collect(self) -> Iterable[Metric]:
        """What a GPU does not tell, such as one that has fallen off its bus, is left out."""
        if not self._nvml:
            return
        nvml = self._nvml
        gpus = {}
        for index in range(nvml.nvmlDeviceGetCount()):
            with suppress(nvml.NVMLError):
                gpu = nvml.nvmlDeviceGetHandleByIndex(index)
                gpus[str(index), nvml.nvmlDeviceGetUUID(gpu)] = gpu
        for name, documentation, ask in _MEASURES:
            family = GaugeMetricFamily(name, documentation, labels=["gpu", "uuid"])
            for labels, gpu in gpus.items():
                with suppress(nvml.NVMLError):
                    family.add_metric(labels, ask(nvml, gpu))
            if family.samples:
                yield family
