"""How pods start, are found alive and ready, are replaced, and end."""

from service.server import LEAVING_SECONDS
from tests import photos
from tests.k8s.manifests import Manifest, config, of_kind, overlay, pod, pod_labels, the, workloads
from tests.service.fakes import FakeBackend
from tests.service.gateway import gateway

PHOTO = photos.png(photos.street(8, 8))
GRACE_SECONDS = 5
"""For what follows a drain: the last answers are written, devices and codecs freed."""


def seconds_before_the_end(workload: Manifest) -> int:
    (container,) = pod(workload)["containers"]
    pause: int = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    return pause


def test_probes_mean_what_they_say(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        for container in pod(workload)["containers"]:
            ports = {port["name"] for port in container["ports"]}
            probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
            for probe in probes.values():
                assert probe["httpGet"]["port"] in ports
            # The process answers: it must not end because a worker, or all of them, are away.
            assert probes["liveness"]["httpGet"]["path"] == "/livez"
            assert probes["liveness"]["periodSeconds"] * probes["liveness"]["failureThreshold"] >= 60


def test_ready_are_those_that_may_be_asked(manifests: list[Manifest]) -> None:
    """The models are loaded, warm and not about to go; but what wakes workers has to be asked while there are none."""
    to_zero = any(one["spec"]["minReplicaCount"] == 0 for one in of_kind(manifests, "ScaledObject"))
    for workload in workloads(manifests):
        (container,) = pod(workload)["containers"]
        wakes = to_zero and pod_labels(workload)["app.kubernetes.io/component"] == "gateway"
        assert container["readinessProbe"]["httpGet"]["path"] == ("/livez" if wakes else "/readyz")


def test_nobody_is_sent_to_a_pod_that_ends(manifests: list[Manifest]) -> None:
    """One whose Service publishes all addresses would stay among them through its whole preStop."""
    for service in of_kind(manifests, "Service"):
        assert "publishNotReadyAddresses" not in service["spec"]


def test_a_rollout_of_gateways_takes_none_away_first(manifests: list[Manifest]) -> None:
    rolling = the(manifests, "Deployment", "segserve-gateway")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


async def test_a_gateway_without_workers_is_ready_to_be_asked_where_they_scale_to_zero() -> None:
    (container,) = pod(the(overlay("batch"), "Deployment", "segserve-gateway"))["containers"]
    async with gateway(FakeBackend(waiting=[]), ready=False) as idle:
        assert (await idle.client.get(container["readinessProbe"]["httpGet"]["path"])).status_code == 200
        assert (await idle.client.get("/readyz")).status_code == 503
        refused = await idle.segment(PHOTO)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]


def test_only_what_loads_a_network_is_given_minutes_to_start(manifests: list[Manifest]) -> None:
    alone = config(manifests, "segserve-gateway")["SEGSERVE_BACKEND"] == "local"
    for workload in workloads(manifests):
        (container,) = pod(workload)["containers"]
        probe = container["startupProbe"]
        loads = alone or pod_labels(workload)["app.kubernetes.io/component"] == "worker"
        assert probe["httpGet"]["path"] == ("/readyz" if loads else "/livez")
        assert (probe["periodSeconds"] * probe["failureThreshold"] >= 300) == loads


def test_a_gateway_ends_after_its_last_promise(manifests: list[Manifest]) -> None:
    settings = config(manifests, "segserve-gateway")
    gateway = the(manifests, "Deployment", "segserve-gateway")
    drain = int(settings["SEGSERVE_DRAIN_S"])
    # Photos are still accepted for a while.
    assert drain * 1000 >= LEAVING_SECONDS * 1000 + int(settings["SEGSERVE_MAX_TIMEOUT_MS"])
    pause = seconds_before_the_end(gateway)
    if settings["SEGSERVE_BACKEND"] == "torchserve":
        worker = the(manifests, "Deployment", "segserve-worker")
        calls = int(config(manifests, "segserve-worker")["SEGSERVE_WORKER_DRAIN_S"])
        needed = seconds_before_the_end(worker) + calls + GRACE_SECONDS
        assert pod(worker)["terminationGracePeriodSeconds"] >= needed
    # Others need some seconds to hear that it is ending.
    assert pause >= 5
    assert pod(gateway)["terminationGracePeriodSeconds"] >= pause + drain + GRACE_SECONDS
