from hypothesis import given
from hypothesis import strategies as st

from service.scheduling.memory import MemoryBudget

CEILING = 1000


def test_takes_and_gives_back_and_says_so() -> None:
    seen: list[int] = []
    budget = MemoryBudget(CEILING, seen.append)
    assert budget.reserve(600)
    assert budget.reserve(400)
    assert not budget.reserve(1)
    budget.release(400)
    assert budget.reserve(1)
    assert seen == [600, 1000, 600, 601]


def test_what_is_larger_than_the_ceiling_goes_alone() -> None:
    budget = MemoryBudget(CEILING, lambda _: None)
    assert budget.reserve(5 * CEILING)
    assert not budget.reserve(1)
    budget.release(5 * CEILING)
    assert budget.reserve(1)
    assert not budget.reserve(5 * CEILING)


def test_what_a_request_holds_itself_does_not_stand_in_its_way() -> None:
    budget = MemoryBudget(CEILING, lambda _: None)
    assert budget.reserve(100)
    assert not budget.reserve(CEILING)
    assert not budget.reserve(CEILING, own=99)
    assert budget.reserve(CEILING, own=100)
    assert budget.held == CEILING + 100


def test_what_others_hold_does() -> None:
    budget = MemoryBudget(CEILING, lambda _: None)
    assert budget.reserve(100)
    assert budget.reserve(1)
    assert not budget.reserve(CEILING, own=100)
    assert budget.reserve(CEILING - 101, own=100)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, CEILING))))
def test_never_holds_more_than_the_ceiling(steps: list[tuple[bool, int]]) -> None:
    budget = MemoryBudget(CEILING, lambda _: None)
    taken: list[int] = []
    for take, amount in steps:
        if take and budget.reserve(amount):
            taken.append(amount)
        elif not take and taken:
            budget.release(taken.pop())
        assert budget.held == sum(taken) <= CEILING
