import asyncio

import pytest

from labeling import retrying
from labeling.errors import PhotoError, TransientError


async def test_a_success_at_once_is_one_attempt() -> None:
    async def work() -> str:
        return "done"

    assert await retrying.retrying(work) == ("done", 1)


async def test_delays_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[float] = []

    def uniform(low: float, high: float) -> float:
        longest.append(high)
        return low

    monkeypatch.setattr(retrying, "ATTEMPTS", 10)
    monkeypatch.setattr("random.uniform", uniform)

    async def work() -> None:
        raise TransientError("unreachable", "no")

    with pytest.raises(TransientError) as found:
        await retrying.retrying(work)
    assert found.value.attempts == 10
    assert longest == [1, 2, 4, 8, 16, 30, 30, 30, 30]


async def test_a_permanent_error_is_not_tried_again() -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        raise PhotoError("not-found", "no")

    with pytest.raises(PhotoError):
        await asyncio.wait_for(retrying.retrying(work), 5)
    assert calls == 1
