"""What an API server would refuse is found here: unknown fields, wrong types, missing values."""

import json
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest

from tests.k8s.composed import COMPONENTS, composed
from tests.k8s.manifests import K8S, OVERLAYS, Manifest, build, of_kind, overlay
from tests.programs import program

VERSIONS = ("1.31", "1.34", "1.37")
# Those that bring their own schemas.
CUSTOM = ("ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule")
JUDGE = Path(__file__).parent / "schemas"


@pytest.fixture(params=[*OVERLAYS, *COMPONENTS, "monitoring", "indexed-job"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    match request.param:
        case "monitoring":
            return build(K8S / "monitoring")
        case "indexed-job":
            return composed(tmp_path, "job-monitor", "batch-jobs/indexed-job")
        case name if name in COMPONENTS:
            return composed(tmp_path, name)
        case name:
            return overlay(name)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(manifests: list[Manifest], version: str) -> None:
    own = [manifest for manifest in manifests if manifest["kind"] not in CUSTOM]
    assert own
    for manifest in own:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_is_found(version: str) -> None:
    (deployment,) = of_kind(overlay("cpu"), "Deployment")
    spec = deployment["spec"] | {"stratgy": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment | {"spec": spec}, version, strict=True)


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the schemas of KEDA and of the Prometheus operator, which npm brings."""
    npm = program("npm", "https://nodejs.org")
    folder = tmp_path_factory.mktemp("schemas")
    shutil.copytree(JUDGE, folder, dirs_exist_ok=True)
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True)
    return folder


def judged(judge: Path, manifests: list[Manifest]) -> list[str]:
    """What is wrong with each; empty strings for what is not."""
    node = program("node", "https://nodejs.org")
    asked = subprocess.run(
        [node, "judge.mjs"], cwd=judge, input=json.dumps(manifests), capture_output=True, text=True, check=True
    )
    verdicts: list[str] = json.loads(asked.stdout)
    return verdicts


def test_keda_and_the_prometheus_operator_take_theirs(judge: Path, manifests: list[Manifest]) -> None:
    custom = of_kind(manifests, *CUSTOM)
    assert judged(judge, custom) == [""] * len(custom)


def test_their_schemas_find_mistakes(judge: Path, tmp_path: Path) -> None:
    wrong = []
    job = composed(tmp_path, "job-monitor", "batch-jobs/indexed-job")
    for manifest in of_kind(overlay("keda") + build(K8S / "monitoring") + job, *CUSTOM):
        first = next(iter(manifest["spec"]))
        wrong.append(manifest | {"spec": manifest["spec"] | {first: 7}})
    assert {manifest["kind"] for manifest in wrong} == set(CUSTOM)
    assert all(judged(judge, wrong))
