"""The threads behind a fleet: the one that decides lives on whatever happens in a step, and the end waits for launches on their way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from skylift.core.attempt import Attempt, Exit, Observation, Phase, Submission
from skylift.executors.events.fake import FakeSource
from skylift.executors.flying.crew import Crew
from skylift.executors.flying.fake import FakeCompute
from skylift.executors.flying.fleet import Rhythm
from skylift.executors.flying.flight import News, Order, Stage
from skylift.executors.flying.metrics import Meter, NoMeter
from skylift.executors.flying.settle import Kind

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
def crews() -> Iterator[Callable[..., Crew]]:
    """Makes crews that are started, and ends them."""
    made: list[Crew] = []

    def make(
        compute: FakeCompute, source: FakeSource | None = None, seconds: float = PATIENCE, meter: Meter | None = None
    ) -> Crew:
        made.append(Crew(compute, Rhythm(gauge=0.0), source, most_seconds_to_end=seconds, meter=meter))
        made[-1].start()
        return made[-1]

    yield make
    for crew in made:
        crew.end()


def order(crew: Crew, name: str) -> None:
    crew.fleet.order(Order(name, Kind.TASK, name, document=lambda: "{}", subject=name))


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_mistake_in_a_step_is_told_and_the_next_step_is_taken(
    crews: Callable[..., Crew], caplog: pytest.LogCaptureFixture
) -> None:
    compute, meter = FakeCompute(), Faulty(2)
    with caplog.at_level(logging.ERROR):
        crew = crews(compute, meter=meter)
        until(lambda: not meter.mistakes, "the thread has not come back after a mistake")
        order(crew, "later")
        until(lambda: compute.alive() == ["fake:later.1"], "nothing is launched after a mistake")
    told = [record for record in caplog.records if "please report it" in record.message]
    assert len(told) == 2
    assert all(record.exc_info for record in told), "the traceback is what we need"


def test_an_order_wakes_the_thread_and_its_end_is_news(crews: Callable[..., Crew]) -> None:
    compute, source, news = FakeCompute(), FakeSource(), list[News]()
    crew = crews(compute, source)
    order(crew, "one")
    until(compute.alive, "not launched")
    source.put(Observation("fake:one.1", Phase.STOPPED, began=True, exit_code=Exit.DONE, version=9, external_id="one"))

    def ended() -> bool:
        news.extend(crew.fleet.drain())
        return Stage.ENDED in [one.stage for one in news]

    until(ended, "the event of its end was not heard")


def test_the_end_waits_for_launches_that_are_on_their_way(crews: Callable[..., Crew]) -> None:
    compute = Held()
    crew = crews(compute)
    order(crew, "one")
    assert compute.begun.wait(PATIENCE)
    ending = threading.Thread(target=crew.end)
    ending.start()
    ending.join(0.5)
    assert ending.is_alive(), "the launch is still on its way"
    compute.go.set()
    ending.join(PATIENCE)
    assert not ending.is_alive()
    assert compute.alive() == ["fake:one.1"]
    assert not crew._thread.is_alive()


def test_the_end_does_not_wait_for_ever(crews: Callable[..., Crew]) -> None:
    compute = Held()
    crew = crews(compute, seconds=0.2)
    order(crew, "one")
    assert compute.begun.wait(PATIENCE)
    ending = threading.Thread(target=crew.end)
    ending.start()
    ending.join(PATIENCE)
    assert not ending.is_alive()
    compute.go.set()
