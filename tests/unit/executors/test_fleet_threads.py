"""The threads of a fleet: the deciding thread survives any error in a step, and the end waits for launches in
progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from skylift.core.attempt import Attempt, Exit, Observation, Phase, Submission
from skylift.executors.events.fake import FakeSource
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import News, Order, Stage
from skylift.executors.fleet.metrics import Meter, NoMeter
from skylift.executors.fleet.settle import WorkloadKind
from skylift.executors.fleet.threads import FleetThreads
from skylift.executors.fleet.timing import Timing

pytestmark = pytest.mark.unit
PATIENCE = 60.0


class Faulty(NoMeter):
    """Has a mistake, so often, in what the deciding thread calls in every step."""

    def __init__(self, mistakes: int) -> None:
        self.mistakes = mistakes

    def gauge(self, name: str, value: float, /, **tags: str) -> None:
        if self.mistakes:
            self.mistakes -= 1
            raise RuntimeError("a mistake")


class Held(FakeCompute):
    """A submit that does not come back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return super().submit(attempts)


@pytest.fixture
def crews() -> Iterator[Callable[..., FleetThreads]]:
    """Makes crews that are started, and ends them."""
    made: list[FleetThreads] = []

    def make(
        compute: FakeCompute, source: FakeSource | None = None, seconds: float = PATIENCE, meter: Meter | None = None
    ) -> FleetThreads:
        made.append(FleetThreads(compute, Timing(gauge=0.0), source, most_seconds_to_end=seconds, meter=meter))
        made[-1].start()
        return made[-1]

    yield make
    for threads in made:
        threads.end()


def order(threads: FleetThreads, name: str) -> None:
    threads.fleet.order(Order(name, WorkloadKind.TASK, name, document=lambda: "{}", subject=name))


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_mistake_in_a_step_is_told_and_the_next_step_is_taken(
    crews: Callable[..., FleetThreads], caplog: pytest.LogCaptureFixture
) -> None:
    compute, meter = FakeCompute(), Faulty(2)
    with caplog.at_level(logging.ERROR):
        threads = crews(compute, meter=meter)
        until(lambda: not meter.mistakes, "the thread has not come back after a mistake")
        order(threads, "later")
        until(lambda: compute.alive() == ["fake:later.1"], "nothing is launched after a mistake")
    told = [record for record in caplog.records if "please report it" in record.message]
    assert len(told) == 2
    assert all(record.exc_info for record in told), "the traceback is what we need"


def test_an_order_wakes_the_thread_and_its_end_is_news(crews: Callable[..., FleetThreads]) -> None:
    compute, source, news = FakeCompute(), FakeSource(), list[News]()
    threads = crews(compute, source)
    order(threads, "one")
    until(compute.alive, "not launched")
    source.put(Observation("fake:one.1", Phase.STOPPED, began=True, exit_code=Exit.DONE, version=9, external_id="one"))

    def ended() -> bool:
        news.extend(threads.fleet.drain())
        return Stage.ENDED in [one.stage for one in news]

    until(ended, "the event of its end was not heard")


def test_the_end_waits_for_launches_that_are_on_their_way(crews: Callable[..., FleetThreads]) -> None:
    compute = Held()
    threads = crews(compute)
    order(threads, "one")
    assert compute.begun.wait(PATIENCE)
    ending = threading.Thread(target=threads.end)
    ending.start()
    ending.join(0.5)
    assert ending.is_alive(), "the launch is still on its way"
    compute.go.set()
    ending.join(PATIENCE)
    assert not ending.is_alive()
    assert compute.alive() == ["fake:one.1"]
    assert not threads._thread.is_alive()


def test_the_end_does_not_wait_for_ever(crews: Callable[..., FleetThreads]) -> None:
    compute = Held()
    threads = crews(compute, seconds=0.2)
    order(threads, "one")
    assert compute.begun.wait(PATIENCE)
    ending = threading.Thread(target=threads.end)
    ending.start()
    ending.join(PATIENCE)
    assert not ending.is_alive()
    compute.go.set()
