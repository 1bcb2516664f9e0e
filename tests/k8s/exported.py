"""The series that segserve's gateways and workers show Prometheus, by name, each with its labels."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import Metrics
from tests.k8s.stand_in import stand_in
from tests.service.telemetry.test_metrics import registered

Series = dict[str, set[str]]


def exported() -> Series:
    return _process() | dict(_ours()) | _torchserves() | _stand_ins()


def _ours() -> Iterator[tuple[str, set[str]]]:
    for name, kind, labels in registered():
        if kind == "histogram":
            yield f"{name}_bucket", {*labels, "le"}
            yield f"{name}_sum", set(labels)
            yield f"{name}_count", set(labels)
        else:
            yield name, set(labels)


def _process() -> Series:
    """Those that come with every process."""
    families = text_string_to_metric_families(Metrics().render([])[0].decode())
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples if sample.name.startswith(("process_", "python_"))}


def _stand_ins() -> Series:
    samples = [sample for family in stand_in().collect() for sample in family.samples]
    return {sample.name: {*sample.labels, "worker"} for sample in samples}


def _torchserves() -> Series:
    """As TorchServe declares them; a gateway that repeats them says of which worker they are."""
    spec = find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    declared = yaml.safe_load((Path(spec.origin).parent / "configs" / "metrics.yaml").read_text(encoding="utf-8"))
    return {
        metric["name"]: {*metric["dimensions"], "worker"}
        for kinds in (declared["ts_metrics"], declared["model_metrics"])
        for metrics in kinds.values()
        for metric in metrics
    }
