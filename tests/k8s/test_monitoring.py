"""Who watches what: rules and dashboard are there once, however many overlays are."""

import re

import pytest

from tests.k8s.manifests import K8S, OVERLAYS, Manifest, build, of_kind, overlay
from tests.k8s.test_rules import SPEC

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
