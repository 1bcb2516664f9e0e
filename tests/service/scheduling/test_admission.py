from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backends.base import BatchKey
from service.scheduling.admission import MARGIN_SECONDS, MARGIN_SHARE, Admission, Refused, Ticket
from service.scheduling.cost_model import CostModel
from tests.service.fakes import FakeDevice

KEY = BatchKey("fake@1", 1000, 1000, 1000, False)
PIXELS = KEY.cost
DECODE, DEVICE, ENCODE = 0.1, 0.4, 0.2
ALONE = (DECODE + DEVICE + ENCODE) * (1 + MARGIN_SHARE) + MARGIN_SECONDS
Admit = Callable[[float], Ticket]


def admission(devices: int = 1, threads: int = 1) -> Admit:
    """Of photos that take 0.1 s to decode, 0.4 s on the device and 0.2 s to encode, within so many seconds."""
    costs = CostModel(1.0)
    costs.observe("decode", None, PIXELS, DECODE)
    costs.observe(("fake", "fake@1"), (1000, 1000), PIXELS, DEVICE)
    costs.observe("encode", "image/png", PIXELS, ENCODE)
    fakes = [FakeDevice(id=f"fake-{i}") for i in range(devices)]
    gate = Admission(costs, threads, lambda: fakes)
    return lambda seconds: gate.admit(KEY, PIXELS, "image/png", seconds)


def refusal(admit: Admit, seconds: float) -> Refused:
    with pytest.raises(Refused) as refused:
        admit(seconds)
    return refused.value


def test_an_idle_service_takes_what_it_can_finish_with_a_margin() -> None:
    assert refusal(admission(), ALONE - 0.001).retry_after == pytest.approx(0.001)
    assert admission()(ALONE + 0.001)


def test_each_admitted_request_delays_the_next() -> None:
    admit = admission()
    admit(10)
    wait = (DECODE + ENCODE + DEVICE) * (1 + MARGIN_SHARE)
    assert refusal(admit, ALONE).retry_after == pytest.approx(wait)
    admit(ALONE + wait + 0.001)


def test_threads_and_devices_share_the_work() -> None:
    admit = admission(devices=2, threads=4)
    admit(10)
    wait = ((DECODE + ENCODE) / 4 + DEVICE / 2) * (1 + MARGIN_SHARE)
    assert refusal(admit, ALONE).retry_after == pytest.approx(wait)


def test_what_is_done_delays_nobody() -> None:
    admit = admission()
    ticket = admit(10)
    ticket.finish("decode")
    ticket.finish("device")
    assert refusal(admit, ALONE).retry_after == pytest.approx(ENCODE * (1 + MARGIN_SHARE))


def test_leaving_the_ticket_gives_back_what_is_left_of_it_once() -> None:
    admit = admission()
    with admit(10) as ticket:
        ticket.finish("decode")
    assert admit(ALONE + 0.001)


def test_says_what_the_photo_would_take_alone() -> None:
    admit = admission()
    admit(10)
    assert refusal(admit, 0.001).alone == pytest.approx(ALONE)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["admit", "decode", "device", "leave"]))))
def test_nothing_is_left_when_all_have_left(steps: list[tuple[int, str]]) -> None:
    admit = admission()
    open_tickets: dict[int, Ticket] = {}
    for number, step in steps:
        if step == "admit" and number not in open_tickets:
            open_tickets[number] = admit(1000)
        elif step == "leave" and number in open_tickets:
            open_tickets.pop(number).__exit__(None, None, None)
        elif step in ("decode", "device") and number in open_tickets:
            open_tickets[number].finish(step)
    for ticket in open_tickets.values():
        ticket.__exit__(None, None, None)
    assert refusal(admit, ALONE - 0.01).retry_after == pytest.approx(0.01, abs=1e-6)
