import asyncio
import os
import shutil

import pytest

from worker import supervisor
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
