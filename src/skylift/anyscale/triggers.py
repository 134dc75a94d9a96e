"""The triggers: what waits in Airflow's triggerer for jobs and services, one request for each look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from skylift.anyscale.hook import AnyscaleHook, end_job, undo_rollout
from skylift.anyscale.job_log import LogCursor
from skylift.anyscale.refusals import AnyscaleRefused
from skylift.anyscale.watching import REFUSED, Pace, WatchEnd, watch_job, watch_service


class AnyscaleJobTrigger(BaseTrigger):
    """Waits for a job's end, and prints its log into the Airflow task's.

    Args:
        deadline: Unix time at which waiting ends.
        patience_seconds: how long Anyscale may be silent.
        fetch_logs: follow the log: up to three more requests every 15 s.
    """

    def __init__(
        self,
        conn_id: str,
        job_id: str,
        poll_interval: float,
        deadline: float,
        patience_seconds: float,
        fetch_logs: bool = True,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.patience_seconds = patience_seconds
        self.fetch_logs = fetch_logs

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Everything that another triggerer needs to go on."""
        return (
            "skylift.anyscale.triggers.AnyscaleJobTrigger",
            {
                "conn_id": self.conn_id,
                "job_id": self.job_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "patience_seconds": self.patience_seconds,
                "fetch_logs": self.fetch_logs,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: how waiting ended."""
        pace = Pace(self.poll_interval, self.deadline, self.patience_seconds)
        try:
            client = await AnyscaleHook(self.conn_id).aclient()
        except AnyscaleRefused as error:
            found = WatchEnd(REFUSED, str(error))
        else:
            async with client:
                cursor = LogCursor() if self.fetch_logs else None
                found = await watch_job(client, self.job_id, pace, self._tell, cursor)
        yield TriggerEvent(
            {"job_id": self.job_id, "state": found.state, "message": found.message, "cursor": found.cursor.kept()}
        )

    async def on_kill(self) -> None:
        """Somebody marked or cleared the Airflow task: ends the job (Airflow 3.3; older ones do not call this)."""
        async with await AnyscaleHook(self.conn_id).aclient() as client:
            await end_job(client, self.job_id)
        self.log.info("Job %s: asked Anyscale to end it, because its Airflow task was ended", self.job_id)

    def _tell(self, line: str) -> None:
        self.log.info("%s", line)


class AnyscaleServiceTrigger(BaseTrigger):
    """Waits until a service's rollout is over.

    Args:
        service_id: Anyscale's.
        version_id: of the version that is rolled out; may be empty.
        canary: only a part of the traffic goes to it.
        was_there: the service was there before this rollout.
    """

    def __init__(
        self,
        conn_id: str,
        service_id: str,
        version_id: str,
        canary: bool,
        was_there: bool,
        poll_interval: float,
        deadline: float,
        patience_seconds: float,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.service_id = service_id
        self.version_id = version_id
        self.canary = canary
        self.was_there = was_there
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.patience_seconds = patience_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Everything that another triggerer needs to go on."""
        return (
            "skylift.anyscale.triggers.AnyscaleServiceTrigger",
            {
                "conn_id": self.conn_id,
                "service_id": self.service_id,
                "version_id": self.version_id,
                "canary": self.canary,
                "was_there": self.was_there,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "patience_seconds": self.patience_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: how waiting ended."""
        pace = Pace(self.poll_interval, self.deadline, self.patience_seconds)
        try:
            client = await AnyscaleHook(self.conn_id).aclient()
        except AnyscaleRefused as error:
            found = WatchEnd(REFUSED, str(error))
        else:
            async with client:
                found = await watch_service(client, self.service_id, self.version_id, self.canary, pace, self._tell)
        yield TriggerEvent({"service_id": self.service_id, "state": found.state, "message": found.message})

    async def on_kill(self) -> None:
        """Somebody marked or cleared the Airflow task: undoes the rollout (Airflow 3.3)."""
        async with await AnyscaleHook(self.conn_id).aclient() as client:
            await undo_rollout(client, self.service_id, was_there=self.was_there)
        self.log.info(
            "Service %s: asked Anyscale to undo the rollout, because its Airflow task was ended", self.service_id
        )

    def _tell(self, line: str) -> None:
        self.log.info("%s", line)
