"""Traces leave the pods with components/traces, and not without it."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.settings import Settings
from tests.k8s.composed import composed
from tests.k8s.manifests import Manifest, chooses, config, of_kind, overlay, pod, pod_labels, the, workloads
from worker.settings import WorkerSettings

PORT = 4318


@pytest.fixture(params=["cpu", "gpu", "keda", "batch"])
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    return composed(tmp_path, "traces", f"overlays/{request.param}")


def called(manifests: list[Manifest], workload: Manifest) -> list[tuple[Manifest, int | str]]:
    """Whom a workload's pods may call, and on which ports."""
    return [
        (peer, port["port"])
        for policy in of_kind(manifests, "NetworkPolicy")
        if chooses(policy["spec"]["podSelector"], pod_labels(workload))
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        for port in rule["ports"]
    ]


def test_gateways_and_workers_know_and_reach_the_collector(
    traced: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in config(traced, "segserve-traces").items():
        monkeypatch.setenv(name, value)
    endpoints = {"gateway": Settings().otlp_endpoint, "worker": WorkerSettings().otlp_endpoint}
    for workload in workloads(traced):
        (container,) = pod(workload)["containers"]
        sources = [source["configMapRef"]["name"] for source in container["envFrom"]]
        assert any(source.startswith("segserve-traces-") for source in sources)
        endpoint = urlsplit(endpoints[pod_labels(workload)["app.kubernetes.io/component"]])
        reached = {
            (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port)
            for peer, port in called(traced, workload)
            if "namespaceSelector" in peer
        }
        assert str(endpoint.hostname).split(".")[1:] == ["opentelemetry", "svc"]
        assert endpoint.port == PORT
        assert {("opentelemetry", PORT), ("kube-system", 53)} <= reached


def test_batch_jobs_are_given_no_way_to_it(traced: list[Manifest]) -> None:
    policy = the(traced, "NetworkPolicy", "segserve-to-collector")
    assert not chooses(policy["spec"]["podSelector"], {"app.kubernetes.io/component": "label"})


@pytest.mark.parametrize("name", ["cpu", "gpu", "keda", "batch"])
def test_without_it_there_is_none(name: str) -> None:
    for workload in workloads(overlay(name)):
        assert PORT not in {port for _, port in called(overlay(name), workload)}
