"""Who goes next."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.virtual_time import run_virtually
from service.backends.base import BatchKey
from service.scheduling.job import Job
from service.scheduling.priority import BATCH_SHARE, Priority
from service.scheduling.queue import Queue
from tests.service.scheduling.tickets import LARGE, SMALL, job

INTERACTIVE, NORMAL, BATCH = Priority
FOUR = 4 * SMALL.cost


def queue_of(*jobs: Job) -> Queue:
    queue = Queue()
    for waiting in jobs:
        queue.push(waiting)
    return queue


def drained(queue: Queue, now: float = 0.0, batch_cost: int = SMALL.cost) -> list[Job]:
    """All jobs in the order in which they leave."""
    order: list[Job] = []
    while batch := queue.pop_batch(now, batch_cost):
        order.extend(batch)
    return order


async def test_nothing_waits() -> None:
    assert Queue().pop_batch(0.0, FOUR) == []
    assert list(Queue()) == []


async def test_classes_go_in_order() -> None:
    batch, normal, interactive = job(priority=BATCH), job(priority=NORMAL), job(priority=INTERACTIVE)
    assert queue_of(batch, normal, interactive).pop_batch(0.0, SMALL.cost) == [interactive]
    assert queue_of(batch, normal).pop_batch(0.0, SMALL.cost) == [normal]
    assert queue_of(batch).pop_batch(0.0, SMALL.cost) == [batch]


async def test_the_earliest_deadline_goes_first_inside_a_class_whatever_its_key() -> None:
    jobs = [job(key, deadline=deadline) for key, deadline in ((SMALL, 3.0), (LARGE, 1.0), (SMALL, 2.0), (LARGE, 4.0))]
    assert [j.ticket.deadline for j in drained(queue_of(*jobs), batch_cost=LARGE.cost // 4)] == [1, 2, 3, 4]


async def test_equal_deadlines_go_in_the_order_of_arrival() -> None:
    jobs = [job() for _ in range(10)]
    assert drained(queue_of(*jobs)) == jobs


async def test_half_of_its_time_gone_a_job_goes_with_the_class_above() -> None:
    old = job(priority=NORMAL, admitted=0, deadline=10)
    fresh = job(priority=INTERACTIVE, admitted=5, deadline=20)
    assert queue_of(old, fresh).pop_batch(4.9, SMALL.cost) == [fresh]
    assert queue_of(old, fresh).pop_batch(5.1, SMALL.cost) == [old]


async def test_a_batch_costs_no_more_than_allowed() -> None:
    queue = queue_of(*(job() for _ in range(10)))
    assert [len(queue.pop_batch(0.0, FOUR)) for _ in range(4)] == [4, 4, 2, 0]


async def test_a_photo_that_costs_more_than_a_batch_goes_alone() -> None:
    queue = queue_of(job(LARGE), job(LARGE))
    assert [len(queue.pop_batch(0.0, LARGE.cost - 1)) for _ in range(3)] == [1, 1, 0]


async def test_others_leave_a_part_of_an_interactive_photos_batch_empty_and_its_own_class_none() -> None:
    queue = queue_of(job(priority=INTERACTIVE), *(job(priority=BATCH) for _ in range(10)))
    assert [len(queue.pop_batch(0.0, 2 * FOUR)) for _ in range(2)] == [6, 5]
    alike = queue_of(*(job(priority=INTERACTIVE) for _ in range(10)))
    assert len(alike.pop_batch(0.0, 2 * FOUR)) == 8


async def test_what_can_no_longer_be_in_time_leaves_its_place_to_others() -> None:
    late, later, timely = (job(deadline=10, latest=latest) for latest in (1, 2, 3))
    assert queue_of(late, later, timely).pop_batch(2.5, FOUR) == [timely]
    for lost in (late, later):
        with pytest.raises(TimeoutError):
            lost.future.result()
    assert queue_of(timely).pop_batch(3.0, FOUR) == [timely]


async def test_what_room_is_left_other_classes_of_the_same_key_fill() -> None:
    normal, batch, interactive = job(priority=NORMAL), job(priority=BATCH), job(priority=INTERACTIVE)
    elsewhere = job(LARGE, INTERACTIVE, deadline=2e9)
    queue = queue_of(batch, normal, elsewhere, interactive)
    assert queue.pop_batch(0.0, FOUR) == [interactive, normal, batch]
    assert queue.pop_batch(0.0, FOUR) == [elsewhere]


async def test_a_class_fills_its_own_batch_before_others_do() -> None:
    normals = [job(priority=NORMAL, admitted=0, deadline=1) for _ in range(4)]
    interactive = job(priority=INTERACTIVE, admitted=0, deadline=5)
    # Aged, the normal ones go first; the room is theirs before it is the interactive one's.
    assert queue_of(interactive, *normals).pop_batch(0.9, FOUR) == normals


@pytest.mark.parametrize("batch_cost", [SMALL.cost, FOUR])
@pytest.mark.parametrize("same_key", [True, False])
async def test_under_saturation_batch_gets_about_its_share(batch_cost: int, same_key: bool) -> None:
    queue = Queue()
    served = dict.fromkeys(Priority, 0)
    keys = {BATCH: SMALL, NORMAL: SMALL if same_key else BatchKey("other@1", 32, 32, 256, False), INTERACTIVE: SMALL}
    for _ in range(4):
        for priority in Priority:
            queue.push(job(keys[priority], priority))
    for _ in range(3000):
        for leaving in queue.pop_batch(0.0, batch_cost):
            served[leaving.ticket.priority] += 1
            queue.push(job(keys[leaving.ticket.priority], leaving.ticket.priority))
    assert served[BATCH] / sum(served.values()) == pytest.approx(BATCH_SHARE, rel=0.1)


async def test_batch_does_not_save_up_its_share_for_later() -> None:
    queue = queue_of(*(job(priority=NORMAL) for _ in range(5000)))
    for _ in range(4000):
        queue.pop_batch(0.0, SMALL.cost)
    for _ in range(5000):
        queue.push(job(priority=BATCH))
    leaving = [queue.pop_batch(0.0, SMALL.cost)[0].ticket.priority for _ in range(900)]
    # What it missed while it had nothing to do is made good, and no more.
    assert leaving.count(BATCH) <= 4900 * BATCH_SHARE + 1


async def test_prune_drops_what_nobody_waits_for() -> None:
    jobs = [job(key, priority, deadline=d) for d in (1.0, 2.0) for key in (SMALL, LARGE) for priority in Priority]
    queue = queue_of(*jobs)
    for gone in jobs[::2]:
        gone.future.cancel()
    queue.prune()
    assert set(queue) == set(jobs[1::2])
    assert len(drained(queue)) == len(jobs) // 2
    assert list(queue) == []


async def test_what_nobody_waits_for_leaves_no_queue_even_before_it_is_pruned() -> None:
    jobs = [job(deadline=float(d)) for d in range(6)]
    queue = queue_of(*jobs)
    for gone in (0, 1, 3, 5):
        jobs[gone].future.cancel()
    assert queue.pop_batch(0.0, FOUR) == [jobs[2], jobs[4]]
    assert queue.pop_batch(0.0, FOUR) == []


@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from([SMALL, LARGE]), st.sampled_from(Priority), st.integers(1, 50), st.booleans()),
        max_size=30,
    ),
    seed=st.integers(0, 99),
)
def test_every_job_leaves_once_and_in_order(arrivals: list[tuple[BatchKey, Priority, int, bool]], seed: int) -> None:
    async def play() -> None:
        shuffle, queue, jobs, left = random.Random(seed), Queue(), [], []
        for key, priority, deadline, pop in arrivals:
            arriving = job(key, priority, deadline=float(deadline))
            jobs.append(arriving)
            queue.push(arriving)
            if pop:
                left.append(queue.pop_batch(shuffle.uniform(0, 50), FOUR))
        while batch := queue.pop_batch(shuffle.uniform(0, 50), FOUR):
            left.append(batch)
        assert sorted(map(id, jobs)) == sorted(id(j) for batch in left for j in batch)
        for batch in left:
            assert len({j.ticket.key for j in batch}) <= 1
            assert sum(j.ticket.key.cost for j in batch) <= FOUR
            for one, other in pairwise(batch):
                if one.ticket.priority == other.ticket.priority:
                    assert one.ticket.deadline <= other.ticket.deadline

    run_virtually(play())
