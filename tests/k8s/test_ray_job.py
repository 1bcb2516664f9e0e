"""The RayJob, by what KubeRay's CustomResourceDefinition has of the fields that it uses.

The definition itself, of over a megabyte, comes in no package that pip or npm has.
"""

import copy
import json
from typing import Any

import jsonschema
import pytest

from tests.k8s.manifests import K8S, Manifest, build, the
from tests.k8s.test_schemas import JUDGE

SCHEMA = json.loads((JUDGE / "ray-job.json").read_text(encoding="utf-8"))


@pytest.fixture
def ray_job() -> Manifest:
    return copy.deepcopy(the(build(K8S / "batch-jobs" / "ray-job"), "RayJob", "segserve-label"))


def mistakes(manifest: Manifest) -> list[str]:
    return [error.json_path for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(manifest)]


def test_kuberay_takes_it(ray_job: Manifest) -> None:
    assert mistakes(ray_job) == []


@pytest.mark.parametrize(
    ("place", "name", "value", "path"),
    [
        ("spec", "backofLimit", 3, "$.spec"),
        ("spec", "suspend", "true", "$.spec.suspend"),
        ("rayClusterSpec", "rayVersion", 2.6, "$.spec.rayClusterSpec.rayVersion"),
        ("rayClusterSpec", "workerGroupSpec", [], "$.spec.rayClusterSpec"),
        (
            "headGroupSpec",
            "rayStartParams",
            {"num-cpus": 0},
            "$.spec.rayClusterSpec.headGroupSpec.rayStartParams['num-cpus']",
        ),
    ],
)
def test_a_mistake_is_found(ray_job: Manifest, place: str, name: str, value: Any, path: str) -> None:
    spec = ray_job["spec"]
    cluster = spec["rayClusterSpec"]
    places = {"spec": spec, "rayClusterSpec": cluster, "headGroupSpec": cluster["headGroupSpec"]}
    places[place][name] = value
    assert mistakes(ray_job) == [path]


def test_it_may_be_suspended(ray_job: Manifest) -> None:
    """KubeRay refuses that, and to clear up after a time, of one whose cluster stays."""
    assert {"suspend", "ttlSecondsAfterFinished"} <= ray_job["spec"].keys()
    assert ray_job["spec"]["shutdownAfterJobFinishes"] is True
