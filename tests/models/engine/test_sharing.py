import threading

import pytest
import torch

from models.engine import sharing
from models.engine.sharing import engine_threads, enter


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [1]), (2, [1, 1]), (4, [1, 1, 1, 1]), (6, [1, 1, 1, 1]), (64, [16] * 4)]
)
def test_a_cpu_is_shared_out_to_a_few_engines(cores: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "default_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert engine_threads() == expected


@pytest.mark.parametrize(("cores", "expected"), [(1, [1, 1]), (16, [8, 8])])
def test_a_gpu_has_two_engines(cores: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert engine_threads() == expected


def test_each_engine_of_a_gpu_has_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = iter(("first", "second"))
    entered: list[str] = []
    monkeypatch.setattr(sharing, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: next(streams))
    monkeypatch.setattr(torch.cuda, "set_stream", entered.append)
    for _ in range(2):
        enter(torch.get_num_threads())
    assert entered == ["first", "second"]


def test_a_limit_holds_for_the_thread_that_sets_it() -> None:
    before, seen = torch.get_num_threads(), []

    def limited() -> None:
        enter(3)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=limited)
    thread.start()
    thread.join()
    assert seen == [3]
    assert torch.get_num_threads() == before
