"""The manifests as `kubectl apply -k` would send them."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.programs import kubectl

K8S = Path(__file__).parents[2] / "k8s"
Manifest = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
OVERLAYS = ("cpu", "gpu", "keda", "batch")


@cache
def build(kustomization: Path) -> list[Manifest]:
    """All objects of a folder with a kustomization."""
    built = subprocess.run([kubectl(), "kustomize", kustomization], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return [document for document in yaml.safe_load_all(built.stdout) if document]


def overlay(name: str) -> list[Manifest]:
    return build(K8S / "overlays" / name)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def the(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    return found


def config(manifests: list[Manifest], name: str) -> dict[str, str]:
    """The data of the ConfigMap whose name begins so; its hash follows."""
    (found,) = [m for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].startswith(f"{name}-")]
    data: dict[str, str] = found["data"]
    return data


def pod(workload: Manifest) -> Manifest:
    """The spec of a workload's pods."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Manifest) -> Iterator[Manifest]:
    """Those that serve and those that run before them."""
    yield from pod(workload).get("initContainers", [])
    yield from pod(workload)["containers"]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def chooses(selector: Manifest, labels: dict[str, str]) -> bool:
    """A LabelSelector, which chooses everything where it is empty."""
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    return selects(selector.get("matchLabels", {}), labels) and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def workloads(manifests: list[Manifest]) -> Iterator[Manifest]:
    found = of_kind(manifests, *WORKLOADS)
    assert found
    yield from found


def pod_labels(workload: Manifest) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels
