"""A PostgreSQL server for the control plane's tests, and the secret that says where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skylift.aws.secrets import Secret
from skylift.control.postgres import PostgresAdmin
from skylift.localcloud.postgres.server import Postgres


class OneSecret:
    """Where the server is: what Secrets Manager would answer."""

    def __init__(self, server: Postgres) -> None:
        self.server = server

    def read(self, name: str) -> Secret:
        value = {"host": "127.0.0.1", "port": str(self.server.port)}
        value |= {"username": self.server.superuser, "password": self.server.password}
        return Secret(name, "1", value)


@contextmanager
def serving_postgres(folder: Path) -> Iterator[PostgresAdmin]:
    """The control plane's way to a server that runs meanwhile."""
    server = Postgres(folder)
    server.start()
    try:
        yield PostgresAdmin(OneSecret(server), "skylift/postgres")  # type: ignore[arg-type]
    finally:
        server.stop()
