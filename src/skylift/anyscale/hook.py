"""The hook: Anyscale's connection (API key and host), and the calls that DAGs make themselves."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from airflow.sdk import BaseHook

import skylift.anyscale.submitting as submitting
import skylift.anyscale.vendor as vendor
import skylift.anyscale.wire as wire
from skylift.anyscale.account import Account, account_of
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.job_log import LogCursor, new_lines
from skylift.anyscale.parameters import job_request, service_request
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.status import AnyscaleJobStatus, AnyscaleServiceStatus
from skylift.anyscale.workload import JobRequest, ServiceRequest

T = TypeVar("T")
Request = TypeVar("Request", JobRequest, ServiceRequest)


class AnyscaleHook(BaseHook):
    """Talks to Anyscale with the API key of a connection. All calls raise ``AnyscaleRefused`` or
    ``AnyscaleUnavailable``.

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

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The connection's form in Airflow 3.1; later ones read it from the provider's metadata."""
        from skylift.airflow_provider import ANYSCALE  # lazy: the form only

        (connection,) = ANYSCALE["connection-types"]
        return {name.replace("-", "_"): one for name, one in connection["ui-field-behaviour"].items()}

    @functools.cached_property
    def account(self) -> Account:
        """What the connection says: looked up once, as that may be a call to Secrets Manager."""
        return account_of(self.get_connection(self.conn_id), self.conn_id)

    def client(self) -> AnyscaleClient:
        """A client of ours, to be used as an asynchronous context manager."""
        return AnyscaleClient(self.account.host, self.account.key)

    async def aclient(self) -> AnyscaleClient:
        """As ``client``, from an event loop."""
        account = account_of(await self.aget_connection(self.conn_id), self.conn_id)
        return AnyscaleClient(account.host, account.key)

    def test_connection(self) -> tuple[bool, str]:
        """For the button of the connection's form."""
        try:
            user = self.call(lambda client: client.get(wire.USER, "the question who we are"))
        except (AnyscaleRefused, AnyscaleUnavailable) as error:
            return False, str(error)
        who = (user.get("email") or user.get("name")) if isinstance(user, dict) else ""
        return True, f"Anyscale knows this key: {who or 'signed in'}"

    def call(self, work: Callable[[AnyscaleClient], Awaitable[T]]) -> T:
        """Runs asynchronous work on a client of its own, and waits for it."""

        made = self.client()

        async def run() -> T:
            async with made as client:
                return await work(client)

        return asyncio.run(run())

    def submit(self, request: JobRequest) -> dict[str, Any]:
        """Makes a job, with Anyscale's own client if it is installed; returns Anyscale's record of the job."""
        account = self.account
        if not vendor.installed():
            return self.call(lambda client: submitting.submit(client, request, account.bucket))
        return self._job(vendor.submit(account.host, account.key, self._with_image(request)))

    def deploy(self, request: ServiceRequest) -> dict[str, Any]:
        """Deploys a version of a service, as ``submit``; returns Anyscale's record of the service."""
        account = self.account
        if not vendor.installed():
            return self.call(lambda client: submitting.deploy(client, request, account.bucket))
        one = vendor.deploy(account.host, account.key, self._with_image(request))
        return dict(self.call(lambda client: client.get(wire.service(one), f"the question for service {one}")))

    def submit_job(self, config: object) -> str:
        """Makes a job; returns its id.

        Args:
            config: a dictionary with the names of ``SubmitAnyscaleJob``'s parameters, or a ``JobConfig`` of Anyscale's
                client.
        """
        request = job_request(config)
        named = request.name or f"airflow-{uuid.uuid4().hex[:8]}"
        return str(self.submit(job_request(config, named))["id"])

    def get_job_status(self, job_id: str) -> AnyscaleJobStatus:
        """A job as it is now."""
        return AnyscaleJobStatus.of(self._job(job_id))

    def get_job_logs(self, job_id: str, run: str | None = None) -> str:
        """The log of a job's run, at most ``MOST_LINES`` lines.

        Args:
            run: its name or id; default: the last one.
        """

        async def read(client: AnyscaleClient) -> str:
            if run:
                which = await submitting.find_run(client, job_id, run)
            else:
                record = await client.get(wire.job(job_id), f"the question for job {job_id}")
                which = str(record.get("last_job_run_id") or "")
            lines, _ = await new_lines(client, which, LogCursor())
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

    def deploy_service(
        self,
        config: object = None,
        configs: object = None,
        in_place: bool = False,
        canary_percent: int | None = None,
        max_surge_percent: int | None = None,
    ) -> str:
        """Deploys a version of a service; returns the service's id.

        Args:
            config: the old name of ``configs``.
            configs: a dictionary with the names of ``RolloutAnyscaleService``'s parameters, or a ``ServiceConfig`` of
                Anyscale's client, or a list with one of them.
        """
        given = configs if config is None else config
        if isinstance(given, Sequence) and not isinstance(given, str):
            if len(given) != 1:
                raise AnyscaleRefused("Several versions at once cannot be deployed: give one config.")
            given = given[0]
        return str(self.deploy(service_request(given, in_place, canary_percent, max_surge_percent))["id"])

    def get_service_status(
        self, service_name: str, cloud: str | None = None, project: str | None = None
    ) -> AnyscaleServiceStatus:
        """A service as it is now.

        Args:
            cloud: by name; default: any.
            project: by name; default: any.
        """
        found = self.call(
            lambda client: submitting.find_service(client, service_name, cloud or "", project or ""),
        )
        if found is None:
            raise AnyscaleRefused(f"Anyscale has no service {service_name}, or this API key must not see it.", 404)
        return AnyscaleServiceStatus.of(found)

    def terminate_service(
        self, service_name: str, time_delay: float = 0, *, cloud: str | None = None, project: str | None = None
    ) -> bool:
        """Asks Anyscale to end a service.

        Args:
            time_delay: seconds to wait afterwards.
            cloud: as ``get_service_status``.
            project: as ``get_service_status``.
        """
        return self._act_on_service(self.get_service_status(service_name, cloud, project), "terminate", time_delay)

    def rollback_service(
        self, service_name: str, time_delay: float = 0, *, cloud: str | None = None, project: str | None = None
    ) -> bool:
        """Asks Anyscale to go back to the version before the one that is being rolled out. As
        ``terminate_service``."""
        return self._act_on_service(self.get_service_status(service_name, cloud, project), "rollback", time_delay)

    def _act_on_service(self, service: AnyscaleServiceStatus, verb: str, time_delay: float) -> bool:
        doing = f"the {verb} of service {service.name}"
        self.call(lambda client: client.post(f"{wire.service(service.id)}/{verb}", doing, {}, again=True))
        time.sleep(time_delay)
        return True

    def _with_image(self, request: Request) -> Request:
        """With a containerfile's image instead: Anyscale's client would build it anew for each job's name."""
        if not request.workload.containerfile:
            return request
        return replace(request, workload=self.call(lambda client: submitting.with_image(client, request.workload)))

    def _job(self, job_id: str) -> dict[str, Any]:
        return dict(self.call(lambda client: client.get(wire.job(job_id), f"the question for job {job_id}")))


async def end_job(client: AnyscaleClient, job: str) -> None:
    """Asks Anyscale to end a job. It may be asked twice."""
    await client.post(wire.terminate_job(job), f"the end of job {job}", {}, again=True)


async def undo_rollout(client: AnyscaleClient, service: str, *, was_there: bool) -> None:
    """Asks Anyscale to go back to the version before, or to end a service that was new. It may be asked twice."""
    verb = "rollback" if was_there else "terminate"
    await client.post(f"{wire.service(service)}/{verb}", f"the {verb} of service {service}", {}, again=True)
