import pytest

from service.scheduling.job import Ticket
from service.scheduling.priority import Priority
from tests.service.scheduling.tickets import SMALL, ticket


@pytest.mark.parametrize(
    ("priority", "aged"),
    [
        (Priority.INTERACTIVE, Priority.INTERACTIVE),
        (Priority.NORMAL, Priority.INTERACTIVE),
        (Priority.BATCH, Priority.NORMAL),
    ],
)
def test_a_ticket_rises_by_one_class_once_half_of_its_time_is_gone(priority: Priority, aged: Priority) -> None:
    promised = ticket(priority=priority, admitted=10, deadline=20)
    assert promised.rank(10) == promised.rank(15) == priority
    assert promised.rank(15.01) == promised.rank(1000) == aged


def test_the_most_urgent_class_is_the_least() -> None:
    assert sorted(Priority) == [Priority.INTERACTIVE, Priority.NORMAL, Priority.BATCH]


def test_a_ticket_is_released_however_its_context_is_left() -> None:
    released: list[Ticket] = []
    promised = Ticket(SMALL, Priority.NORMAL, 0, 1, 0, 0, 1, 1, released.append)
    with promised as entered:
        assert entered is promised
        assert released == []
    assert released == [promised]
    with pytest.raises(ZeroDivisionError), promised:
        raise ZeroDivisionError
    assert released == [promised, promised]
