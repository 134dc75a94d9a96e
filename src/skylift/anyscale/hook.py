"""The hook: Anyscale's connection (API key and host), and the calls that DAGs make themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from airflow.sdk import BaseHook

import skylift.anyscale.submitting as submitting
import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.job_log import LogCursor, new_lines
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.workload import JobRequest, ServiceRequest

T = TypeVar("T")
_MISSING = (
    "The connection {conn} has no API key. Put it into the field API Key of a connection of type Anyscale, or as key "
    "into the secret airflow/connections/{conn} of Secrets Manager."
)


class AnyscaleHook(BaseHook):
    """Talks to Anyscale with the API key of a connection.

    Args:
        conn_id: of a connection whose password is the API key. Its host is Anyscale's console unless it says otherwise.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "anyscale_default"
    conn_type = "anyscale"
    hook_name = "Anyscale"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def client(self) -> AnyscaleClient:
        """A client. Raises ``AnyscaleRefused`` for a connection without an API key."""
        return self._client(self.get_connection(self.conn_id))

    async def aclient(self) -> AnyscaleClient:
        """As ``client``, from an event loop."""
        return self._client(await self.aget_connection(self.conn_id))

    def _client(self, connection: Any) -> AnyscaleClient:
        key = (connection.password or "").strip()
        if not key:
            raise AnyscaleRefused(_MISSING.format(conn=self.conn_id))
        return AnyscaleClient(host_of(connection), key)

    def host(self) -> str:
        """The address of the console."""
        return host_of(self.get_connection(self.conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """For the button of the connection's form."""
        try:
            user = self.call(lambda client: client.get(wire.USER, "the question who we are"))
        except (AnyscaleRefused, AnyscaleUnavailable) as error:
            return False, str(error)
        return True, f"Anyscale knows this key: {user.get('email') or user.get('name') or 'signed in'}"

    def call(self, work: Callable[[AnyscaleClient], Awaitable[T]]) -> T:
        """Runs asynchronous work on a client of its own, and waits for it."""

        made = self.client()

        async def run() -> T:
            async with made as client:
                return await work(client)

        return asyncio.run(run())

    def submit_job(self, request: JobRequest) -> str:
        """Makes a job; returns its id."""
        return str(self.call(lambda client: submitting.submit(client, request))["id"])

    def get_job_status(self, job_id: str) -> dict[str, Any]:
        """Anyscale's record of a job; ``state.current_state`` is its state."""
        return dict(self.call(lambda client: client.get(wire.job(job_id), f"the question for job {job_id}")))

    def get_job_logs(self, job_id: str) -> str:
        """The log of a job's last run, at most ``MOST_LINES`` lines."""

        async def read(client: AnyscaleClient) -> str:
            record = await client.get(wire.job(job_id), f"the question for job {job_id}")
            lines, _ = await new_lines(client, str(record.get("last_job_run_id") or ""), LogCursor())
            return "\n".join(lines)

        return self.call(read)

    def terminate_job(self, job_id: str, time_delay: float = 0) -> bool:
        """Asks Anyscale to end a job.

        Args:
            time_delay: seconds to wait afterwards.
        """
        self.call(lambda client: end_job(client, job_id))
        time.sleep(time_delay)
        return True

    def deploy_service(self, request: ServiceRequest) -> str:
        """Deploys a version of a service; returns the service's id."""
        return str(self.call(lambda client: submitting.deploy(client, request))["id"])

    def get_service_status(self, service_name: str) -> dict[str, Any]:
        """Anyscale's record of a service; ``current_state`` is its state. Raises ``AnyscaleRefused`` if there is
        none."""
        found = self.call(lambda client: submitting.find_service(client, service_name))
        if found is None:
            raise AnyscaleRefused(f"Anyscale has no service {service_name}, or this API key must not see it.", 404)
        return found

    def terminate_service(self, service_name: str, time_delay: float = 0) -> bool:
        """Asks Anyscale to end a service."""
        return self._act_on_service(service_name, "terminate", time_delay)

    def rollback_service(self, service_name: str, time_delay: float = 0) -> bool:
        """Asks Anyscale to go back to the version before the one that is being rolled out."""
        return self._act_on_service(service_name, "rollback", time_delay)

    def _act_on_service(self, name: str, verb: str, time_delay: float) -> bool:
        one = str(self.get_service_status(name)["id"])
        doing = f"the {verb} of service {name}"
        self.call(lambda client: client.post(f"{wire.service(one)}/{verb}", doing, {}, again=True))
        time.sleep(time_delay)
        return True


async def end_job(client: AnyscaleClient, job: str) -> None:
    """Asks Anyscale to end a job. It may be asked twice."""
    await client.post(wire.terminate_job(job), f"the end of job {job}", {}, again=True)


async def undo_rollout(client: AnyscaleClient, service: str, *, was_there: bool) -> None:
    """Asks Anyscale to go back to the version before, or to end a service that was new. It may be asked twice."""
    verb = "rollback" if was_there else "terminate"
    await client.post(f"{wire.service(service)}/{verb}", f"the {verb} of service {service}", {}, again=True)


def host_of(connection: Any) -> str:
    """The console's address of a connection; its port counts, too."""
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        return wire.DEFAULT_HOST
    if "://" not in host:
        # A connection from a URI keeps the scheme elsewhere.
        scheme = connection.schema if connection.schema in {"http", "https"} else "https"
        host = f"{scheme}://{host}"
    return f"{host}:{connection.port}" if connection.port else host
