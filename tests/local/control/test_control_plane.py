"""The control plane as one object, on a real PostgreSQL and the emulated services: what it reports about environments,
how it cancels a creation, and that a full disk loses nothing acknowledged."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from tests.control_scenes import EVERYTHING, request
from tests.local.control.test_control_store import CALLER
from tests.local.control_postgres import OneSecret
from tests.local.ecs_cloud import OWNER, Cloud
from tests.local.small_disk import SmallDisk, needs_mounts, small_disk

from skylift.control.api.provider import MwaaProvider
from skylift.control.plane import PROGRESS_ROUTE, ControlPlane
from skylift.control.postgres import PostgresAdmin
from skylift.control.settings import ControlSettings
from skylift.control.store import EnvironmentStore
from skylift.core.environment import Status
from skylift.core.errors import Refused
from skylift.localcloud.postgres import postmaster
from skylift.localcloud.postgres.server import Postgres as Server
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.local


def until(look: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("postgres"))
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[pytest.MonkeyPatch]:
    """A local cloud that knows where PostgreSQL is, and this process's AWS settings aimed at it."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud")).start()
    with pytest.MonkeyPatch.context() as patch:
        value = {"host": "127.0.0.1", "port": server.port, "username": "postgres", "password": server.password}
        cloud.client("secretsmanager").create_secret(Name="skylift/postgres", SecretString=json.dumps(value))
        words = {"ENDPOINT_URL": cloud.url, "ACCESS_KEY_ID": OWNER.access_key, "SECRET_ACCESS_KEY": OWNER.secret}
        for name, word in {**words, "REGION": "us-east-1", "DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(f"AWS_{name}", word)
        boto3.setup_default_session()
        yield patch
    cloud.stop()


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> ControlSettings:
    return ControlSettings(
        control_database=f"plane_{abs(hash(request.node.name))}", moving_milliseconds=50, steady_seconds=3600
    )


@pytest.fixture
def plane(aws: object, settings: ControlSettings) -> Iterator[ControlPlane]:
    made = ControlPlane(settings)
    made.start()
    try:
        until(lambda: _answers(made))
        yield made
    finally:
        made.stop()
        assert made._thread is not None
        assert not made._thread.is_alive(), "also while there was nothing to do for an hour"


def _answers(plane: ControlPlane) -> bool:
    try:
        return plane.provider.list_environments(CALLER, {}) is not None
    except AwsError:  # the reconciler has not made its database yet
        return False


def test_a_creation_that_failed_is_told_left_alone_and_can_be_taken_back(plane: ControlPlane) -> None:
    assert [tell("flight") for tell in (plane.progress, plane.planned, plane.cancel)] == [None, None, None]
    with pytest.raises(Refused, match="there is no environment flight; see skylift env list"):
        plane.plan_of("flight")
    plane.provider.create_environment(CALLER, request())
    told = until(lambda: one if (one := plane.progress("flight") or {})["status"] == "CREATE_FAILED" else None)
    assert {*told} == {"name", "status", "doing", "condition", "parts", "told"}
    assert (told["name"], told["condition"]) == ("flight", "")
    assert {"source", "database", "service/scheduler"} <= {part["name"] for part in told["parts"]}
    assert next(part["phase"] for part in told["parts"] if part["name"] == "source") == "failed"
    failed = plane.provider.get_environment(CALLER, {"Name": "flight"})["Environment"]["LastUpdate"]["Error"]
    assert failed["ErrorMessage"].startswith("The bucket flight-bucket does not exist.")
    assert plane.planned("flight") == {"name": "flight", "status": "CREATE_FAILED", "condition": "", "steps": []}
    assert plane.cancel("flight") == {"name": "flight", "status": "DELETING"}
    # Whoever is not sure of having been heard asks again.
    assert plane.cancel("flight") in (None, {"name": "flight", "status": "DELETING"})
    until(lambda: plane.progress("flight") is None)


def test_a_dry_run_tells_each_step_and_does_none(plane: ControlPlane, settings: ControlSettings) -> None:
    plane.stop()  # nobody else acts
    still = ControlPlane(settings)
    still.provider.create_environment(CALLER, request())
    boto3.client("s3").create_bucket(Bucket="flight-bucket")
    boto3.client("iam").create_role(RoleName="flight", AssumeRolePolicyDocument="{}")
    told = still.planned("flight")
    assert told is not None
    assert (told["name"], told["status"], told["condition"]) == ("flight", "CREATING", "")
    steps = {(step["verb"], step["part"]): step["why"] for step in told["steps"]}
    assert steps[("put", "logs")]
    assert steps[("put", "secrets")]
    assert boto3.client("logs").describe_log_groups()["logGroups"] == [], "a dry run does nothing"
    assert still.progress("flight")["doing"] == "waiting for the control plane's next round"  # type: ignore[index]


def test_what_was_true_before_a_restart_is_not_told_as_true(plane: ControlPlane, settings: ControlSettings) -> None:
    plane.stop()
    still = ControlPlane(settings)
    still.provider.create_environment(CALLER, request())
    store = still._store
    row = store.get("flight")
    assert row is not None
    for status in (Status.AVAILABLE, Status.UNAVAILABLE):
        assert store.record(replace(row, status=status, progress={"doing": "available", "condition": "all is well"}))
        told = still.progress("flight")
        assert told is not None
        assert (told["status"], told["doing"], told["condition"]) == (status, "available", "not looked at yet")
    assert store.record(replace(row, status=Status.CREATING, progress={"condition": "told"}))
    assert still.progress("flight")["condition"] == "told"  # type: ignore[index]


def test_its_route_is_behind_the_gate(plane: ControlPlane) -> None:
    assert [*plane.signed_routes] == [PROGRESS_ROUTE] == ["/_skylift/environments"]


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    needs_mounts(request.node.nodeid)
    with small_disk(tmp_path / "disk", megabytes=160) as one:
        yield one


def long_request(name: str) -> dict[str, Any]:
    """One that takes room, also compressed."""
    return request(Name=name, AirflowConfigurationOptions={f"a.o{n}": secrets.token_hex(500) for n in range(40)})


def test_a_creation_on_a_full_disk_is_kept_or_refused(disk: SmallDisk) -> None:
    server = Server(disk.folder)
    server.start()
    store = EnvironmentStore(PostgresAdmin(OneSecret(server), "s"), "skylift", time.time)  # type: ignore[arg-type]
    mwaa = MwaaProvider(store, ControlSettings(), lambda: None, EVERYTHING)
    kept: set[str] = set()
    refused: dict[str, tuple[str, int]] = {}
    try:
        store.prepare()
        mwaa.create_environment(CALLER, request(Name="before"))
        kept.add("before")
        disk.fill()
        for number in range(5000):  # PostgreSQL's log has room of its own, which is used up first
            name = f"e{number}"
            try:
                mwaa.create_environment(CALLER, long_request(name))
                kept.add(name)
            except AwsError as error:
                refused[name] = error.code, error.status
            if len(refused) == 5:
                break
        assert [*refused.values()] == [("ServiceUnavailableException", 503)] * 5, "or the disk takes whatever comes"
        for process in _processes(server):
            process.kill()
        disk.free()
        server.start()
        stored = {row.name for row in store.all()}
        assert kept <= stored, "acknowledged, and lost"
        for name in refused.keys() - stored:
            mwaa.create_environment(CALLER, long_request(name))
        assert {row.name for row in store.all()} == kept | refused.keys(), "with room again they are made"
    finally:
        disk.free()
        server.stop()


def _processes(server: Server) -> list[Any]:
    found = postmaster.find(server.data)
    return [psutil.Process(found.pid)] if found else []
