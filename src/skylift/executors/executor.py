"""The one loop of all our executors: Airflow's ``BaseExecutor`` in front, a ``Fleet`` behind.

Airflow's scheduler calls ``heartbeat`` in its own loop, with no guard: whatever takes time here stops all scheduling, and
whatever is raised here ends the scheduler. So this class only carries workloads to the fleet and news back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from airflow.executors.base_executor import BaseExecutor

from skylift.core.attempt import Attempt, Compute
from skylift.core.errors import Broken, SkyliftError
from skylift.executors import airflow_compat, settings
from skylift.executors.crew import Crew
from skylift.executors.fleet import Fleet, Rhythm
from skylift.executors.flight import News, Order, Stage
from skylift.executors.settings import OWN_SECTION, Options
from skylift.executors.settle import Event, Kind
from skylift.executors.source import Source


class SkyliftExecutor(BaseExecutor):
    """What ``AwsEcsExecutor`` and its sisters have in common; they say which compute."""

    supports_callbacks: bool = True
    supports_multi_team: bool = True
    is_local: bool = False
    serve_logs: bool = False
    # An id that is in the database before anything is started: how a restarted scheduler finds its containers.
    pre_assigns_external_executor_id: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._live: dict[Any, list[Order]] = {}
        self._fleet: Fleet | None = None
        self._compute: Compute | None = None
        self._crew: Crew | None = None
        self._written: list[Any] = []

    def make_compute(self) -> Compute:
        """The compute of the options. Raises ``Refused`` with one line that names a wrong option."""
        raise Broken(f"{type(self).__name__} says no compute")

    def make_source(self) -> Source | None:
        """Where observations come from without asking; ``None`` without one. Raises ``Refused``, as ``make_compute``."""
        return None

    def foreign(self, external_id: str) -> bool:
        """Whether the amazon provider's executor gave this external id: its name of the container."""
        return external_id.startswith("arn:")

    def most_attempts(self) -> int:
        """Containers for one launch."""
        raise Broken(f"{type(self).__name__} says no number of attempts")

    def rhythm(self) -> Rhythm:
        """How often the fleet looks, how fast it launches. Raises ``Refused``, as ``make_compute``."""
        own = Options(self.conf, OWN_SECTION)
        return Rhythm(
            young=own[settings.POLL_SECONDS],
            old=own[settings.POLL_MOST_SECONDS],
            grace=own[settings.MISSING_GRACE],
            most_attempts=self.most_attempts(),
            launches=float(own[settings.LAUNCH_RATE]),
            calls=own[settings.WORKERS],
        )

    # What Airflow calls.

    def start(self) -> None:
        """Reads the options and starts the background thread. Raises ``Refused``: a wrong option stops the scheduler here."""
        most = Options(self.conf, OWN_SECTION)[settings.END_SECONDS]
        source = self.make_source()
        rhythm = replace(self.rhythm(), eventful=source is not None)
        self._crew = Crew(self.compute, rhythm, source, most_seconds_to_end=most)
        self._fleet = self._crew.fleet
        self._crew.start()

    @property
    def compute(self) -> Compute:
        """The compute; made when first needed, so that the API server's instance of us costs nothing."""
        if self._compute is None:
            self._compute = self.make_compute()
        return self._compute

    def heartbeat(self) -> None:
        """As Airflow's, and never raises."""
        self._written.clear()
        try:
            super().heartbeat()
        except Exception:
            # Raised, it would end the scheduler for everybody; the next heartbeat goes on with what is left.
            self.log.exception("%s: a mistake in a heartbeat, please report it", type(self).__name__)

    def log_task_event(self, *, event: str, extra: str, ti_key: Any) -> None:
        """As Airflow's, and the line is kept until it is saved.

        The scheduler (3.3.2, ``_process_task_event_logs``) gives ``bulk_save_objects`` a generator that drops each line as it
        is read; SQLAlchemy holds them weakly, so without this they are saved as empty rows, which the database refuses.
        """
        if not airflow_compat.has_event_log(ti_key):
            return
        super().log_task_event(event=event, extra=extra, ti_key=ti_key)
        self._written += list(self._task_event_logs)[-1:]

    def sync(self) -> None:
        """Takes the news of the fleet. Waits for nothing."""
        for news in self._fleet.drain() if self._fleet else ():
            self._hear(news)

    def queue_workload(self, workload: Any, session: Any) -> None:
        """As Airflow's, and with an external id also where the scheduler assigns none (3.1)."""
        super().queue_workload(airflow_compat.pre_assigned(workload, session), session)

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            key = airflow_compat.key_of(workload)
            airflow_compat.unqueue(self, key)
            try:
                self._order(order_of(workload, lambda: self.jwt_generator))
            except Exception as error:  # noqa: BLE001  this workload's author or we can act; all others must go on
                self.fail(key, info=f"{type(self).__name__} cannot run this: {type(error).__name__}: {error}")

    def revoke_task(self, *, ti: Any) -> None:
        """Stops what runs for the task instance and forgets it; no event, no exception, no waiting."""
        self.queued_tasks.pop(ti.key, None)
        self.running.discard(ti.key)
        self._live.pop(ti.key, None)
        if self._fleet:
            self._fleet.revoke(ti.key, "Airflow revoked this task instance (too long in queued)")

    def try_adopt_task_instances(self, tis: Sequence[Any]) -> Sequence[Any]:
        """Takes over what a dead scheduler left; those that cannot be taken over.

        AWS is not asked here: a queued one is submitted again with the token that it had (which finds its container if
        there is one), a running one's container is looked for by the background thread.
        """
        return [ti for ti in tis if not self._adopt(ti)]

    def get_task_log(self, ti: Any, try_number: int) -> tuple[list[str], list[str]]:  # noqa: ARG002  as in Airflow
        """What is known of the containers of a task instance that has no log yet: (messages, log lines)."""
        if not ti.external_executor_id:
            return [], []
        try:
            compute = self.compute
            refs = compute.find(Attempt(ti.external_executor_id, 1, str, labels=airflow_compat.labels_of_instance(ti)))
            return [f"{one.ref}: {one.phase} {one.reason}" for one in compute.observe(refs)] if refs else [], []
        except SkyliftError as error:
            return [f"Nothing can be said of the container: {error}"], []

    def end(self) -> None:
        """Launches nothing more and leaves what runs to the next scheduler, which adopts it. Bounded."""
        if self._crew:
            self._crew.end()
        self.sync()

    def terminate(self) -> None:
        """As ``end``: a scheduler that goes is no reason to stop work."""
        self.end()

    # What the fleet tells.

    def _order(self, order: Order) -> None:
        self.running.add(order.key)
        # An event about an earlier launch of the same key must not be taken for one about this.
        self.event_buffer.pop(order.key, None)
        self._live.setdefault(order.key, []).append(order)
        if self._fleet:
            self._fleet.order(order)

    def _hear(self, news: News) -> None:
        order = news.order
        alive = self._live.get(order.key, [])
        if order not in alive:
            return
        if news.record:
            self.log_task_event(event=f"executor: {news.stage}", extra=news.reason, ti_key=order.key)
            self.log.warning("%s: %s", order.key, news.reason)
        if news.stage is Stage.RUNNING and order.kind is Kind.CALLBACK:
            self.running_state(order.key, news.reason)
        if news.stage is Stage.ENDED:
            alive.remove(order)
            if not alive:
                del self._live[order.key]
                self._ended(news)

    def _ended(self, news: News) -> None:
        key = news.order.key
        if news.event is Event.SUCCESS:
            self.success(key, info=news.reason)
        elif news.event is Event.FAILED:
            self.fail(key, info=news.reason)
        else:
            self.running.discard(key)

    def _adopt(self, ti: Any) -> bool:
        external_id = ti.external_executor_id
        if not external_id:
            return False
        foreign = self.foreign(external_id)
        try:
            workload = airflow_compat.workload_of(ti, self.jwt_generator)
            order = order_of(workload, lambda: self.jwt_generator)
        except (AttributeError, LookupError, ValueError) as error:
            # Its DAG is gone or cannot be read: Airflow resets it.
            self.log.warning("%s cannot be taken over: %s", ti, error)
            return False
        began = foreign or not airflow_compat.is_queued(ti)
        self._order(replace(order, external_id=external_id, began=began, repeat=not foreign, adopted=True))
        return True


def order_of(workload: Any, generator: Callable[[], Any]) -> Order:
    """The order for one of Airflow's workloads. Raises ``Broken`` for a kind that we do not run."""
    kind = airflow_compat.kind_of(workload)
    if kind is None:
        raise Broken(f"{type(workload).__name__} is not supported")
    return Order(
        key=airflow_compat.key_of(workload),
        kind=kind,
        external_id=airflow_compat.external_id_of(workload),
        document=airflow_compat.document_of(workload, generator),
        wishes=airflow_compat.wishes_of(workload),
        labels=airflow_compat.labels_of(workload),
        queue=airflow_compat.queue_of(workload),
        log_path=str(getattr(workload, "log_path", None) or ""),
    )
