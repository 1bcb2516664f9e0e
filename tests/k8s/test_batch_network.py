"""Who may reach whom where batch jobs run."""

from ipaddress import ip_network

from tests.k8s.manifests import Manifest, chooses, of_kind, overlay, selects, the
from tests.k8s.test_batch_jobs import both, job, manifests, templates

LINK = ip_network("169.254.0.0/16")
IDENTITIES = {"169.254.170.23/32": 80, "169.254.169.252/32": 988}
"""Where EKS and GKE give a pod the credentials of its own account."""
OWN = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "label"}}}


def policies(name: str, labels: dict[str, str]) -> list[Manifest]:
    """The specs of those about a pod."""
    found = [policy["spec"] for policy in of_kind(manifests(name), "NetworkPolicy")]
    return [spec for spec in found if chooses(spec["podSelector"], labels)]


@both
def test_whatever_is_not_allowed_is_forbidden(name: str) -> None:
    for template in templates(name):
        about = policies(name, template["metadata"]["labels"])
        assert {kind for spec in about for kind in spec["policyTypes"]} == {"Ingress", "Egress"}


@both
def test_no_rule_is_a_wildcard(name: str) -> None:
    """Any pod is named by its labels, and whoever is no pod of the job itself by a port."""
    for policy in of_kind(manifests(name), "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            (peers,) = (rule[direction] for direction in ("from", "to") if direction in rule)
            assert peers
            assert all("ipBlock" in peer or peer["podSelector"]["matchLabels"] for peer in peers)
            assert peers == [OWN] or rule["ports"]


@both
def test_only_the_job_reaches_its_workers_and_prometheus_their_metrics(name: str) -> None:
    for template in templates(name):
        about = policies(name, template["metadata"]["labels"])
        own, watching = (rule for spec in about for rule in spec.get("ingress", []))
        assert own["from"] == [OWN]
        assert watching["from"] == [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            }
        ]
        assert watching["ports"] == [{"port": "metrics", "protocol": "TCP"}]


@both
def test_what_a_manifest_names_cannot_ask_for_the_nodes_identity(name: str) -> None:
    """Its URLs are whatever its author wrote, and a cloud's metadata are at one of the addresses of the link."""
    reached = {}
    for policy in of_kind(manifests(name), "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                spared = [ip_network(cidr) for cidr in block.get("except", [])]
                if ip_network(block["cidr"]).overlaps(LINK) and LINK not in spared:
                    (port,) = rule["ports"]
                    reached[block["cidr"]] = port["port"]
    assert reached == IDENTITIES


def test_kuberays_operator_may_ask_the_head_alone() -> None:
    policy = the(manifests("ray-job"), "NetworkPolicy", "segserve-label-head")["spec"]
    head = job("ray-job")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    # KubeRay adds the node's kind to the labels.
    labels = head["metadata"]["labels"] | {"ray.io/node-type": "head"}
    assert selects(policy["podSelector"]["matchLabels"], labels)
    assert not selects(policy["podSelector"]["matchLabels"], labels | {"ray.io/node-type": "worker"})
    (rule,) = policy["ingress"]
    # Its namespace is whoever installed it chose; without a selector it would be this one.
    assert rule["from"] == [
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
        }
    ]
    (container,) = head["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [ports[port["port"]] for port in rule["ports"]] == [8265]


@both
def test_jobs_reach_the_gateway_of_the_batch_overlay(name: str) -> None:
    """Both live in one namespace, so that a podSelector alone finds the other."""
    gateways = overlay("batch")
    gateway = the(gateways, "Deployment", "segserve-gateway")
    assert job(name)["metadata"]["namespace"] == gateway["metadata"]["namespace"]
    http = {"port": "http", "protocol": "TCP"}
    leaving = the(manifests(name), "NetworkPolicy", "segserve-label")["spec"]["egress"]
    labels = gateway["spec"]["template"]["metadata"]["labels"]
    assert any(_reaches(rule, "to", labels) and rule["ports"] == [http] for rule in leaving)
    arriving = [
        rule
        for policy in of_kind(gateways, "NetworkPolicy")
        if policy["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component") == "gateway"
        for rule in policy["spec"].get("ingress", [])
    ]
    for template in templates(name):
        labels = template["metadata"]["labels"]
        assert any(_reaches(rule, "from", labels) and rule["ports"] == [http] for rule in arriving)


def _reaches(rule: Manifest, direction: str, labels: dict[str, str]) -> bool:
    """Pods of its own namespace with these labels."""
    return any(
        peer.keys() == {"podSelector"} and selects(peer["podSelector"]["matchLabels"], labels)
        for peer in rule.get(direction, [])
    )
