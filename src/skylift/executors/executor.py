"""The base of all our executors: Airflow's ``BaseExecutor`` in front, a ``Fleet`` behind.

Airflow's scheduler calls ``heartbeat`` in its own loop, without protection: whatever takes time here stops all
scheduling, and whatever is raised here ends the scheduler. So this class only passes workloads to the fleet and news
back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from airflow.configuration import conf
from airflow.executors.base_executor import BaseExecutor
from sqlalchemy.exc import SQLAlchemyError

from skylift.aws.quiet import settle_down
from skylift.core.attempt import Compute
from skylift.core.errors import Broken, Refused
from skylift.executors import airflow_compat
from skylift.executors.events.source import Source
from skylift.executors.events.warm import Rereading, WarmSource
from skylift.executors.fleet.fleet import Fleet
from skylift.executors.fleet.flight import AirflowState, News, Order, Stage
from skylift.executors.fleet.metrics import AirflowMeter
from skylift.executors.fleet.settle import Event, WorkloadKind
from skylift.executors.fleet.threads import FleetThreads
from skylift.executors.fleet.timing import Timing
from skylift.executors.in_container.warm import WarmCompute
from skylift.executors.last_words.live_log import look
from skylift.executors.last_words.log_writer import LogWriter
from skylift.executors.last_words.words import short
from skylift.executors.options import settings
from skylift.executors.options.settings import OWN_SECTION, Options
from skylift.executors.options.teams import team_of
from skylift.executors.orders import AirflowDatabase, adopted, order_of, orphan, stand_in

MOST_ORDERS = 0.015
"""Seconds of one heartbeat for new workloads; what is left is for the next heartbeat, a second later."""

MOST_BEAT = 0.035
"""Seconds from the begin of a heartbeat in which news is taken, but ``MOST_ORDERS`` at least; what is left is for the
next."""

ENOUGH = 4
"""Of so many slots one has come free: that is enough for the scheduler not to sleep, but to launch more at once."""

MOST_EVENTS = 250
"""For the scheduler at once: it writes some rows for each before it comes back, and should not be taken for dead
meanwhile."""


class SkyliftExecutor(BaseExecutor):
    """What ``AwsEcsExecutor`` and ``AwsBatchExecutor`` share; they add the compute."""

    supports_callbacks: bool = True
    supports_connection_test: bool = True
    supports_multi_team: bool = True
    is_local: bool = False
    serve_logs: bool = False
    # An id that is in the database before anything starts: a restarted scheduler finds its containers by it.
    pre_assigns_external_executor_id: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not args:
            # Airflow's default is what the option said when it was imported; a fork of a template has another one.
            kwargs.setdefault("parallelism", conf.getint("core", "parallelism"))
        super().__init__(*args, **kwargs)
        self._live: dict[Any, list[Order]] = {}
        self._fleet: Fleet | None = None
        self._compute: Compute | None = None
        self._threads: FleetThreads | None = None
        self._log_writer = LogWriter()
        self._told: deque[News] = deque()
        self._unwritten: deque[News] = deque()
        self._began = 0.0
        self._written: list[Any] = []
        self._freed = 0
        self._cannot_start = ""

    def make_compute(self) -> Compute:
        """The compute of the options. Raises ``Refused`` with one line that names a wrong option."""
        raise Broken(f"{type(self).__name__} says no compute")

    def make_source(self) -> Source | None:
        """Where events come from; ``None`` without them. Raises ``Refused``, like
        ``make_compute``."""
        return None

    def airflow_state(self) -> AirflowState:
        """Tells the background thread how Airflow sees its task instances."""
        return AirflowDatabase()

    def foreign(self, external_id: str) -> bool:
        """Whether the amazon provider's executor set this external id: it stored the container's name there."""
        return external_id.startswith("arn:")

    def most_attempts(self) -> int:
        """Most containers for one launch."""
        raise Broken(f"{type(self).__name__} says no number of attempts")

    def timing(self) -> Timing:
        """How often the fleet polls and how fast it launches. Raises ``Refused``, like ``make_compute``."""
        own = Options(self.conf, OWN_SECTION)
        return Timing(
            young=own[settings.POLL_SECONDS],
            old=own[settings.POLL_MOST_SECONDS],
            grace=own[settings.MISSING_GRACE],
            most_attempts=self.most_attempts(),
            launches=float(own[settings.LAUNCH_RATE]),
            calls=own[settings.WORKERS],
            capacity=own[settings.CAPACITY_SECONDS],
            unanswered=own[settings.API_SERVER_SECONDS],
            token=airflow_compat.token_seconds(self.conf),
        )

    # What Airflow calls.

    def start(self) -> None:
        """Reads the options and starts the background threads.

        A team's mistake fails only that team's workloads, each with the reason, because all teams share the scheduler.

        Raises:
            Refused: a wrong option, in one line; it stops the scheduler. Airflow logs tracebacks around it (and treats
            a
                ``SystemExit`` as a shutdown with exit code 0 and no message), so the line is also logged by
                itself.
        """
        team = team_of(self)
        whose = f"{type(self).__name__} of team {team!r}" if team else type(self).__name__
        try:
            self._start()
        except Refused as error:
            self.log.critical("%s cannot start: %s", whose, error)
            if not team:
                raise Refused(str(error)) from None
            self._cannot_start = f"{whose} cannot start: {error}"
        except Exception as error:
            if not team:
                raise
            self.log.exception("%s cannot start: a mistake, please report it", whose)
            self._cannot_start = f"{whose} cannot start: {type(error).__name__}: {error}"

    def _start(self) -> None:
        compute, source, timing = self.ready()
        timing = replace(timing, eventful=source is not None)
        watch: Source | None = None
        if isinstance(compute, WarmCompute):
            source, watch = source and Rereading(source, compute), WarmSource(compute)
        self._threads = FleetThreads(
            compute,
            timing,
            source,
            watch,
            most_seconds_to_end=Options(self.conf, OWN_SECTION)[settings.END_SECONDS],
            meter=AirflowMeter(airflow_compat.stats, executor=type(self).__name__, team=team_of(self) or ""),
            airflow=self.airflow_state(),
        )
        self._fleet = self._threads.fleet
        self._threads.start()

    def ready(self) -> tuple[Compute, Source | None, Timing]:
        """Reads all options and asks AWS about what they name, as a start does. Starts nothing. Raises ``Refused``."""
        settle_down()
        Options(self.conf, OWN_SECTION).check(settings.OWN_SETTINGS)
        return self.compute, self.make_source(), self.timing()

    @property
    def compute(self) -> Compute:
        """The compute; made when first needed, so that our instance in the API server costs nothing."""
        if self._compute is None:
            self._compute = self.make_compute()
        return self._compute

    def heartbeat(self) -> None:
        """Like Airflow's, but never raises."""
        self._began = time.perf_counter()
        self._written.clear()
        try:
            super().heartbeat()
        except Exception:
            # Raising would end the scheduler for everybody; the next heartbeat does the rest.
            self.log.exception("%s: a mistake in a heartbeat, please report it", type(self).__name__)

    def log_task_event(self, *, event: str, extra: str, ti_key: Any) -> None:
        """Like Airflow's, but keeps the line until it is saved.

        The scheduler (3.3.2, ``_process_task_event_logs``) gives ``bulk_save_objects`` a generator that drops each line
        as it is read. SQLAlchemy holds the lines weakly, so without this they would be saved as empty rows, which the
        database refuses.
        """
        if not airflow_compat.has_event_log(ti_key):
            return
        super().log_task_event(event=event, extra=extra, ti_key=ti_key)
        self._written += list(self._task_event_logs)[-1:]

    def sync(self) -> None:
        """Takes the news of the fleet. Never waits, and leaves what takes too long to the next heartbeat.

        First it frees slots, which takes microseconds each. Lines for people take a tenth of a millisecond each, and
        follow.
        """
        until = max(time.perf_counter() + MOST_ORDERS, self._began + MOST_BEAT)
        self._listen(until)
        while self._unwritten and time.perf_counter() < until:
            self._write(self._unwritten.popleft())

    @property
    def slots_occupied(self) -> int:
        """Like Airflow's, but without what has ended since the last heartbeat.

        The scheduler asks before each heartbeat how much it may launch in it. If it heard of a free slot only
        afterwards, the slot would stay free for a whole round.
        """
        try:
            self._listen(time.perf_counter() + MOST_ORDERS)
        except Exception:
            # As in a heartbeat: the scheduler must go on, whatever happens.
            self.log.exception("%s: a mistake in counting slots, please report it", type(self).__name__)
        return int(super().slots_occupied)

    def _listen(self, until: float) -> None:
        while self._fleet and time.perf_counter() < until and (news := self._fleet.next_news()):
            self._log_writer.take(news)
        self._told.extend(self._log_writer.drain())
        while self._told and time.perf_counter() < until:
            self._hear(self._told.popleft())

    def get_event_buffer(self, dag_ids: Any = None) -> Any:
        """Like Airflow's, but at most ``MOST_EVENTS``. The dict's length tells the scheduler that slots have become
        free."""
        events = super().get_event_buffer(dag_ids)
        for key in list(events)[MOST_EVENTS:]:
            self.event_buffer[key] = events.pop(key)
        # The scheduler sees a few free slots anyway when it has slept (``slots_occupied``), and one of its rounds costs
        # as much as half a container.
        freed = self._freed if self._freed * ENOUGH >= self.parallelism else 0
        self._freed -= freed
        return airflow_compat.Delivered(events, freed)

    def queue_workload(self, workload: Any, session: Any) -> None:
        """Like Airflow's, and gives this launch its own external id even if the scheduler assigns none."""
        assigned = airflow_compat.scheduler_assigns_all()
        super().queue_workload(airflow_compat.pre_assigned(workload, session, assigned=assigned), session)

    def order_queued_tasks_by_priority(self) -> list[tuple[Any, Any]]:
        """The highest ``priority_weight`` first, as in 3.1 and 3.3; 3.2 sorts in the wrong order."""
        return sorted(self.queued_tasks.items(), key=lambda one: one[1].ti.priority_weight, reverse=True)

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        until = time.perf_counter() + MOST_ORDERS
        for workload in workload_items:
            if time.perf_counter() > until:
                # The rest stays queued until the next heartbeat.
                return
            airflow_compat.unqueue(self, airflow_compat.key_of(workload))
            if self._cannot_start:
                self._cannot_run(workload, self._cannot_start)
                continue
            try:
                self._order(order_of(workload, lambda: self.jwt_generator))
            except Exception as error:  # noqa: BLE001  this workload's author or we can act; all others must go on
                self._cannot_run(workload, f"{type(self).__name__} cannot run this: {type(error).__name__}: {error}")

    def _cannot_run(self, workload: Any, why: str) -> None:
        order = stand_in(workload)
        self._live.setdefault(order.key, []).append(order)
        self._log_writer.take(News(order, Stage.ENDED, Event.FAILED, why, record=True))

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Like Airflow's; if the scheduler ends what we run (because no heartbeat came), the container is
        stopped."""
        if remove_running and key in self._live:
            self._drop(key, "Airflow gave this up: its container sent no heartbeat for too long")
        super().change_state(key, state, info, remove_running)

    def fail_connection_test(self, key: Any) -> None:
        """Like Airflow's (it took too long), and stops the container."""
        self._drop(key, "Airflow gave this connection test up: its time is over")
        super().fail_connection_test(key)

    def revoke_task(self, *, ti: Any) -> None:
        """Stops what runs for the task instance and forgets it; without an event, an exception or waiting."""
        self.queued_tasks.pop(ti.key, None)
        self._drop(ti.key, "Airflow revoked this task instance (too long in queued)")

    def _drop(self, key: Any, why: str) -> None:
        self.running.discard(key)
        self._live.pop(key, None)
        if self._fleet:
            self._fleet.revoke(key, why)

    def try_adopt_task_instances(self, tis: Sequence[Any]) -> Sequence[Any]:
        """Adopts what a dead scheduler left; returns those that cannot be adopted, which Airflow resets.

        This does not call AWS. A queued one is submitted again with its old token (which finds its container if
        there is one). The background thread searches for the container of a running one. It also searches for the
        container of one that is reset, and stops it, because Airflow launches its next try with another id.
        """
        if self._cannot_start:
            # Nobody can search for their containers now. They go on, and tell Airflow how they end.
            return []
        return [ti for ti in tis if not self._adopt(ti)]

    def get_task_log(self, ti: Any, try_number: int) -> tuple[list[str], list[str]]:
        """What is known about the containers of a task instance that has no log yet: (messages, log lines)."""
        try:
            return look(lambda: self.compute, ti, try_number)
        except Exception as error:
            # The API server asks for somebody who reads a log: the rest of the log must still be shown.
            self.log.exception("a mistake in get_task_log, please report it")
            return [f"Nothing can be said of the container: {type(error).__name__}: {error}"], []

    def end(self) -> None:
        """Launches nothing more and leaves what runs to the next scheduler, which adopts it. Limited in time."""
        try:
            if self._threads:
                self._threads.end()
            self._log_writer.close()
            self.sync()
        except Exception:
            # The scheduler is ending, and must still end other executors after this one.
            self.log.exception("%s: a mistake in its end, please report it", type(self).__name__)

    def terminate(self) -> None:
        """Like ``end``: work does not stop because a scheduler ends."""
        self.end()

    # Between us and the fleet.

    def _order(self, order: Order) -> None:
        self.running.add(order.key)
        # An event about an earlier launch of the same key must not count for this one.
        self.event_buffer.pop(order.key, None)
        self._live.setdefault(order.key, []).append(order)
        if self._fleet:
            self._fleet.order(order)

    def _adopt(self, ti: Any) -> bool:
        if not ti.external_executor_id:
            return False
        foreign = self.foreign(ti.external_executor_id)
        try:
            order = adopted(ti, lambda: self.jwt_generator, foreign=foreign)
        except SQLAlchemyError:
            # The scheduler's own session is broken: it rolls back and retries (run_with_db_retries).
            raise
        except Exception as error:  # noqa: BLE001  its DAG is gone or cannot be read: Airflow resets it, and goes on
            self.log.warning(
                "%s cannot be taken over, its container is stopped: %s: %s", ti, type(error).__name__, error
            )
            self._recall(ti)
            return False
        if all(one.external_id != order.external_id for one in self._live.get(order.key, ())):
            self._order(order)
        return True

    def _recall(self, ti: Any) -> None:
        if self._fleet:
            order = orphan(ti)
            self._fleet.order(order)
            self._fleet.revoke(order.key, "Airflow starts this task instance anew, without this container")

    def _hear(self, news: News) -> None:
        order = news.order
        alive = self._live.get(order.key, [])
        if order not in alive:
            return
        if news.record:
            self._unwritten.append(news)
        if news.stage is Stage.RUNNING and order.kind is WorkloadKind.CALLBACK:
            self.running_state(order.key, news.reason)
        if news.stage is Stage.ENDED:
            alive.remove(order)
            if not alive:
                del self._live[order.key]
                self._ended(news)

    def _ended(self, news: News) -> None:
        key = news.order.key
        if news.event is Event.SUCCESS:
            self.success(key, info=short(news.reason))
        elif news.event is Event.FAILED:
            self.fail(key, info=short(news.reason))
        else:
            self.running.discard(key)
            self._freed += 1

    def _write(self, news: News) -> None:
        self.log_task_event(event=f"executor: {news.stage}", extra=news.reason, ti_key=news.order.key)
        self.log.warning("%s: %s", news.order.key, short(news.reason))
