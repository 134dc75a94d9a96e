"""A migrated, empty database of each Airflow version, from which PostgreSQL copies those of new environments.

To migrate an empty database takes Airflow 4 s of CPU, and nothing else can start meanwhile; to copy one takes 0.1 s.
The copy is made from the first environment of a version, after its migration and before its Airflow starts. If it
cannot be made or used, environments are migrated as the first one was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors, sql

from skylift.control.part_context import PartContext, digest
from skylift.control.postgres import Connection, PostgresAdmin
from skylift.core.errors import Unavailable

OWNER = "skylift-migrated"
"""Role that owns what is in the copies. Nobody can log in with it."""

NOT_NOW = (errors.ObjectInUse, errors.InsufficientPrivilege, errors.DiskFull, errors.DuplicateDatabase)
"""Somebody is connected to the database; this PostgreSQL does not let its administrator; there is no room; another
environment was first."""


class MigratedCopies:
    """The copies on one server. Every method raises ``Unavailable`` while PostgreSQL does not answer."""

    def __init__(self, postgres: PostgresAdmin) -> None:
        self._postgres = postgres

    def is_kept(self, context: PartContext) -> bool:
        """Whether there is a copy for the environment's Airflow."""
        with self._postgres.connect() as connection:
            return exists(connection, copy_name(context))

    def keep(self, context: PartContext, database: str) -> None:
        """Makes the copy from an environment's database, which was just migrated. Its owner has the same name."""
        half = f"{copy_name(context)}-{digest(database)[:8]}"
        with self._if_possible(half):
            with self._postgres.connect(autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone():
                    connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(OWNER)))
                    # On RDS the administrator is no superuser, and gives away only to roles that it is a member of.
                    connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(OWNER)))
                _copy(connection, database, half)
            with self._postgres.connect(half) as connection:
                _reassign(connection, database, OWNER)
                # That gave away the environment's own database, too. One transaction: nobody sees it.
                _own(connection, database, database)
            self._rename(half, copy_name(context))

    def use(self, context: PartContext, database: str) -> bool:
        """Makes an environment's database from the copy, for the role of the same name; False when it cannot."""
        half = half_of(database)
        if not self.is_kept(context):
            return False
        with self._if_possible(half):
            with self._postgres.connect(autocommit=True) as connection:
                _copy(connection, copy_name(context), half)
            with self._postgres.connect(half) as connection:
                _reassign(connection, OWNER, database)
                _own(connection, half, database)
            self._rename(half, database)
        with self._postgres.connect() as connection:
            return exists(connection, database)

    @contextmanager
    def _if_possible(self, half: str) -> Iterator[None]:
        """A block that leaves nothing behind where PostgreSQL refuses it."""
        try:
            yield
        except NOT_NOW:
            drop(self._postgres, half)
        except Unavailable as error:  # what psycopg calls operational
            if not isinstance(error.__cause__, NOT_NOW):
                raise
            drop(self._postgres, half)

    def _rename(self, half: str, name: str) -> None:
        """The last step: a database of this name is always a whole one."""
        with self._postgres.connect(autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(half), sql.Identifier(name))
            )


def copy_name(context: PartContext) -> str:
    """Name of the copy: of an Airflow version in an image, whose providers may have tables, too."""
    image = context.settings.image_of(context.spec.airflow_version)
    return f"skylift-migrated-{digest(image, context.spec.airflow_version)[:16]}"


def exists(connection: Connection, database: str) -> bool:
    """Whether there is a database of this name."""
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is not None


def half_of(database: str) -> str:
    """Name of an environment's database while it is being made: PostgreSQL's limit is 63 bytes."""
    return f"{database[:50]}-{digest(database)[:7]}-half"


def drop(postgres: PostgresAdmin, database: str) -> None:
    """Drops a database, whoever is connected; a missing one is no error."""
    with postgres.connect(autocommit=True) as connection:
        _drop(connection, database)


def _copy(connection: Connection, source: str, target: str) -> None:
    _drop(connection, target)  # what a control plane that was killed has left
    connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(target), sql.Identifier(source)))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(target)))


def _drop(connection: Connection, database: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def _own(connection: Connection, database: str, role: str) -> None:
    connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(role)))


def _reassign(connection: Connection, before: str, after: str) -> None:
    connection.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(before), sql.Identifier(after)))
