"""The batch jobs' manifests: taken by Kubernetes, restricted, and in step with the command that they call."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from cli.label import STOPPED_BY_FAILURES
from cli.label import command as label
from labeling.runners.base import MAX_DEATHS
from labeling.runners.process import LEAVE_SECONDS
from tests.k8s.composed import composed
from tests.k8s.manifests import K8S, Manifest, build, containers, of_kind, pod_labels, selects, the
from tests.k8s.test_monitoring import PROMETHEUS

VERSIONS = ("1.33", "1.34", "1.37")
KINDS = {"indexed-job": "Job", "ray-job": "RayJob"}


def manifests(name: str) -> list[Manifest]:
    return build(K8S / "batch-jobs" / name)


def job(name: str) -> Manifest:
    return the(manifests(name), KINDS[name], "segserve-label")


def templates(name: str) -> Iterator[Manifest]:
    """Those of all pods that the job makes."""
    spec = job(name)["spec"]
    if name == "indexed-job":
        yield spec["template"]
        return
    cluster = spec["rayClusterSpec"]
    yield spec["submitterPodTemplate"]
    yield cluster["headGroupSpec"]["template"]
    yield from (group["template"] for group in cluster["workerGroupSpecs"])


both = pytest.mark.parametrize("name", KINDS)


@both
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(name: str, version: str) -> None:
    own = [manifest for manifest in manifests(name) if manifest["kind"] != "RayJob"]
    pods = [{"apiVersion": "v1", "kind": "Pod", **template} for template in templates(name)]
    for manifest in [*own, *pods]:
        kubernetes_validate.validate(manifest, version, strict=True)


@both
def test_kueue_admits_them(name: str) -> None:
    assert job(name)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "segserve-batch"
    assert job(name)["spec"]["suspend"] is True


@both
def test_pods_are_restricted_and_bounded(name: str) -> None:
    (namespace,) = of_kind(manifests(name), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (account,) = of_kind(manifests(name), "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    priorities = {one["metadata"]["name"] for one in of_kind(manifests(name), "PriorityClass")}
    for template in templates(name):
        spec = template["spec"]
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["priorityClassName"] in priorities
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers({"spec": {"template": template}}):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            resources = container["resources"]
            assert {"cpu", "memory", "ephemeral-storage"} <= resources["requests"].keys()
            assert {"memory", "ephemeral-storage"} <= resources["limits"].keys()
            assert "cpu" not in resources["limits"]
            assert resources["limits"].get("nvidia.com/gpu") == resources["requests"].get("nvidia.com/gpu")


def test_the_indexed_job_calls_the_command_as_it_is() -> None:
    spec = job("indexed-job")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    name, *arguments = [argument.replace("$(JOB_COMPLETION_INDEX)", "3") for argument in container["args"]]
    assert name == "label"
    parameters = label.make_context("label", arguments).params
    assert parameters["index"] == 3
    assert parameters["index_count"] == spec["completions"] >= spec["parallelism"]
    (port,) = container["ports"]
    assert port == {"name": "metrics", "containerPort": parameters["metrics_port"]}
    # One worker a core that the container asked for.
    assert parameters["workers"] is None
    (threads,) = [variable for variable in container["env"] if variable["name"] == "OMP_NUM_THREADS"]
    assert threads["valueFrom"] == {"resourceFieldRef": {"resource": "requests.cpu"}}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > 2 * LEAVE_SECONDS
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_prometheus_finds_the_indexed_jobs_pods_and_is_let_in(tmp_path: Path) -> None:
    manifests = composed(tmp_path, "job-monitor", "batch-jobs/indexed-job")
    monitor, indexed = the(manifests, "PodMonitor", "segserve-label"), the(manifests, "Job", "segserve-label")
    assert monitor["metadata"]["namespace"] == indexed["metadata"]["namespace"]
    assert selects(monitor["spec"]["selector"]["matchLabels"], pod_labels(indexed))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (policy,) = of_kind(manifests, "NetworkPolicy")
    assert selects(policy["spec"]["podSelector"]["matchLabels"], pod_labels(indexed))
    let_in = [rule["ports"] for rule in policy["spec"]["ingress"] if PROMETHEUS in rule["from"]]
    assert let_in == [[{"port": endpoint["port"], "protocol": "TCP"}]]


def test_a_job_that_failures_stop_is_not_tried_again() -> None:
    ignored, failed = job("indexed-job")["spec"]["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert failed["action"] == "FailJob"
    assert STOPPED_BY_FAILURES in failed["onExitCodes"]["values"]


def test_a_photo_that_exhausts_a_pods_memory_is_found_before_its_index_is_given_up() -> None:
    """The kernel ends a pod's processes together, so that each death of a worker is one of its pod."""
    assert job("indexed-job")["spec"]["backoffLimitPerIndex"] >= MAX_DEATHS


def test_the_ray_job_calls_the_command_as_it_is() -> None:
    spec = job("ray-job")["spec"]
    program, name, *arguments = shlex.split(spec["entrypoint"])
    assert (program, name) == ("segserve", "label")
    assert label.make_context("label", arguments).params["runner"] == "ray"
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    images = {c["image"] for t in templates("ray-job") for c in t["spec"]["containers"]}
    assert len(images) == 1


def test_the_cluster_runs_the_ray_that_is_pinned() -> None:
    pinned = (K8S.parent / "constraints.txt").read_text()
    assert f"ray=={job('ray-job')['spec']['rayClusterSpec']['rayVersion']}\n" in pinned
