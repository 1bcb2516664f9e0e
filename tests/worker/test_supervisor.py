import asyncio
import os
import shutil
from pathlib import Path

import pytest

from models.weights.checkpoint import Checkpoint
from worker import supervisor
from worker.library import ModelId
from worker.served_model import ServedModel
from worker.settings import WorkerSettings
from worker.supervisor import Supervisor


def slots(settings: WorkerSettings) -> int:
    made = Supervisor(settings)
    try:
        assert made.status.slots == made.slots
        return made.slots
    finally:
        asyncio.run(made.management.close())
        shutil.rmtree(made.folder)


@pytest.mark.parametrize(
    ("cores", "gpus", "given", "expected"),
    [(1, 0, 0, 1), (2, 0, 0, 2), (64, 0, 0, 4), (64, 3, 0, 3), (2, 0, 5, 5), (2, 2, 1, 1)],
)
def test_a_slot_is_a_gpu_or_else_a_core_up_to_four(
    monkeypatch: pytest.MonkeyPatch, cores: int, gpus: int, given: int, expected: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    monkeypatch.setattr(supervisor, "gpus", lambda: ["H200"] * gpus)
    assert slots(WorkerSettings(slots=given)) == expected


def test_without_a_word_on_cores_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(supervisor, "gpus", list)
    assert slots(WorkerSettings()) == min(4, len(os.sched_getaffinity(0)))


def test_a_model_that_leaves_the_folder_stays_for_what_was_accepted_for_it(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ready(Supervisor):
        async def _load(self, key: ModelId, checkpoint: Checkpoint) -> None:
            self._models[key] = ServedModel(checkpoint, "ready")

        async def _unregister(self, key: ModelId) -> None:
            pass

    def states() -> list[str]:
        asyncio.run(worker._reconcile())
        return [model.state for model in worker.status.models]

    monkeypatch.setattr("worker.library.SHIPPED", tmp_path / "nothing")
    monkeypatch.setattr(supervisor, "_UNPUBLISHED_SECONDS", 0)
    worker = Ready(WorkerSettings(model_dir=tmp_path))
    weights = tmp_path / "tiny@1.safetensors"
    try:
        shutil.copy(checkpoint_dir / weights.name, weights)
        assert states() == ["ready"]
        weights.unlink()
        assert states() == states() == ["leaving"]
        shutil.copy(checkpoint_dir / weights.name, weights)
        assert states() == ["ready"]
        weights.unlink()
        monkeypatch.setattr(supervisor, "_LEAVING_SECONDS", 0)
        assert states() == []
    finally:
        asyncio.run(worker.management.close())
        shutil.rmtree(worker.folder)


def test_a_version_that_takes_anothers_place_is_loaded_before_that_is_unloaded(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    class Noting(Supervisor):
        async def _load(self, key: ModelId, checkpoint: Checkpoint) -> None:
            self._models[key] = ServedModel(checkpoint)
            done.append(f"+{key[0]}@{key[1]}")

        async def _unload(self, key: ModelId, model: ServedModel) -> None:  # noqa: ARG002
            del self._models[key]
            done.append(f"-{key[0]}@{key[1]}")

    def put(name: str, end: bytes = b"\0") -> None:
        weights = (checkpoint_dir / "tiny@1.safetensors").read_bytes()
        (tmp_path / f"{name}.safetensors").write_bytes(weights[:-1] + end)

    async def reconcile() -> str:
        done.clear()
        await noting._reconcile()
        return " ".join(done)

    monkeypatch.setattr("worker.library.SHIPPED", tmp_path / "nothing")
    noting = Noting(WorkerSettings(model_dir=tmp_path))
    try:
        put("tiny@1")
        assert asyncio.run(reconcile()) == "+tiny@1"
        put("tiny@2")
        (tmp_path / "tiny@1.safetensors").unlink()
        assert asyncio.run(reconcile()) == "+tiny@2 -tiny@1"
        put("tiny@2", b"\1")
        assert asyncio.run(reconcile()) == "-tiny@2 +tiny@2"
    finally:
        shutil.rmtree(noting.folder)
