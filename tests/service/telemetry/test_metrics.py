import re
import sys
from pathlib import Path
from unittest.mock import patch

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from labeling.job import Job, Labels
from labeling.metrics import JobMetrics
from service.backends.torchserve.metrics import collect
from service.telemetry.metrics import Metrics
from tests.worker.fake_nvml import FakeNvml, Gpu
from worker.gpu_metrics import GpuMetrics

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "metrics.md"
NOT_OURS = ("process_", "python_")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def registered() -> set[tuple[str, str, tuple[str, ...]]]:
    """Name, type and labels, as the documentation has them."""
    metrics = vars(Metrics())
    del metrics["registry"]
    ours = {
        (m._name + ("_total" if m._type == "counter" else ""), m._type, m._labelnames)  # no public way
        for m in metrics.values()
    }
    return ours | {
        (m.name + ("_total" if m.type == "counter" else ""), m.type, tuple(vars(m)["_labelnames"]))
        for m in [*workers(), *jobs()]
    }


def workers() -> list[Metric]:
    """Of a worker: what gateways know of it, and what it shows itself."""
    with patch.dict(sys.modules, pynvml=FakeNvml([Gpu("GPU-one")])):
        return [*collect([]), *GpuMetrics().collect()]


def jobs() -> list[Metric]:
    """Of a batch job."""
    labels = Labels("fake@1", "0" * 64, "camvid11", None)
    return [*JobMetrics(Job("key", "photos", "manifest", 1, 1, labels), "local").collect()]


def documented() -> set[tuple[str, str, tuple[str, ...]]]:
    rows = ROW.findall(DOCUMENTATION.read_text(encoding="utf-8"))
    return {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_documentation_lists_all_that_there_are_and_no_others() -> None:
    assert len(documented()) >= 12
    assert documented() == registered()


def test_all_names_are_ours() -> None:
    families = text_string_to_metric_families(Metrics().render([])[0].decode())
    names = [family.name for family in families if not family.name.startswith(NOT_OURS)]
    assert len(names) == len(documented()) - len(workers()) - len(jobs())
    assert all(name.startswith("segserve_") for name in names)


def test_the_process_is_measured_too() -> None:
    rendered = Metrics().render([])[0].decode()
    assert "process_resident_memory_bytes" in rendered
    assert "python_gc_objects_collected_total" in rendered


def test_two_gateways_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.in_flight.inc()
    assert second.registry.get_sample_value("segserve_requests_in_flight") == 0
