"""The triggers: what waits in Airflow's triggerer for jobs and services, one request for each look."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.hook import AnyscaleHook, end_job, undo_rollout
from skylift.anyscale.job_log import LogCursor
from skylift.anyscale.refusals import AnyscaleRefused
from skylift.anyscale.watching import REFUSED, Pace, WatchEnd, watch_job, watch_service
from skylift.core.errors import SkyliftError


class AnyscaleTrigger(BaseTrigger):
    """Base of the triggers. Its arguments are all that another triggerer needs to go on.

    Args:
        poll_interval: seconds between two looks.
        deadline: Unix time at which waiting ends.
        patience_seconds: how long Anyscale may be silent.
        others: of the subclass.
    """

    def __init__(
        self, conn_id: str, poll_interval: float, deadline: float, patience_seconds: float, **others: Any
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.pace = Pace(poll_interval, deadline, patience_seconds)
        self.arguments = {
            "conn_id": conn_id,
            "poll_interval": poll_interval,
            "deadline": deadline,
            "patience_seconds": patience_seconds,
            **others,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """For Airflow's database."""
        return f"{type(self).__module__}.{type(self).__name__}", dict(self.arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: how waiting ended."""
        try:
            client = await self._client()
        except (AnyscaleRefused, AirflowException) as error:
            found = WatchEnd(REFUSED, str(error))
        else:
            async with client:
                found = await self.watch(client)
        yield TriggerEvent(self.event(found))

    async def on_kill(self) -> None:
        """Somebody marked or cleared the Airflow task (Airflow 3.3)."""
        async with await AnyscaleHook(self.conn_id).aclient() as client:
            await self.undo(client)

    def undo_now(self) -> None:
        """As ``on_kill``, for a process that has no event loop (``skylift.anyscale_marks``)."""
        try:
            AnyscaleHook(self.conn_id).call(self.undo)
        except (AirflowException, SkyliftError) as error:
            self.log.error("What this Airflow task began at Anyscale was not ended: %s. End it on its page.", error)

    @abc.abstractmethod
    async def watch(self, client: AnyscaleClient) -> WatchEnd:
        """Waits."""

    @abc.abstractmethod
    def event(self, found: WatchEnd) -> dict[str, Any]:
        """What the operator gets."""

    @abc.abstractmethod
    async def undo(self, client: AnyscaleClient) -> None:
        """Asks Anyscale to end what is waited for. It may be asked twice."""

    async def _client(self) -> AnyscaleClient:
        """Patient: the operator has found the connection, so that it is there, but a secrets backend may be away."""
        until = time.monotonic() + self.pace.patience_seconds
        while True:
            try:
                return await AnyscaleHook(self.conn_id).aclient()
            except AirflowException:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(self.pace.poll_seconds)

    def tell(self, line: str) -> None:
        """A line for the Airflow task's log."""
        self.log.info("%s", line)


class AnyscaleJobTrigger(AnyscaleTrigger):
    """Waits for a job's end, and prints its log into the Airflow task's.

    Args:
        job_id: Anyscale's.
        poll_interval: as ``AnyscaleTrigger``, also the next two.
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
        super().__init__(conn_id, poll_interval, deadline, patience_seconds, job_id=job_id, fetch_logs=fetch_logs)
        self.job_id = job_id
        self.fetch_logs = fetch_logs

    async def watch(self, client: AnyscaleClient) -> WatchEnd:
        """Until the job is over."""
        return await watch_job(client, self.job_id, self.pace, self.tell, LogCursor() if self.fetch_logs else None)

    def event(self, found: WatchEnd) -> dict[str, Any]:
        """The job's end."""
        return {"job_id": self.job_id, "state": found.state, "message": found.message}

    async def undo(self, client: AnyscaleClient) -> None:
        """Ends the job."""
        await end_job(client, self.job_id)
        self.tell(f"Job {self.job_id}: asked Anyscale to end it, because its Airflow task was ended")


class AnyscaleServiceTrigger(AnyscaleTrigger):
    """Waits until a service's rollout is over.

    Args:
        service_id: Anyscale's.
        version_id: of the version that is rolled out; may be empty.
        canary: only a part of the traffic goes to it.
        was_there: the service was there before this rollout.
        poll_interval: as ``AnyscaleTrigger``, also the next two.
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
        rollout = {"service_id": service_id, "version_id": version_id, "canary": canary, "was_there": was_there}
        super().__init__(conn_id, poll_interval, deadline, patience_seconds, **rollout)
        self.service_id = service_id
        self.version_id = version_id
        self.canary = canary
        self.was_there = was_there

    async def watch(self, client: AnyscaleClient) -> WatchEnd:
        """Until the version serves, or cannot."""
        return await watch_service(client, self.service_id, self.version_id, self.canary, self.pace, self.tell)

    def event(self, found: WatchEnd) -> dict[str, Any]:
        """The rollout's end."""
        return {"service_id": self.service_id, "state": found.state, "message": found.message}

    async def undo(self, client: AnyscaleClient) -> None:
        """Undoes the rollout."""
        await undo_rollout(client, self.service_id, was_there=self.was_there)
        self.tell(f"Service {self.service_id}: asked Anyscale to undo the rollout, because its Airflow task was ended")
