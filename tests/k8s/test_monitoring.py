"""Who watches what: rules and dashboard are there once, however many overlays are."""

import re

import pytest

from tests.k8s.manifests import K8S, OVERLAYS, Manifest, build, of_kind, overlay, pod_labels, selects, workloads
from tests.k8s.test_rules import SPEC

PROMETHEUS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}
RECORDED = {rule["record"]: rule["expr"] for group in SPEC["groups"] for rule in group["rules"] if "record" in rule}


def rules_and_dashboards(manifests: list[Manifest]) -> list[Manifest]:
    boards = [one for one in of_kind(manifests, "ConfigMap") if "grafana_dashboard" in one["metadata"]["labels"]]
    return boards + of_kind(manifests, "PrometheusRule")


def test_rules_and_dashboard_come_together() -> None:
    assert {one["kind"] for one in rules_and_dashboards(build(K8S / "monitoring"))} == {"PrometheusRule", "ConfigMap"}
    assert {one["metadata"]["namespace"] for one in build(K8S / "monitoring")} == {"monitoring"}


@pytest.mark.parametrize("folder", ["monitoring", *(f"overlays/{name}" for name in OVERLAYS)])
def test_nothing_is_evaluated_twice_where_all_are_applied(folder: str) -> None:
    assert bool(rules_and_dashboards(build(K8S / folder))) == (folder == "monitoring")


@pytest.mark.parametrize("name", ["keda", "batch"])
def test_what_scales_finds_its_rules(name: str) -> None:
    """Which keep the namespace, by which each overlay asks for its own."""
    queries = [
        trigger["metadata"]["query"]
        for scaled in of_kind(overlay(name), "ScaledObject")
        for trigger in scaled["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    asked = set(re.findall(r"segserve:[\w:]+", " ".join(queries)))
    assert asked
    for record in asked:
        assert re.search(r"by \(namespace, job[,)]", RECORDED[record])


@pytest.mark.parametrize("name", ["keda", "batch"])
def test_pods_are_scraped_once(name: str) -> None:
    """A ServiceMonitor without a selector of namespaces looks in its own alone."""
    (namespace,) = of_kind(overlay(name), "Namespace")
    monitors = of_kind(overlay(name), "ServiceMonitor")
    assert {one["metadata"]["name"] for one in monitors} == {"segserve-gateway", "segserve-worker"}
    for monitor in monitors:
        assert monitor["metadata"]["namespace"] == namespace["metadata"]["name"]
        assert "namespaceSelector" not in monitor["spec"]


@pytest.mark.parametrize("name", ["keda", "batch"])
def test_prometheus_is_let_in_where_it_looks(name: str) -> None:
    manifests = overlay(name)
    for monitor in of_kind(manifests, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [one for one in of_kind(manifests, "Service") if selects(wanted, one["metadata"]["labels"])]
        (workload,) = [one for one in workloads(manifests) if selects(service["spec"]["selector"], pod_labels(one))]
        let_in = {
            port["port"]
            for policy in of_kind(manifests, "NetworkPolicy")
            if selects(policy["spec"]["podSelector"].get("matchLabels", {}), pod_labels(workload))
            for rule in policy["spec"].get("ingress", [])
            if PROMETHEUS in rule["from"]
            for port in rule["ports"]
        }
        ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
        assert {ports[endpoint["port"]] for endpoint in monitor["spec"]["endpoints"]} == let_in
