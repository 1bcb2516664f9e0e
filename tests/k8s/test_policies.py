"""What holds for every object of every overlay."""

from pathlib import Path

from cli.main import COMMANDS
from service.server import KEEP_ALIVE_SECONDS
from service.settings import Settings
from tests.k8s.manifests import (
    Manifest,
    config,
    containers,
    of_kind,
    pod,
    pod_labels,
    selects,
    the,
    workloads,
)
from tests.k8s.public import public_overlay
from worker.settings import WorkerSettings

GRACE_SECONDS = 5
"""For what follows a drain: the last answers are written, devices and codecs freed."""


def seconds_before_the_end(workload: Manifest) -> int:
    (container,) = pod(workload)["containers"]
    pause: int = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    return pause


def in_bytes(quantity: str) -> int:
    for suffix, factor in (("Gi", 2**30), ("Mi", 2**20)):
        if quantity.endswith(suffix):
            return int(quantity.removesuffix(suffix)) * factor
    raise ValueError(quantity)


# The pods


def test_pods_are_restricted(manifests: list[Manifest]) -> None:
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(manifests):
        assert workload["metadata"]["namespace"] == namespace["metadata"]["name"]
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "emptyDir", "secret"}
        for container in containers(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_no_pod_can_speak_to_the_api_server(manifests: list[Manifest]) -> None:
    accounts = {account["metadata"]["name"]: account for account in of_kind(manifests, "ServiceAccount")}
    for workload in workloads(manifests):
        assert pod(workload)["automountServiceAccountToken"] is False
        assert accounts[pod(workload)["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert not of_kind(manifests, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def test_what_they_may_take_is_bounded(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        for container in containers(workload):
            resources = container["resources"]
            assert {"cpu", "memory", "ephemeral-storage"} <= resources["requests"].keys()
            assert {"memory", "ephemeral-storage"} <= resources["limits"].keys()
            # A quota of CPU time stops all threads for the rest of a period: that costs latency and saves nothing.
            assert "cpu" not in resources["limits"]
        for volume in pod(workload)["volumes"]:
            if "emptyDir" in volume:
                assert in_bytes(volume["emptyDir"]["sizeLimit"]) > 0


def test_volumes_may_be_filled(manifests: list[Manifest]) -> None:
    """A pod whose files on disk outgrow its limit is evicted, whatever each volume may hold."""
    for workload in workloads(manifests):
        (container,) = pod(workload)["containers"]
        volumes = [volume["emptyDir"] for volume in pod(workload)["volumes"] if "emptyDir" in volume]
        on_disk = sum(in_bytes(volume["sizeLimit"]) for volume in volumes if volume.get("medium") != "Memory")
        assert on_disk <= in_bytes(container["resources"]["limits"]["ephemeral-storage"])


def test_nothing_stands_before_the_start_of_a_gpus_worker(manifests: list[Manifest]) -> None:
    """Only CPUs run compiled networks, and one that does not compile must not keep the others from being served."""
    for workload in workloads(manifests):
        assert "initContainers" not in pod(workload)


def test_a_gateway_has_the_memory_that_it_may_promise(manifests: list[Manifest]) -> None:
    promised = int(config(manifests, "segserve-gateway")["SEGSERVE_MAX_MEMORY_BYTES"])
    gateway = the(manifests, "Deployment", "segserve-gateway")
    (container,) = pod(gateway)["containers"]
    assert in_bytes(container["resources"]["limits"]["memory"]) >= promised + in_bytes(
        container["resources"]["requests"]["memory"]
    )


def test_threads_are_counted_by_the_container_and_not_by_the_node(manifests: list[Manifest]) -> None:
    (container,) = pod(the(manifests, "Deployment", "segserve-gateway"))["containers"]
    wanted = {"SEGSERVE_CODEC_THREADS"}
    if config(manifests, "segserve-gateway")["SEGSERVE_BACKEND"] == "local":
        wanted |= {"OMP_NUM_THREADS"}
    counted = {v["name"] for v in container["env"] if v["valueFrom"]["resourceFieldRef"]["resource"] == "requests.cpu"}
    assert counted == wanted


def test_gpus_are_asked_for_whole_and_where_they_are(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        wants = {container["resources"]["requests"].get("nvidia.com/gpu") for container in containers(workload)}
        is_worker = pod_labels(workload)["app.kubernetes.io/component"] == "worker"
        assert wants == ({"1"} if is_worker else {None})
        for container in containers(workload):
            resources = container["resources"]
            assert resources["limits"].get("nvidia.com/gpu") == resources["requests"].get("nvidia.com/gpu")
        if is_worker:
            assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod(workload)[
                "tolerations"
            ]
            assert pod(workload)["nodeSelector"] == {"nvidia.com/gpu.present": "true"}


def test_images_are_pinned(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        for container in containers(workload):
            registry, _, name = container["image"].partition("/")
            assert "." in registry
            assert name.partition(":")[2] not in ("", "latest")


def test_priorities_exist(manifests: list[Manifest]) -> None:
    classes = {one["metadata"]["name"]: one["value"] for one in of_kind(manifests, "PriorityClass")}
    assert classes["segserve-batch"] < 0 < classes["segserve-serving"]
    for workload in workloads(manifests):
        assert pod(workload)["priorityClassName"] in classes


def test_pods_are_spread(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        constraints = pod(workload)["topologySpreadConstraints"]
        assert "topology.kubernetes.io/zone" in {one["topologyKey"] for one in constraints}
        for one in constraints:
            assert selects(one["labelSelector"]["matchLabels"], pod_labels(workload))


# Start, life and end


def test_probes_mean_what_they_say(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        for container in pod(workload)["containers"]:
            ports = {port["name"] for port in container["ports"]}
            probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
            for probe in probes.values():
                assert probe["httpGet"]["port"] in ports
            # The models are loaded, warm and not about to go.
            assert probes["readiness"]["httpGet"]["path"] == "/readyz"
            # The process answers: it must not end because a worker, or all of them, are away.
            assert probes["liveness"]["httpGet"]["path"] == "/livez"
            assert probes["liveness"]["periodSeconds"] * probes["liveness"]["failureThreshold"] >= 60


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
    assert drain * 1000 >= KEEP_ALIVE_SECONDS * 1000 + int(settings["SEGSERVE_MAX_TIMEOUT_MS"])
    pause = seconds_before_the_end(gateway)
    if settings["SEGSERVE_BACKEND"] == "torchserve":
        worker = the(manifests, "Deployment", "segserve-worker")
        calls = int(config(manifests, "segserve-worker")["SEGSERVE_WORKER_DRAIN_S"])
        needed = seconds_before_the_end(worker) + calls + GRACE_SECONDS
        assert pod(worker)["terminationGracePeriodSeconds"] >= needed
    # Others need some seconds to hear that it is ending.
    assert pause >= 5
    assert pod(gateway)["terminationGracePeriodSeconds"] >= pause + drain + GRACE_SECONDS


def test_settings_are_ones_that_there_are(manifests: list[Manifest]) -> None:
    settings = config(manifests, "segserve-gateway")
    fields = {f"SEGSERVE_{name.upper()}" for name in Settings.model_fields}
    assert settings.keys() <= fields
    Settings.model_validate({name.removeprefix("SEGSERVE_").lower(): value for name, value in settings.items()})
    if settings["SEGSERVE_BACKEND"] == "torchserve":
        fields = {f"SEGSERVE_WORKER_{name.upper()}" for name in WorkerSettings.model_fields}
        assert config(manifests, "segserve-worker").keys() <= fields | {"SEGSERVE_CACHE_DIR"}


def test_gateways_look_for_workers_where_they_are(manifests: list[Manifest]) -> None:
    settings = config(manifests, "segserve-gateway")
    if settings["SEGSERVE_BACKEND"] == "local":
        return
    host, _, port = settings["SEGSERVE_WORKERS_AT"].removeprefix("http://").partition(":")
    service = the(manifests, "Service", host)
    assert service["spec"]["clusterIP"] == "None"
    worker, ports = config(manifests, "segserve-worker"), {p["name"]: p["port"] for p in service["spec"]["ports"]}
    assert ports == {
        "status": int(worker["SEGSERVE_WORKER_PORT"]),
        "inference": int(worker["SEGSERVE_WORKER_INFERENCE_PORT"]),
    }
    assert int(port) == ports["status"]
    (container,) = pod(the(manifests, "Deployment", "segserve-worker"))["containers"]
    assert {p["name"]: p["containerPort"] for p in container["ports"]} == ports


def test_what_is_compiled_is_kept_where_it_can_be_written(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        for container in containers(workload):
            name = container["envFrom"][0]["configMapRef"]["name"].rpartition("-")[0]
            if cache := config(manifests, name).get("SEGSERVE_CACHE_DIR"):
                assert cache in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_containers_run_commands_that_there_are(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        for container in containers(workload):
            assert container["args"][0] in COMMANDS


def test_disruptions_are_budgeted(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        (budget,) = [
            one
            for one in of_kind(manifests, "PodDisruptionBudget")
            if selects(one["spec"]["selector"]["matchLabels"], pod_labels(workload))
        ]
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


# Scaling


def test_changed_settings_roll_the_pods(manifests: list[Manifest]) -> None:
    names = {one["metadata"]["name"] for one in of_kind(manifests, "ConfigMap")}
    for workload in workloads(manifests):
        for container in pod(workload)["containers"]:
            for source in container["envFrom"]:
                name = source["configMapRef"]["name"]
                assert name in names
                assert len(name.rpartition("-")[2]) == 10


def test_no_secret_is_in_a_manifest(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")


def test_the_public_service_wants_keys_and_shows_no_address_of_its_operators(tmp_path: Path) -> None:
    public = public_overlay(tmp_path)
    gateway = the(public, "Deployment", "segserve-gateway")
    (container,) = pod(gateway)["containers"]
    key_file = config(public, "segserve-gateway")["SEGSERVE_API_KEY_FILE"]
    (mount,) = [mount for mount in container["volumeMounts"] if key_file.startswith(f"{mount['mountPath']}/")]
    (volume,) = [volume for volume in pod(gateway)["volumes"] if volume["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "segserve-api-keys"}
    (ingress,) = of_kind(public, "Ingress")
    assert ingress["spec"]["tls"]
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            assert not any(hidden.startswith(path["path"]) for hidden in ("/metrics", "/livez", "/readyz"))


def test_the_ingress_takes_all_that_the_gateway_takes(tmp_path: Path) -> None:
    public = public_overlay(tmp_path)
    (ingress,) = of_kind(public, "Ingress")
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    limits = {name.removeprefix(prefix): value for name, value in ingress["metadata"]["annotations"].items()}
    assert int(limits["body-size"].removesuffix("m")) * 2**20 > Settings().max_body_bytes
    assert int(limits["read-timeout"]) * 1000 > int(config(public, "segserve-gateway")["SEGSERVE_MAX_TIMEOUT_MS"])
    # Else a body is kept on the proxy's disk before the gateway may refuse it by its header.
    assert limits["request-buffering"] == "off"
