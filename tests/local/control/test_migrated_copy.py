"""Databases of new environments are copies of one that was migrated: who owns what, and what is left when it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from tests.control_scenes import context, spec
from tests.local.control_postgres import serving_postgres

from skylift.aws.secrets import Secret
from skylift.control.blueprint import PartKind, blueprint
from skylift.control.parts.database import DatabaseParts, database_name, secret_name
from skylift.control.parts.migrated_copy import MigratedCopies, copy_name, drop, half_of
from skylift.control.postgres import PostgresAdmin

pytestmark = pytest.mark.local
TABLES = """
CREATE TYPE mood AS ENUM ('well');
CREATE TABLE dag (id serial PRIMARY KEY, how mood NOT NULL DEFAULT 'well');
INSERT INTO dag DEFAULT VALUES;
"""


class Secrets:
    """``SecretsManager`` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Mapping[str, str]] = {}

    def read(self, name: str) -> Secret | None:
        return Secret(name, "1", dict(self.kept[name])) if name in self.kept else None

    def write(self, name: str, value: Mapping[str, str]) -> None:
        self.kept[name] = value

    def delete(self, name: str) -> None:
        self.kept.pop(name, None)


class World:
    def __init__(self, postgres: PostgresAdmin) -> None:
        self.postgres, self.secrets = postgres, Secrets()
        self.parts = DatabaseParts(postgres, self.secrets)  # type: ignore[arg-type]
        self.copies = MigratedCopies(postgres)

    def put(self, name: str) -> Mapping[str, str]:
        stage = context(spec(Name=name))
        (part,) = (one for one in blueprint(stage.spec) if one.kind is PartKind.DATABASE)
        return self.parts.put(stage, part)

    def remove(self, name: str) -> None:
        stage = context(spec(Name=name))
        (part,) = (one for one in blueprint(stage.spec) if one.kind is PartKind.DATABASE)
        self.parts.remove(stage, part)

    def airflow(self, name: str, database: str = "") -> psycopg.Connection[tuple[Any, ...]]:
        """As the environment's Airflow connects."""
        kept = self.secrets.kept[secret_name(name)]
        return psycopg.connect(
            host=kept["host"],
            port=kept["port"],
            user=kept["username"],
            password=kept["password"],
            dbname=database or kept["dbname"],
        )

    def databases(self) -> set[str]:
        with self.postgres.connect() as connection:
            return {str(one) for (one,) in connection.execute("SELECT datname FROM pg_database")}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresAdmin]:
    with serving_postgres(tmp_path_factory.mktemp("copies") / "data") as server:
        yield server


@pytest.fixture
def world(postgres: PostgresAdmin) -> Iterator[World]:
    made = World(postgres)
    yield made
    for name in ("one", "two", "three"):
        made.remove(name)
    drop(postgres, copy_name(context()))


def test_the_second_environments_database_needs_no_migration(world: World) -> None:
    assert world.put("one") == {}, "there is no copy yet"
    with world.airflow("one") as connection:
        connection.execute(TABLES)
    connection.close()
    first = context(spec(Name="one"))
    assert not world.copies.is_kept(first)
    world.copies.keep(first, database_name("one"))
    assert world.copies.is_kept(first)
    with world.airflow("one") as connection:  # it still owns what it has
        connection.execute("ALTER TABLE dag ADD COLUMN only_here int")
    connection.close()
    assert world.put("two") == {"migration.done": "airflow-two 3.3.2"}
    assert world.put("two") == {}, "again: it is there"
    with world.airflow("two") as connection:
        assert connection.execute("INSERT INTO dag DEFAULT VALUES RETURNING id, how").fetchone() == (2, "well")
        connection.execute("ALTER TABLE dag ADD COLUMN mine int")
        connection.execute("CREATE SCHEMA mine")
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
        columns = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'dag'")
        assert {str(one) for (one,) in columns} == {"id", "how", "mine"}
    connection.close()
    assert owners == [("airflow-two",)]
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        world.airflow("two", database_name("one"))
    world.remove("one")
    world.remove("two")
    assert world.databases() & {"airflow-one", "airflow-two"} == set()
    assert copy_name(first) in world.databases()
    with world.postgres.connect() as connection:
        roles = {one for (one,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'airflow-%'")}
    assert roles == set()


def test_while_somebody_is_connected_there_is_no_copy_and_nothing_is_left(world: World) -> None:
    world.put("one")
    before = world.databases()
    with world.airflow("one"):
        world.copies.keep(context(spec(Name="one")), database_name("one"))
    assert world.databases() == before
    assert world.put("two") == {}, "it is migrated, as the first one was"


def test_what_a_control_plane_that_was_killed_has_left_stands_in_nobodys_way(world: World) -> None:
    world.put("one")
    world.copies.keep(context(spec(Name="one")), database_name("one"))
    world.postgres.make_database(half_of(database_name("two")))
    assert world.put("two") == {"migration.done": "airflow-two 3.3.2"}
    world.postgres.make_database(half_of(database_name("three")))
    world.remove("three")
    assert not [name for name in world.databases() if name.endswith("-half")]
