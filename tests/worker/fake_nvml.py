"""NVIDIA's management library as the package nvidia-ml-py shows it, without a GPU."""

from dataclasses import dataclass, field
from types import SimpleNamespace


class NVMLError(Exception):
    """The library's own."""


@dataclass
class Gpu:
    """percent: None where it does not tell, as slices of one do. lost: it answers nothing any more."""

    uuid: str
    percent: int | None = 40
    used: int = 2**30
    total: int = 2**36
    celsius: int = 55
    lost: bool = False


@dataclass
class FakeNvml:
    """Stands in for the module."""

    gpus: list[Gpu] = field(default_factory=list)
    driver: bool = True
    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        return self._answering(gpu).uuid

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> SimpleNamespace:
        if self._answering(gpu).percent is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=gpu.percent, memory=0)

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> SimpleNamespace:
        return SimpleNamespace(used=self._answering(gpu).used, total=gpu.total)

    def nvmlDeviceGetTemperature(self, gpu: Gpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answering(gpu).celsius

    def _answering(self, gpu: Gpu) -> Gpu:
        if gpu.lost:
            raise NVMLError("GPU is lost")
        return gpu
