"""What scales each workload, and by what."""

import re

import pytest

from service.app import create_app
from service.settings import Settings
from tests.k8s.manifests import (
    Manifest,
    of_kind,
    overlay,
    the,
    workloads,
)
from tests.service.fakes import FakeBackend


def scale_targets(manifests: list[Manifest]) -> list[str]:
    scalers = of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    return [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers]


def test_each_workload_is_scaled_by_one(manifests: list[Manifest]) -> None:
    names = [workload["metadata"]["name"] for workload in workloads(manifests)]
    assert sorted(scale_targets(manifests)) == sorted(names)
    for workload in workloads(manifests):
        assert "replicas" not in workload["spec"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cpu", "HorizontalPodAutoscaler"),
        ("gpu", "HorizontalPodAutoscaler"),
        ("keda", "ScaledObject"),
        ("batch", "ScaledObject"),
    ],
)
def test_by_what(name: str, kind: str) -> None:
    assert {one["kind"] for one in of_kind(overlay(name), "HorizontalPodAutoscaler", "ScaledObject")} == {kind}


def test_only_batch_workers_scale_to_zero() -> None:
    for name in ("keda", "batch"):
        least = {
            one["metadata"]["name"]: one["spec"]["minReplicaCount"] for one in of_kind(overlay(name), "ScaledObject")
        }
        assert (least["segserve-worker"] == 0) == (name == "batch")
        assert least["segserve-gateway"] > 0


@pytest.mark.parametrize("name", ["keda", "batch"])
def test_alerts_are_told_which_gateway_scales_to_zero(name: str) -> None:
    (endpoint,) = the(overlay(name), "ServiceMonitor", "segserve-gateway")["spec"]["endpoints"]
    labels = {one["targetLabel"]: one["replacement"] for one in endpoint.get("relabelings", [])}
    assert labels == ({"scale_to_zero": "true"} if name == "batch" else {})


@pytest.mark.parametrize("name", ["keda", "batch"])
def test_triggers_look_at_their_own_namespace(name: str) -> None:
    (namespace,) = of_kind(overlay(name), "Namespace")
    for scaled in of_kind(overlay(name), "ScaledObject"):
        queries = [t["metadata"]["query"] for t in scaled["spec"]["triggers"] if t["type"] == "prometheus"]
        assert queries
        for query in queries:
            assert f'namespace="{namespace["metadata"]["name"]}"' in query


def test_what_a_batch_job_asks_first_wakes_a_worker() -> None:
    """Its first question is for the model; each is turned away with 503 while there is no worker."""
    (queries,) = [
        [trigger["metadata"]["query"] for trigger in one["spec"]["triggers"]]
        for one in of_kind(overlay("batch"), "ScaledObject")
        if one["metadata"]["name"] == "segserve-worker"
    ]
    (waking,) = [query for query in queries if 'status="503"' in query]
    routes = re.search(r'route=~"([^"]+)"', waking)
    assert routes
    asked = [
        path
        for path in create_app(Settings(model="fake"), FakeBackend()).openapi()["paths"]
        if re.fullmatch(routes[1], path)
    ]
    assert sorted(asked) == ["/models/{name}", "/segment"]
