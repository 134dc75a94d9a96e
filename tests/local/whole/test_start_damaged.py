"""A whole home with damaged PostgreSQL data or secrets: the start says what is wrong and what to do, serves the rest,
changes nothing. After the file is restored, everything works as before, including runs and sessions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError
from tests.stack import QUICKSTART, Stack, running

from skylift.cli.runs.airflow_api import AirflowApi

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(1200)]
NAME = "hurt"


@dataclass(frozen=True)
class Before:
    """What must still be there afterwards."""

    stack: Stack
    session: str
    run: str


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    with running(tmp_path_factory.mktemp("hurt") / "home") as stack:
        stack.must("env", "create", NAME, str(QUICKSTART))
        run = json.loads(stack.must("env", "run", "quickstart", "--env", NAME, "--json"))["run_id"]
        session = stack.must("env", "token", NAME).strip()
        stack.client("s3").create_bucket(Bucket="kept")
        stack.must("down", "--yes")
        yield Before(stack, session, run)


def all_is_well(before: Before) -> None:
    stack = before.stack
    stack.run("up")  # it may give up while an API server that could not be started is on its way again
    deadline = time.monotonic() + 300
    while f"{NAME}  AVAILABLE  " not in (listed := stack.run("env", "list").stdout):
        assert time.monotonic() < deadline, f"{listed}\n{stack.log()}"
        time.sleep(0.5)
    assert "DAMAGED" not in stack.must("status")
    shown = json.loads(stack.must("env", "show", NAME, "--json"))
    airflow = AirflowApi(shown["WebserverUrl"], lambda: before.session)  # whose key is among the secrets
    assert airflow.run_state("quickstart", before.run) == "success"


@pytest.mark.parametrize(
    ("name", "named", "holds"),
    [
        ("postgres/data/global/pg_control", "postgres/data", "the databases"),
        ("rest/secretsmanager.json", "rest/secretsmanager.json", "the state of secretsmanager"),
    ],
    ids=["the database", "the secrets"],
)
def test_what_is_damaged_is_named_and_with_the_file_put_back_nothing_is_lost(
    before: Before, name: str, named: str, holds: str
) -> None:
    stack = before.stack
    path = stack.home / name
    content = path.read_bytes()
    damaged = content[: len(content) // 2] if name.endswith(".json") else b""
    path.write_bytes(damaged)
    told = stack.run("up")
    assert "Traceback" not in told.stdout + told.stderr
    for words in (told.stdout + told.stderr, stack.must("status")):
        assert f"{stack.home / named} is damaged" in words
        assert f"It holds {holds}" in words
        assert f"mv {stack.home / named} {stack.home / named}.damaged" in words, "what to do is said"
    with pytest.raises(ClientError) as refused:
        stack.client("mwaa").get_environment(Name=NAME)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, "not: there is no such environment"
    assert "kept" in {one["Name"] for one in stack.client("s3").list_buckets()["Buckets"]}, "the rest is served"
    stack.must("down", "--yes")
    assert path.read_bytes() == damaged, "nothing is overwritten"
    path.write_bytes(content)
    all_is_well(before)
    stack.must("down", "--yes")
