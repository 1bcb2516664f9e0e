import threading

import pytest
import torch

from models.engine import sharing
from models.engine.sharing import engine_threads, limit_threads


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [1]), (2, [1, 1]), (4, [1, 1, 1, 1]), (6, [1, 1, 1, 1]), (64, [16] * 4)]
)
def test_a_cpu_is_shared_out_to_a_few_engines(cores: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "default_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert engine_threads() == expected


def test_a_gpu_has_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "default_device", lambda: torch.device("cuda"))
    assert len(engine_threads()) == 1


def test_a_limit_holds_for_the_thread_that_sets_it() -> None:
    before, seen = torch.get_num_threads(), []

    def limited() -> None:
        limit_threads(3)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=limited)
    thread.start()
    thread.join()
    assert seen == [3]
    assert torch.get_num_threads() == before
