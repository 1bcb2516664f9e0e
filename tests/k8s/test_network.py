"""Who may reach whom."""

from tests.k8s.manifests import (
    Manifest,
    chooses,
    of_kind,
    pod,
    pod_labels,
    selects,
    the,
    workloads,
)


def test_selectors_find_pods(manifests: list[Manifest]) -> None:
    labels = [pod_labels(workload) for workload in workloads(manifests)]
    for workload in workloads(manifests):
        assert selects(workload["spec"]["selector"]["matchLabels"], pod_labels(workload))
    for service in of_kind(manifests, "Service"):
        assert sum(selects(service["spec"]["selector"], one) for one in labels) == 1
    for policy in of_kind(manifests, "NetworkPolicy"):
        assert any(chooses(policy["spec"]["podSelector"], one) for one in labels)
    for monitor in of_kind(manifests, "ServiceMonitor"):
        services = [
            service
            for service in of_kind(manifests, "Service")
            if selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        ]
        assert len(services) == 1
        (service,) = services
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {
            port["name"] for port in service["spec"]["ports"]
        }


def test_services_lead_to_ports_that_there_are(manifests: list[Manifest]) -> None:
    for service in of_kind(manifests, "Service"):
        (workload,) = [w for w in workloads(manifests) if selects(service["spec"]["selector"], pod_labels(w))]
        ports = {port["name"] for container in pod(workload)["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_whatever_is_not_allowed_is_forbidden(manifests: list[Manifest]) -> None:
    deny = the(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_no_rule_of_the_network_is_a_wildcard(manifests: list[Manifest]) -> None:
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            peers = rule.get("from", []) + rule.get("to", [])
            assert peers
            assert rule["ports"]
            for peer in peers:
                assert peer.keys() <= {"podSelector", "namespaceSelector"}
                assert all(selector.get("matchLabels") for selector in peer.values())


def test_torchserves_management_port_is_out_of_reach(manifests: list[Manifest]) -> None:
    """It listens on loopback; of the pod's ports only two are declared, and only those are let in."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= {"http", "status", "inference"}
    for worker in [w for w in workloads(manifests) if pod_labels(w)["app.kubernetes.io/component"] == "worker"]:
        (container,) = pod(worker)["containers"]
        assert {port["name"] for port in container["ports"]} == {"status", "inference"}


def test_only_gateways_reach_torchserves_inference_port(manifests: list[Manifest]) -> None:
    """It asks for no key and admits whatever comes."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            if "inference" in {port["port"] for port in rule["ports"]}:
                assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "gateway"}}}]


def test_workers_call_nobody_but_the_collector_of_traces(manifests: list[Manifest]) -> None:
    worker = {"app.kubernetes.io/name": "segserve", "app.kubernetes.io/component": "worker"}
    for policy in of_kind(manifests, "NetworkPolicy"):
        if policy["spec"].get("egress") and chooses(policy["spec"]["podSelector"], worker):
            assert policy["metadata"]["name"] == "segserve-to-collector"
