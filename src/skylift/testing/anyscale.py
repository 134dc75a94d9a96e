"""A fake of Anyscale beside a local cloud, for tests of DAGs that use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.anyscale_fake.server import IMAGE, FakeAnyscale
from skylift.testing.cloud import Cloud

_SECONDS = 60.0


@dataclass(frozen=True)
class Anyscale:
    """A fake of Anyscale that runs.

    Attributes:
        url: the host of a connection.
        key: its API key.
        looker: an API key that may look, and change nothing.
    """

    url: str
    key: str = field(repr=False)
    looker: str = field(repr=False)
    _fake: FakeAnyscale

    @property
    def connection(self) -> dict[str, Any]:
        """The connection, as JSON of ``AIRFLOW_CONN_...``."""
        return {"conn_type": "anyscale", "host": self.url, "password": self.key}

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that was submitted: ``id``, ``name``, ``state``, ``tries``, ``entrypoint``, and the ``body`` of its
        submission."""
        return [
            {
                "id": job.id,
                "name": job.body.get("name"),
                "state": job.state,
                "tries": len(job.runs),
                "entrypoint": job.body["config"]["entrypoint"],
                "body": job.body,
            }
            for job in list(self._fake.records.jobs.values())
        ]

    def asked(self) -> list[tuple[str, str]]:
        """Method and path of every request with an API key."""
        return list(self._fake.routes.asked)

    def end_job(self, one: str) -> None:
        """Ends a job, as somebody does in Anyscale's console."""
        self._fake.records.jobs[one].ending = True

    def services(self) -> dict[str, dict[str, Any]]:
        """Every service that was deployed, by name, with the body of its last deployment."""
        return {one.name: one.body for one in list(self._fake.records.services.values())}

    def set_service(self, name: str, state: str, error: str = "") -> None:
        """Puts a service into a state, e.g. ``UNHEALTHY``."""
        service = self._fake.records.services[name]
        service.state, service.error = state, error

    def answer_with(self, status: int, times: int, path: str = "") -> None:
        """Answers the next requests with an HTTP status, e.g. 503.

        Args:
            path: only requests whose path holds this text.
        """
        self._fake.routes.refuse(status, times, path)

    def be_silent(self, seconds: float) -> None:
        """Answers nothing for some time."""
        self._fake.routes.silent(seconds)


@contextmanager
def running_anyscale(
    cloud: Cloud, folder: Path, *, image: str = IMAGE, rollout_seconds: float = 0.5
) -> Iterator[Anyscale]:
    """A fake of Anyscale while the block runs; its jobs run in ``cloud``.

    Args:
        folder: for its state; the same folder gives the same jobs, address and keys again.
        image: that job containers start from, one of those that the cloud has.
        rollout_seconds: how long the rollout of a service takes.
    """

    async def start() -> FakeAnyscale:
        ecs, logs, secrets = (cloud.client(service) for service in ("ecs", "logs", "secretsmanager"))
        fake = FakeAnyscale(folder, ecs, logs, secrets, image, rollout_seconds)
        await fake.start()
        return fake

    fake = asyncio.run_coroutine_threadsafe(start(), cloud._loop).result(_SECONDS)
    try:
        yield Anyscale(fake.address.url, fake.address.key, fake.address.looker, fake)
    finally:
        asyncio.run_coroutine_threadsafe(fake.stop(), cloud._loop).result(_SECONDS)
