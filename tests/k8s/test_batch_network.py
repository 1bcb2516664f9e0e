"""Who may reach whom where batch jobs run."""

from ipaddress import ip_network

import pytest

from tests.k8s.manifests import K8S, Manifest, build, of_kind

LINK = ip_network("169.254.0.0/16")
IDENTITIES = {"169.254.170.23/32": 80, "169.254.169.252/32": 988}
"""Where EKS and GKE give a pod the credentials of its own account."""


@pytest.fixture(params=["indexed-job", "ray-job"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return build(K8S / "batch-jobs" / request.param)


def test_what_a_manifest_names_cannot_ask_for_the_nodes_identity(manifests: list[Manifest]) -> None:
    """Its URLs are whatever its author wrote, and a cloud's metadata are one of the addresses of the link."""
    rules = [rule for policy in of_kind(manifests, "NetworkPolicy") for rule in policy["spec"].get("egress", [])]
    reached = {}
    for rule in rules:
        # Without any peer a rule would allow every address.
        assert rule["to"]
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            spared = [ip_network(cidr) for cidr in block.get("except", [])]
            if ip_network(block["cidr"]).overlaps(LINK) and LINK not in spared:
                (port,) = rule["ports"]
                reached[block["cidr"]] = port["port"]
    assert reached == IDENTITIES
