"""What becomes of actors, with a stand-in for Ray: of the ways to end, a real cluster shows only one at will."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnschedulableError, NodeDiedError, OutOfMemoryError, RayActorError

from labeling.counts import Counts
from labeling.job import Job
from labeling.progress import Progress
from labeling.runners import ray as runner
from labeling.runners.ray import cores_beside_a_gpu
from labeling.shard import Unit
from labeling.worker import WorkerSettings
from tests.labeling.brightness import LABELS


class Answer:
    """What a call comes back with, and after how many looks."""

    def __init__(self, content: object, looks: int = 0) -> None:
        self.content = content
        self.looks = looks


class Ray:
    """The actors that it starts do, one after the other, what `lives` says of them; the last one's are good."""

    def __init__(self, *lives: Answer, looks_to_a_place: int = 0) -> None:
        self._lives = list(lives)
        self._looks_to_a_place = looks_to_a_place
        self.started = 0

    def remote(self, *_: object) -> SimpleNamespace:
        self.started += 1
        life = self._lives.pop(0) if self._lives else Answer(("done", ""))
        dead = isinstance(life.content, Exception)
        return SimpleNamespace(
            ready=_method(None, self._looks_to_a_place),
            do=_method(life.content, life.looks),
            take_counts=_method(life.content if dead else Counts()),
            stop=_method(None),
        )

    def wait(
        self,
        references: Sequence[Answer],
        num_returns: int = 1,  # noqa: ARG002 (Ray's signature)
        timeout: float = 0,  # noqa: ARG002
    ) -> tuple[list[Answer], list[Answer]]:
        for reference in references:
            reference.looks -= 1
        return [one for one in references if one.looks < 0], [one for one in references if one.looks >= 0]

    def get(self, reference: Answer) -> Any:
        if isinstance(reference.content, Exception):
            raise reference.content
        return reference.content

    def kill(self, handle: SimpleNamespace) -> None:
        pass

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 12.0, "GPU": 1.0}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 4.0, "GPU": 1.0}


def _method(content: object, looks: int = 0) -> SimpleNamespace:
    return SimpleNamespace(remote=lambda *_: Answer(content, looks))


def work_off(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ray", ray)
    monkeypatch.setattr(runner, "_SECONDS_BETWEEN_REPORTS", 0.0)
    job = Job("0", "photos", "manifest/0", 1, 1, LABELS)
    runner._Run(ray, "8 CPU and 1 GPU", (job, "", WorkerSettings()), [Unit(0)], Progress(1, shown=False), "").work_off(
        1
    )


@pytest.mark.parametrize(
    "death",
    [RayActorError(), OutOfMemoryError("no memory"), NodeDiedError("no node"), ActorUnschedulableError("no place")],
    ids=lambda death: type(death).__name__,
)
def test_whatever_an_actor_dies_of_another_one_takes_over(
    death: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = Ray(Answer(death, looks=2))
    work_off(ray, monkeypatch)
    assert ray.started == 2
    assert "another one takes over" in capsys.readouterr().err


def test_a_cluster_without_a_place_for_actors_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "_SECONDS_TO_A_PLACE", 0.0)
    work_off(Ray(looks_to_a_place=9), monkeypatch)
    assert capsys.readouterr().err == (
        "no actor has a place yet: the cluster has 12 CPU (4 free) and 1 GPU (1 free), "
        "and each actor wants 8 CPU and 1 GPU of one node\n"
    )


def test_of_a_cluster_with_a_place_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "_SECONDS_TO_A_PLACE", 0.0)
    work_off(Ray(Answer(("done", ""), looks=9)), monkeypatch)
    assert capsys.readouterr().err == ""


def test_cores_are_shared_among_the_gpus_of_the_node_that_has_fewest() -> None:
    def node(*, alive: bool = True, **resources: float) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"memory": 1.0, **resources}}

    cores_alone, dead, coreless = node(CPU=64.0), node(CPU=2.0, GPU=2.0, alive=False), node(GPU=8.0)
    assert cores_beside_a_gpu([cores_alone, node(CPU=8.0, GPU=1.0), node(CPU=14.0, GPU=2.0), dead, coreless]) == 7
    assert cores_beside_a_gpu([node(CPU=2.0, GPU=4.0), node(CPU=8.0, GPU=1.0)]) == 1
    assert cores_beside_a_gpu([coreless]) == 1
