"""A fleet with all that a test needs around it: the fake compute, a clock that stands still, a pool that runs calls at
once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from skylift.core.clock import ManualClock
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.fleet import Fleet
from skylift.executors.fleet.flight import AirflowState, News, Order, Stage
from skylift.executors.fleet.inbox import FleetInbox
from skylift.executors.fleet.metrics import NAMES
from skylift.executors.fleet.settle import Event, WorkloadKind
from skylift.executors.fleet.timing import Timing


class AtOnce(Executor):
    """Runs every call where it is made."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class ByHand(Executor):
    """Keeps every call until the test runs it."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls.append(lambda: fn(*args, **kwargs))
        return Future()


class Tally:
    """A meter that remembers; it knows the declared names and tags only."""

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[float, dict[str, str]]]] = {}

    def count(self, name: str, by: int = 1, /, **tags: str) -> None:
        self._note(name, by, tags)

    def gauge(self, name: str, value: float, /, **tags: str) -> None:
        self._note(name, value, tags)

    def time(self, name: str, seconds: float, /, **tags: str) -> None:
        self._note(name, seconds, tags)

    def sum(self, name: str, **tags: str) -> float:
        """Of all values with these tags."""
        return sum(value for value, given in self.values.get(name, ()) if tags.items() <= given.items())

    def _note(self, name: str, value: float, tags: dict[str, str]) -> None:
        assert {*tags} <= {*NAMES[name].tags}, f"{name} is not declared with {tags}"
        self.values.setdefault(name, []).append((value, tags))


class Tower:
    """A fleet with all that a test needs around it."""

    def __init__(
        self,
        compute: FakeCompute | None = None,
        *,
        clock: ManualClock | None = None,
        pool: Executor | None = None,
        airflow: AirflowState | None = None,
        **timing: Any,
    ) -> None:
        self.compute = compute or FakeCompute()
        self.clock = clock or ManualClock()
        self.tally = Tally()
        self.inbox = FleetInbox()
        self.fleet = Fleet(
            self.compute, pool or AtOnce(), self.clock, Timing(**timing), self.inbox, meter=self.tally, airflow=airflow
        )
        self.news: list[News] = []

    def order(self, external_id: str = "x", key: str = "", **fields: Any) -> Order:
        fields.setdefault("document", lambda: "{}")
        fields.setdefault("subject", external_id)
        order = Order(key or external_id, fields.pop("kind", WorkloadKind.TASK), external_id, **fields)
        self.fleet.order(order)
        return order

    def fly(self, seconds: float = 0.0) -> list[News]:
        """Steps through so many seconds; the news of that time."""
        end = self.clock() + seconds
        while True:
            rest = self.fleet.step()
            while self.inbox.wait(0):
                rest = self.fleet.step()
            if self.clock() >= end:
                break
            self.clock.advance(min(rest, end - self.clock()))
        news = self.fleet.drain()
        self.news += news
        return news

    def flights(self) -> int:
        """How many flights the fleet still has: slots, and memory."""
        return len(self.fleet._context.index)


def ended(news: Sequence[News]) -> list[tuple[str, Event]]:
    return [(one.order.external_id, one.event) for one in news if one.stage is Stage.ENDED]
