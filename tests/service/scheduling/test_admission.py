"""What is promised, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backends.base import BatchKey
from service.scheduling.admission import PROBE_SECONDS
from service.scheduling.job import Ticket
from service.scheduling.priority import BATCH_SHARE, Priority
from service.scheduling.sojourn import INTERVAL_SECONDS
from tests.service.scheduling.promises import (
    ALONE,
    DECODE,
    ENCODE,
    FULL,
    KEY,
    OTHER,
    PIXELS,
    ROOM,
    Service,
    device_seconds,
    with_margin,
)

INTERACTIVE, NORMAL, BATCH = Priority


def test_an_idle_service_takes_what_it_can_finish_with_a_margin() -> None:
    assert Service().seconds() == pytest.approx(ALONE)
    assert Service().refusal(ALONE - 0.001).retry_after == pytest.approx(0.001)
    assert Service().admit(ALONE + 0.001)


def test_a_ticket_tells_what_was_predicted() -> None:
    service = Service()
    ticket = service.admit(10)
    assert (ticket.key, ticket.priority, ticket.admitted, ticket.deadline) == (KEY, NORMAL, 1000, 1010)
    assert ticket.decode_seconds == pytest.approx(DECODE)
    assert ticket.start == pytest.approx(1000 + DECODE)
    assert ticket.finish == pytest.approx(1000 + ALONE)


def test_a_ticket_tells_how_late_a_device_is_still_in_time() -> None:
    assert Service().admit(10).latest == pytest.approx(1010 - device_seconds(1) - ENCODE)
    assert Service(busy_until=1003).admit(10).latest == pytest.approx(1010 - FULL - ENCODE)


def test_a_refusal_tells_what_the_photo_would_take_alone() -> None:
    refusal = Service(busy_until=1005).refusal(1.0)
    assert refusal.alone == pytest.approx(ALONE)
    assert refusal.retry_after == pytest.approx(with_margin(5 + FULL + ENCODE) - 1)


def test_a_running_batch_delays() -> None:
    assert Service(busy_until=1003).seconds() == pytest.approx(with_margin(3 + FULL + ENCODE))


def test_a_batch_that_should_have_ended_ends_at_any_moment() -> None:
    assert Service(busy_until=999).seconds() == pytest.approx(ALONE)


def test_those_that_share_its_batch_do_not_delay_a_photo_but_full_batches_do() -> None:
    alike = with_margin(DECODE + FULL + ENCODE)
    service = Service()
    service.decoded(ROOM - 1)
    assert service.seconds() <= alike
    service.decoded(1)
    assert service.seconds() == pytest.approx(with_margin(FULL + FULL + ENCODE))
    service.decoded(2 * ROOM)
    assert service.seconds() == pytest.approx(with_margin(3 * FULL + FULL + ENCODE))


def test_photos_of_another_key_take_batches_of_their_own() -> None:
    service = Service()
    service.decoded(ROOM + 2, key=OTHER)
    ahead = FULL + device_seconds(2)
    assert service.seconds() == pytest.approx(with_margin(ahead + FULL + ENCODE))


def test_a_photo_larger_than_a_batch_is_a_batch() -> None:
    service = Service()
    huge = BatchKey("fake@1", 3000, 2000, 3000, False)
    service.decoded(2, key=huge)
    assert service.seconds(key=huge) == pytest.approx(with_margin(3 * device_seconds(6) + ENCODE))


def test_devices_share_the_work() -> None:
    service = Service(devices=2)
    service.decoded(4 * ROOM)
    assert service.seconds() == pytest.approx(with_margin(4 * FULL / 2 + FULL + ENCODE))


def test_codec_threads_share_what_is_to_be_decoded() -> None:
    for threads in (1, 2):
        service = Service(threads=threads)
        for _ in range(ROOM - 1):
            service.admit()
        backlog = (ROOM - 1) * DECODE / threads
        assert service.seconds() == pytest.approx(with_margin(backlog + DECODE + device_seconds(1) + ENCODE))


def test_what_a_device_has_taken_is_in_its_batch_and_no_longer_ahead() -> None:
    service = Service()
    tickets = [service.admit() for _ in range(2 * ROOM)]
    for ticket in tickets:
        ticket.decode_seconds = ticket.dispatched = 0.0
    assert service.seconds() == pytest.approx(ALONE)


def test_only_earlier_deadlines_of_its_class_go_before_a_photo() -> None:
    service = Service()
    service.decoded(ROOM, within=50, key=OTHER)
    assert service.seconds(within=49) == pytest.approx(ALONE)
    assert service.seconds(within=51) == pytest.approx(with_margin(FULL + FULL + ENCODE))


@pytest.mark.parametrize(("priority", "others"), [(INTERACTIVE, NORMAL), (INTERACTIVE, BATCH), (NORMAL, BATCH)])
def test_less_urgent_classes_do_not_go_before_a_photo(priority: Priority, others: Priority) -> None:
    service = Service()
    service.decoded(5 * ROOM, others, OTHER)
    assert service.seconds(priority) == pytest.approx(ALONE)
    assert service.seconds(others) > 3


@pytest.mark.parametrize(("priority", "others"), [(NORMAL, INTERACTIVE), (BATCH, INTERACTIVE), (BATCH, NORMAL)])
def test_more_urgent_classes_do_whatever_their_deadline(priority: Priority, others: Priority) -> None:
    service = Service()
    service.decoded(ROOM, others, OTHER)
    assert service.seconds(priority) == pytest.approx(with_margin(FULL + FULL + ENCODE))


def test_the_load_of_more_urgent_classes_slows_what_waits() -> None:
    service = Service()
    service.decoded(2 * ROOM)
    calm = service.seconds()
    for _ in range(4):
        ticket = service.admit(priority=INTERACTIVE)
        ticket.decode_seconds = ticket.dispatched = 0.0
    # Four photos of 0.15 s in full batches, remembered for about a second.
    assert service.seconds() > calm + 0.5
    service.now += 20
    assert service.seconds() == pytest.approx(calm, rel=1e-3)
    assert service.seconds(INTERACTIVE) == pytest.approx(ALONE)


def test_no_load_makes_the_others_wait_for_ever() -> None:
    service = Service()
    service.decoded(ROOM)
    for _ in range(1000):
        ticket = service.admit(priority=INTERACTIVE)
        ticket.decode_seconds = ticket.dispatched = 0.0
    assert service.seconds() == pytest.approx(with_margin(FULL / BATCH_SHARE + FULL + ENCODE))


def test_waiting_batch_work_takes_its_share_from_the_others() -> None:
    service = Service()
    service.decoded(2 * ROOM)
    service.decoded(1, BATCH, OTHER)
    assert service.seconds() == pytest.approx(with_margin(2 * FULL / (1 - BATCH_SHARE) + FULL + ENCODE))


def test_batch_is_promised_its_share_however_much_of_the_others_waits() -> None:
    service = Service()
    service.decoded(150 * ROOM, INTERACTIVE, OTHER)
    turn = FULL / BATCH_SHARE
    assert service.seconds(NORMAL) > 10 * turn
    assert service.seconds(BATCH) == pytest.approx(with_margin(turn + FULL + ENCODE))
    service.decoded(2 * ROOM, BATCH)
    assert service.seconds(BATCH) == pytest.approx(with_margin(3 * turn + FULL + ENCODE))


def test_the_guards_excess_delays_the_promise_and_not_what_it_is_measured_by() -> None:
    service = Service()
    service.guard.observe(service.now - INTERVAL_SECONDS, 3.0)
    assert service.seconds() == pytest.approx(with_margin(3 + DECODE + device_seconds(1) + ENCODE))
    assert service.admit().start == pytest.approx(1000 + DECODE)


def test_an_idle_service_that_was_silent_for_long_tries_what_it_thinks_it_cannot() -> None:
    service = Service()
    service.now += PROBE_SECONDS
    service.refusal(0.001)
    service.now += 0.001
    with service.admit(0.001):
        # One at a time.
        service.refusal(0.001)
    service.latencies.observe(("fake", "fake@1"), None, PIXELS, device_seconds(1))
    service.refusal(0.001)


def test_leaving_gives_the_place_back_whatever_happened() -> None:
    service = Service()
    ticket = service.admit()
    assert service.admission.promised == 1
    with pytest.raises(ZeroDivisionError), ticket:
        raise ZeroDivisionError
    assert service.admission.promised == 0


def test_a_refusal_leaves_nothing_behind() -> None:
    service = Service()
    for _ in range(100):
        service.refusal(0.1, INTERACTIVE)
    assert service.admission.promised == 0
    assert service.seconds(NORMAL) == pytest.approx(ALONE)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["admit", "refuse", "decode", "dispatch", "leave"])), max_size=60
    )
)
def test_nothing_is_left_when_all_have_left(steps: list[tuple[int, str]]) -> None:
    service = Service()
    open_tickets: dict[int, Ticket] = {}
    for number, step in steps:
        service.now += 0.1
        if step == "admit" and number not in open_tickets:
            open_tickets[number] = service.admit(priority=Priority(number % 3))
        elif step == "refuse":
            service.refusal(0.001)
        elif number in open_tickets:
            if step == "leave":
                open_tickets.pop(number).__exit__(None, None, None)
            elif step == "decode":
                open_tickets[number].decode_seconds = 0.0
            elif step == "dispatch":
                open_tickets[number].dispatched = 0.0
        assert service.admission.promised == len(open_tickets)
    for ticket in open_tickets.values():
        ticket.__exit__(None, None, None)
    assert service.admission.promised == 0
    service.now += 1000
    assert service.seconds() == pytest.approx(ALONE)


def test_only_devices_that_host_a_model_count_for_it() -> None:
    everywhere, somewhere = Service(devices=2), Service(devices=2)
    somewhere.fakes[1].models = {"other@1"}
    for service in (everywhere, somewhere):
        service.decoded(2 * ROOM)
    assert everywhere.seconds() == pytest.approx(with_margin(FULL + FULL + ENCODE))
    assert somewhere.seconds() == pytest.approx(with_margin(2 * FULL + FULL + ENCODE))


def test_photos_of_a_model_that_other_devices_host_stand_in_nobodys_way() -> None:
    service = Service(devices=2)
    service.fakes[0].models, service.fakes[1].models = {"fake@1"}, {"other@1"}
    service.decoded(8 * ROOM, key=replace(KEY, model="other@1"))
    assert service.seconds() == pytest.approx(ALONE)
