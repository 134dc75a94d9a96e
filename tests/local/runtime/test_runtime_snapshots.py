"""Snapshots against real PostgreSQL and S3: a consistent view, whole or not at all, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.local.ecs_cloud import Cloud

from skylift.aws.s3_objects import S3Objects
from skylift.core.errors import Refused
from skylift.localcloud.postgres.server import Postgres
from skylift.runtime.snapshots.program import DATABASE, main
from skylift.runtime.snapshots.tables import in_order
from skylift.runtime.snapshots.words import TEMPORARY

pytestmark = pytest.mark.local
TABLES = """
    CREATE TABLE alembic_version (version_num text);
    INSERT INTO alembic_version VALUES ('v1');
    CREATE TABLE dag (dag_id text PRIMARY KEY, is_paused boolean);
    CREATE TABLE a_run (id serial PRIMARY KEY, dag_id text REFERENCES dag, conf json, body bytea, at timestamptz);
    CREATE TABLE step (id int PRIMARY KEY, run int REFERENCES a_run, parent int REFERENCES step, "odd Name" text);
    INSERT INTO dag VALUES ('d', false);
    INSERT INTO a_run (dag_id, conf, body, at) VALUES ('d', '{"a": "x\\ty"}', '\\x00ff', now()), ('d', NULL, NULL, NULL);
    INSERT INTO step VALUES (1, 1, NULL, E'line\\nbreak'), (2, 1, 1, '');
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    made = Postgres(tmp_path_factory.mktemp("postgres"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def database(server: Postgres) -> Iterator[Any]:
    """A fresh database with a few tables; a connection to it."""
    where = {"host": "127.0.0.1", "port": server.port, "user": server.superuser, "password": server.password}
    with psycopg.connect(**where, dbname="postgres", autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS kept WITH (FORCE)")
        admin.execute("CREATE DATABASE kept")
    with psycopg.connect(**where, dbname="kept", autocommit=True) as connection:
        connection.execute(TABLES)
        yield connection


@pytest.fixture
def place(cloud: Cloud, request: pytest.FixtureRequest) -> str:
    return f"s3://workloads/snapshots/{request.node.name[:40]}"


def do(server: Postgres, cloud: Cloud, word: str, *arguments: str) -> int:
    url = f"postgresql+psycopg2://{server.superuser}:{server.password}@127.0.0.1:{server.port}/kept"
    return main(word, list(arguments), {DATABASE: url}, S3Objects(cloud.client("s3")))


def rows(database: Any) -> list[Any]:
    return [
        database.execute("SELECT dag_id, is_paused FROM dag ORDER BY 1").fetchall(),
        database.execute("SELECT id, dag_id, conf::text, body, at FROM a_run ORDER BY 1").fetchall(),
        database.execute('SELECT id, run, parent, "odd Name" FROM step ORDER BY 1').fetchall(),
    ]


def test_every_row_comes_back_and_numbers_go_on(server: Postgres, cloud: Cloud, database: Any, place: str) -> None:
    before = rows(database)
    assert do(server, cloud, "snapshot", place) == 0
    database.execute("DELETE FROM step; DELETE FROM a_run; INSERT INTO dag VALUES ('e', false)")
    assert do(server, cloud, "restore", place) == 0
    assert rows(database) == before
    database.execute("INSERT INTO a_run (dag_id) VALUES ('d')")
    assert database.execute("SELECT max(id) FROM a_run").fetchone() == (3,)
    assert do(server, cloud, "restore", place, "--pause") == 0
    assert rows(database)[0] == [("d", True)]


def test_a_restore_that_fails_on_the_way_changes_nothing(
    server: Postgres, cloud: Cloud, database: Any, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert do(server, cloud, "snapshot", place) == 0
    s3, key = cloud.client("s3"), place.removeprefix("s3://workloads/") + "/manifest.json"
    manifest = json.loads(s3.get_object(Bucket="workloads", Key=key)["Body"].read())
    manifest["tables"][-1]["rows"] += 1
    s3.put_object(Bucket="workloads", Key=key, Body=json.dumps(manifest).encode())
    database.execute("UPDATE step SET \"odd Name\" = 'newer'")
    after = rows(database)
    assert do(server, cloud, "restore", place) == 78
    assert "the snapshot is damaged: step has 2 rows of 3" in capfd.readouterr().err
    assert rows(database) == after


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE alembic_version SET version_num = 'v2'", "is of another Airflow"),
        ("ALTER TABLE step ADD COLUMN more int", "other tables or columns"),
        ("DROP TABLE step", "other tables or columns"),
    ],
)
def test_a_snapshot_of_another_airflow_is_refused(
    server: Postgres,
    cloud: Cloud,
    database: Any,
    place: str,
    change: str,
    told: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert do(server, cloud, "snapshot", place) == 0
    database.execute(change)
    assert do(server, cloud, "restore", place) == 78
    assert told in capfd.readouterr().err
    assert database.execute("SELECT count(*) FROM a_run").fetchone() == (2,)


def test_without_a_manifest_there_is_no_snapshot(
    server: Postgres, cloud: Cloud, database: Any, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert do(server, cloud, "restore", place) == 78
    assert "there is no snapshot s3://workloads/" in capfd.readouterr().err
    assert do(server, cloud, "restore", "nowhere") == 78


def test_a_database_that_cannot_be_reached_may_be_there_later(
    cloud: Cloud, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"postgresql+psycopg2://me:pw-never-told@127.0.0.1:{port}/kept"
    assert main("snapshot", [place], {DATABASE: url}, S3Objects(cloud.client("s3"))) == TEMPORARY
    told = capsys.readouterr().err
    assert "the database cannot be reached now" in told
    assert "pw-never-told" not in told


def test_writers_meanwhile_are_not_seen_in_half(server: Postgres, cloud: Cloud, database: Any, place: str) -> None:
    """Another process adds a run with its step, always both, while a snapshot is taken."""
    where = f"host=127.0.0.1 port={server.port} user={server.superuser} password={server.password} dbname=kept"
    program = (
        "import psycopg, sys\n"
        f"with psycopg.connect({where!r}) as c:\n"
        "  for n in range(100, 4000):\n"
        "    c.execute('INSERT INTO a_run (id, dag_id) VALUES (%s, %s)', (n, 'd'))\n"
        "    c.execute('INSERT INTO step VALUES (%s, %s)', (n, n)); c.commit()\n"
        "    if n == 110: print('go', flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "go\n"
    assert do(server, cloud, "snapshot", place) == 0
    writer.kill()
    writer.wait()
    assert do(server, cloud, "restore", place) == 0
    lonely = "SELECT count(*) FROM a_run r LEFT JOIN step s ON s.id = r.id WHERE r.id >= 100 AND s.id IS NULL"
    assert database.execute(lonely).fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM a_run WHERE id >= 100").fetchone()[0] >= 11


def test_what_is_referred_to_comes_first_and_a_circle_is_refused() -> None:
    assert in_order(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "gone")]) == ["c", "b", "a"]
    with pytest.raises(Refused, match="a, b"):
        in_order(["a", "b"], [("a", "b"), ("b", "a")])
