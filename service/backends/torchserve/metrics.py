"""Metrics of the workers, beside the gateway's own."""

from collections.abc import Iterable, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from service.backends.torchserve.worker import Worker


def collect(workers: Sequence[Worker]) -> Iterable[Metric]:
    """The workers' health, and what TorchServe measures, with a label `worker` added."""
    in_service = GaugeMetricFamily(
        "segserve_worker_in_service",
        "1 for a worker that is sent photos, 0 for one that is left out.",
        labels=["worker"],
    )
    restarts = GaugeMetricFamily(
        "segserve_worker_restarts", "How often the worker has started TorchServe again.", labels=["worker"]
    )
    waiting = GaugeMetricFamily(
        "segserve_worker_waiting_calls", "Calls in TorchServe's queue.", labels=["worker", "model"]
    )
    processes = GaugeMetricFamily(
        "segserve_worker_processes", "Python processes that are ready for a model.", labels=["worker", "model"]
    )
    for worker in workers:
        in_service.add_metric([worker.address], worker.in_service)
        if worker.status is None:
            continue
        restarts.add_metric([worker.address], worker.status.restarts)
        for model in worker.status.models:
            waiting.add_metric([worker.address, f"{model.name}@{model.version}"], model.waiting)
            processes.add_metric([worker.address, f"{model.name}@{model.version}"], model.processes)
    yield from (in_service, restarts, waiting, processes)
    yield from _torchserve(workers)


def _torchserve(workers: Sequence[Worker]) -> Iterable[Metric]:
    merged: dict[str, Metric] = {}
    for worker in workers:
        for family in text_string_to_metric_families(worker.metrics):
            for sample in family.samples:
                # TorchServe names counters as it likes; one without _total cannot be told as a counter.
                kind = family.type if family.type != "counter" or sample.name.endswith("_total") else "unknown"
                metric = merged.setdefault(family.name, Metric(family.name, family.documentation, kind))
                metric.add_sample(sample.name, sample.labels | {"worker": worker.address}, sample.value)
    return merged.values()
