"""docker/compose.yaml, as far as it can be tested without a container engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.server import LEAVING_SECONDS
from service.settings import Settings
from tests.docker.test_dockerfile import DOCKERFILE, EXACT
from tests.programs import promtool
from worker.settings import WorkerSettings

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("segserve", "gateway", "worker")
TARGETS = {"segserve": "embedded", "gateway": "gateway", "worker": "worker"}


def mounted(service: str) -> dict[str, Path]:
    """Files of the repository by their place in the container."""
    found = {}
    for volume in SERVICES[service].get("volumes", []):
        source, place, *_ = volume.split(":")
        if source.startswith("."):
            found[place] = (DOCKER / source).resolve()
    return found


def exposed(target: str) -> list[str]:
    """The ports of an image."""
    stage = DOCKERFILE.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
    (ports,) = re.findall(r"^EXPOSE (.+)$", stage, re.MULTILINE)
    return str(ports).split()


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned_and_what_is_mounted_is_there(service: str) -> None:
    assert EXACT.fullmatch(SERVICES[service]["image"])
    assert all(path.is_file() for path in mounted(service).values())


@pytest.mark.parametrize("service", SERVICES)
def test_only_this_machine_is_answered(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))


def test_a_workers_ports_are_not_published() -> None:
    """TorchServe asks for no key."""
    assert "ports" not in SERVICES["worker"]


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_has_rights_that_it_does_not_need(service: str) -> None:
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    if service in OURS:
        assert SERVICES[service]["read_only"] is True
        assert SERVICES[service]["user"] == "1000:1000"


@pytest.mark.parametrize("service", OURS)
def test_settings_and_targets_are_ones_that_there_are(service: str) -> None:
    fields = {f"SEGSERVE_{name.upper()}" for name in Settings.model_fields}
    fields |= {f"SEGSERVE_WORKER_{name.upper()}" for name in WorkerSettings.model_fields}
    assert SERVICES[service]["environment"].keys() <= fields
    assert SERVICES[service]["build"]["target"] == TARGETS[service]
    assert f" AS {TARGETS[service]}\n" in DOCKERFILE


@pytest.mark.parametrize("service", ["segserve", "gateway"])
def test_what_was_accepted_may_be_finished(service: str) -> None:
    drain = int(SERVICES[service]["environment"]["SEGSERVE_DRAIN_S"])
    # Photos are still accepted for a while.
    assert drain * 1000 >= LEAVING_SECONDS * 1000 + Settings.model_fields["max_timeout_ms"].default
    assert int(SERVICES[service]["stop_grace_period"].removesuffix("s")) >= drain + 5


def test_prometheus_starts_with_the_rules_of_kubernetes(tmp_path: Path) -> None:
    """The container's own commands, up to the server itself."""
    files = mounted("prometheus")
    (command,) = SERVICES["prometheus"]["command"]
    rules = tmp_path / "rules.yaml"
    extract = command.partition("exec prometheus")[0].replace("$$", "$").replace("/tmp/rules.yaml", str(rules))
    extract = extract.replace("/etc/segserve/prometheus-rule.yaml", str(files["/etc/segserve/prometheus-rule.yaml"]))
    subprocess.run(["sh", "-c", extract], check=True)
    configuration = files["/etc/segserve/prometheus.yaml"].read_text(encoding="utf-8")
    (tmp_path / "prometheus.yaml").write_text(configuration.replace("/tmp/rules.yaml", str(rules)))
    checked = subprocess.run(
        [promtool(), "check", "config", tmp_path / "prometheus.yaml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout


def test_prometheus_scrapes_services_that_there_are() -> None:
    """By the ports that their images expose, for a worker's are not published."""
    configuration = yaml.safe_load(mounted("prometheus")["/etc/segserve/prometheus.yaml"].read_text(encoding="utf-8"))
    (job,) = configuration["scrape_configs"]
    for group in job["static_configs"]:
        for target in group["targets"]:
            host, _, port = target.partition(":")
            assert port in exposed(TARGETS[host])
