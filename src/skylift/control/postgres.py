"""Connections to the PostgreSQL server, with the administrator's secret; only this module connects with psycopg.

It reads the secret again whenever a connection fails, because the server may have moved or the password may have been
rotated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from skylift.aws.secrets import SecretsManager
from skylift.core.errors import Refused, Unavailable

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class ServerAddress:
    """The address of PostgreSQL, and its administrator."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)


class PostgresAdmin:
    """The server named by a secret ``{host, port, username, password}``."""

    def __init__(self, secrets: SecretsManager, secret: str) -> None:
        self._secrets = secrets
        self._secret = secret
        self._server: ServerAddress | None = None
        # The secret is read once for all threads that need it at the same time: passes, requests, the progress route.
        self._lock = threading.Lock()

    def server(self) -> ServerAddress:
        """The server's address.

        Raises:
            Unavailable: the secret does not exist yet.
            Refused: it lacks a key, or has the wrong form.
        """
        with self._lock:
            if self._server is None:
                self._server = self._read()
            return self._server

    @contextmanager
    def connect(self, database: str = "postgres", autocommit: bool = False) -> Iterator[Connection]:
        """A connection for the length of a block; committed at its end, rolled back on an error.

        Raises:
            Unavailable: the server does not answer.
        """
        server = self.server()
        try:
            connection = psycopg.connect(
                host=server.host,
                port=server.port,
                user=server.username,
                password=server.password,
                dbname=database,
                autocommit=autocommit,
                connect_timeout=5,
                application_name="skylift-control",
            )
        except psycopg.OperationalError as error:
            self._server = None
            raise Unavailable(f"PostgreSQL at {server.host}:{server.port} does not answer: {error}") from error
        try:
            with connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable) as error:
            # Without its table: at the very first start, between the creation of the database and of the table.
            raise Unavailable(f"PostgreSQL at {server.host}:{server.port}: {error}") from error

    def make_database(self, name: str) -> None:
        """Creates a database owned by the administrator; an existing one is not an error."""
        with self.connect(autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _read(self) -> ServerAddress:
        try:
            found = self._secrets.read(self._secret)
            if found is None:
                raise Unavailable(f"the secret {self._secret} with PostgreSQL's address is not there yet")
            value = found.value
            return ServerAddress(value["host"], int(value["port"]), value["username"], value["password"])
        except KeyError as error:
            raise Refused(
                f"the secret {self._secret} must have host, port, username, password; lacks {error}"
            ) from error
        except (ValueError, AttributeError):
            # Without its cause: the cause quotes the secret.
            raise Refused(
                f"the secret {self._secret} must be a JSON object with host, port (a number), username, password"
            ) from None
