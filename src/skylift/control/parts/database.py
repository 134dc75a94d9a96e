"""The metadata database: each environment has its own role, database and secret.

PostgreSQL gets the password only as a SCRAM verifier, so that it is never in a statement or in the server's log.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from psycopg import sql

from skylift.aws.secrets import SecretsManager
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext, short_name
from skylift.control.parts.migrated_copy import MigratedCopies, drop, exists, half_of
from skylift.control.parts.migration import migrated
from skylift.control.plan import PartPhase, Seen
from skylift.control.postgres import Connection, PostgresAdmin


class DatabaseParts:
    """Parts of kind DATABASE."""

    def __init__(self, postgres: PostgresAdmin, store: SecretsManager) -> None:
        self._postgres = postgres
        self._store = store
        self._copies = MigratedCopies(postgres)

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """See ``Parts``. The secret first: a role with an unknown password would be useless."""
        name = database_name(context.spec.name)
        server = self._postgres.server()
        found = self._store.read(secret_name(context.spec.name))
        password = found.value["password"] if found else secrets.token_urlsafe(24)
        self._store.write(
            secret_name(context.spec.name),
            {
                "host": server.host,
                "port": str(server.port),
                "dbname": name,
                "username": name,
                "password": password,
                "url": f"postgresql+psycopg2://{name}:{quote(password)}@{server.host}:{server.port}/{name}",
            },
        )
        with self._postgres.connect(autocommit=True) as connection:
            _make_role(connection, name, password)
            there = exists(connection, name)
        if there:
            return {}
        if self._copies.use(context, name):
            return {"migration.done": migrated(context, name)}
        with self._postgres.connect(autocommit=True) as connection:
            _make_database(connection, name)
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        """See ``Parts``. Ends open connections."""
        drop(self._postgres, half_of(database_name(context.spec.name)))
        name = sql.Identifier(database_name(context.spec.name))
        with self._postgres.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
        self._store.delete(secret_name(context.spec.name))

    def _look(self, context: PartContext) -> Seen:
        name = database_name(context.spec.name)
        server = self._postgres.server()
        found = self._store.read(secret_name(context.spec.name))
        with self._postgres.connect() as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if found is None:
            return Seen(PartPhase.DIFFERENT if there else PartPhase.ABSENT)
        if not there or (found.value["host"], found.value["port"]) != (server.host, str(server.port)):
            return Seen(PartPhase.DIFFERENT, note="the secret and the server differ")
        return Seen(PartPhase.READY, {"database.secret": found.arn, "database.name": name})


def database_name(environment: str) -> str:
    """Database and role of an environment: at most 63 bytes, PostgreSQL's limit."""
    return short_name(environment, "airflow-", 63)


def secret_name(environment: str) -> str:
    """Name of the secret with host, port, dbname, username, password and url."""
    return f"skylift/{environment}/database"


def _make_role(connection: Connection, name: str, password: str) -> None:
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    verb = "ALTER" if there else "CREATE"
    connection.execute(sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))
    # On RDS the administrator is no superuser and may give a database only to a role that it is a member of.
    connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(name)))


def _make_database(connection: Connection, name: str) -> None:
    role = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))
