"""The contract of ``Compute`` (its prose in ``skylift.core.attempt``) on the shipped fake, and on ECS and Batch of the
local cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from tests.local import batch_cloud
from tests.local.ecs_cloud import NETWORK, Cloud, definition, furnished
from tests.unit.executor_airflow import batch_conf, ecs_conf

from skylift.aws.batch.jobs import BatchJobs
from skylift.aws.ecs.tasks import EcsTasks
from skylift.core.attempt import SUPERSEDED, Attempt, Census, Compute, Observation, Phase, Verdict, verdict
from skylift.executors.batch_compute import BatchCompute
from skylift.executors.ecs import EcsCompute
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.batch import batch_options
from skylift.executors.options.ecs import EcsOptions, ecs_options

pytestmark = pytest.mark.contract

WAITS = (
    "import pathlib,sys,time\np=pathlib.Path({file!r})\nwhile not p.exists(): "
    "time.sleep(.05)\nsys.exit(int(p.read_text()))"
)


class World(Protocol):
    """A compute, and a hand on what its containers do."""

    compute: Compute

    def run(self, ref: str, token: str) -> None: ...

    def exit(self, ref: str, token: str, code: int) -> None: ...

    def by_reference(self, on: bool) -> None:
        """Whether workloads lie where they can be put again."""

    def renewed(self, ref: str) -> list[str]:
        """Workloads that were put again for this container."""


class FakeWorld:
    def __init__(self) -> None:
        self.compute = FakeCompute()

    def by_reference(self, on: bool) -> None:
        self.compute.by_reference = on

    def renewed(self, ref: str) -> list[str]:
        return [self.compute.documents[one] for one in self.compute.renewals if one == ref]

    def run(self, ref: str, token: str) -> None:
        self.compute.run(ref)

    def exit(self, ref: str, token: str, code: int) -> None:
        self.compute.exit(ref, code)


class Waiting:
    """``Payloads`` whose command waits for a file with its exit code; the document is in it, as in an inline
    payload."""

    def __init__(self, folder: Path) -> None:
        self.by_reference = False
        self.renewed: list[str] = []
        self._folder = folder

    def prepare(self, attempt: Attempt) -> Payload:
        text = WAITS.format(file=str(self.file(attempt.token)))
        return Payload(("python", "-c", f"# {attempt.document()}\n{text}"), {})

    def renew(self, attempt: Attempt) -> None:
        self.renewed.append(attempt.document())

    def file(self, token: str) -> Path:
        return self._folder / token.replace(".", "-")


class EcsWorld:
    """Containers of ECS tasks."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        ecs = cloud.client()
        self._payloads = Waiting(folder)
        request: dict[str, Any] = {
            "launchType": "FARGATE",
            "networkConfiguration": NETWORK,
            "taskDefinition": ecs.register_task_definition(**definition("true"))["taskDefinition"]["family"],
        }
        options = ecs_options(ecs_conf(cluster="default", container_name="main"))
        options = EcsOptions(**{**vars(options), "request": request})
        self.compute = EcsCompute(EcsTasks(ecs, "default"), options, self._payloads)  # type: ignore[arg-type]

    def run(self, ref: str, token: str) -> None: ...

    def exit(self, ref: str, token: str, code: int) -> None:
        half = self._payloads.file(token).with_suffix(".half")
        half.write_text(str(code))
        half.rename(self._payloads.file(token))

    def by_reference(self, on: bool) -> None:
        self._payloads.by_reference = on

    def renewed(self, ref: str) -> list[str]:
        return self._payloads.renewed


class BatchWorld(EcsWorld):
    """The same containers, of Batch jobs."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        batch = cloud.client("batch")
        self._payloads = Waiting(folder)
        batch_cloud.prepare(batch)
        batch_cloud.define(batch, "true")
        options = batch_options(batch_conf(job_queue="q", job_definition="work"))
        self.compute = BatchCompute(BatchJobs(batch), options, self._payloads)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("cloud")) as started:
        yield started


@pytest.fixture(scope="module")
def ecs_world(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> EcsWorld:
    return EcsWorld(cloud, tmp_path_factory.mktemp("exits"))


@pytest.fixture(scope="module")
def batch_world(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> BatchWorld:
    return BatchWorld(cloud, tmp_path_factory.mktemp("exits"))


@pytest.fixture(params=["fake", "ecs", "batch"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = FakeWorld() if request.param == "fake" else request.getfixturevalue(f"{request.param}_world")
    return made


def attempt(number: int = 1, external_id: str = "") -> Attempt:
    return Attempt(external_id or str(uuid4()), number, lambda: str(uuid4()), labels={"dag_id": "d"})


def seen(world: World, ref: str, until: Callable[[Observation], object]) -> Observation:
    deadline = time.monotonic() + 30
    while True:
        (observation,) = world.compute.observe([ref])
        if until(observation):
            return observation
        assert time.monotonic() < deadline, observation
        time.sleep(0.05)


def placed(world: World, one: Attempt) -> str:
    (answer,) = world.compute.submit([one])
    assert answer.ref, answer
    return answer.ref


def test_a_whole_life(world: World) -> None:
    one = attempt()
    ref = placed(world, one)
    assert verdict(seen(world, ref, lambda o: o.phase is not Phase.MISSING)) is Verdict.UNDERWAY
    world.run(ref, one.token)
    assert seen(world, ref, lambda o: o.phase is Phase.RUNNING).began
    world.exit(ref, one.token, 70)
    last = seen(world, ref, lambda o: o.phase is Phase.STOPPED)
    assert (last.began, last.exit_code, last.by_request) == (True, 70, False)


def test_the_same_token_gives_the_same_container_though_the_document_is_another(world: World) -> None:
    one = attempt()
    refs = {placed(world, one) for _ in range(3)}
    assert len(refs) == 1
    assert world.compute.find(one) == [*refs]
    world.compute.stop(*refs, why="test")


def test_another_attempt_is_another_container_and_both_are_found(world: World) -> None:
    first, second = attempt(1, "e-" + uuid4().hex), attempt(2)
    second = attempt(2, first.external_id)
    old = placed(world, first)
    world.compute.stop(old, "make room")
    seen(world, old, lambda o: o.phase is Phase.STOPPED)
    new = placed(world, second)
    assert world.compute.find(second) == [old, new]
    world.compute.stop(new, "test")


def test_a_stop_is_told_as_asked_for_and_may_be_repeated(world: World) -> None:
    one = attempt()
    ref = placed(world, one)
    world.run(ref, one.token)
    seen(world, ref, lambda o: o.phase is Phase.RUNNING)
    world.compute.stop(ref, "because")
    last = seen(world, ref, lambda o: o.phase is Phase.STOPPED)
    assert last.by_request
    assert "because" in last.reason
    world.compute.stop(ref, "again")


def test_many_are_observed_at_once_and_the_unknown_is_missing(world: World) -> None:
    attempts = [attempt() for _ in range(3)]
    refs = [placed(world, one) for one in attempts]
    unknown = refs[0][:-3] + "000"
    answers = {one.ref: one.phase for one in world.compute.observe([*refs, unknown])}
    assert answers.pop(unknown) is Phase.MISSING
    assert {*answers} == {*refs}
    assert Phase.MISSING not in answers.values()
    for ref in refs:
        world.compute.stop(ref, "test")


def test_nothing_is_found_of_what_was_never_asked_for(world: World) -> None:
    assert world.compute.find(attempt()) == []


def test_what_waits_can_be_renewed_where_it_lies_apart_from_the_command(world: World) -> None:
    one = attempt()
    ref = placed(world, one)
    assert world.compute.renew(one, ref) is False, "it stands in the command"
    world.by_reference(True)
    try:
        fresh = replace(one, document=lambda: "a fresh token")
        assert world.compute.renew(fresh, ref) is True
        assert world.renewed(ref)[-1:] == ["a fresh token"]
    finally:
        world.by_reference(False)
    world.compute.stop(ref, "test")


def test_an_end_of_which_nobody_found_more_out_is_explained_by_nothing(world: World) -> None:
    ref = placed(world, attempt())
    world.compute.stop(ref, "test")
    seen(world, ref, lambda o: o.phase is Phase.STOPPED)
    assert world.compute.explain(ref) == ""


def test_kin_may_go_together_and_no_more_than_fit(world: World) -> None:
    """Attempts with equal group keys can be submitted together; a compute that submits one at a time has no group
    keys."""
    one, other = attempt(), attempt()
    assert world.compute.most_per_submit == 1
    assert (world.compute.group_key(one), world.compute.group_key(other)) == (None, None)
    answers = [answer.ref for each in (one, other) for answer in world.compute.submit([each])]
    assert len({*answers} - {""}) == 2
    for ref in answers:
        world.compute.stop(ref, "test")


def test_a_census_has_what_is_alive_under_its_external_id(world: World) -> None:
    if not isinstance(world.compute, Census):
        pytest.skip("this compute has no census: each is found by itself")
    one, other = attempt(), attempt()
    ref, ended = placed(world, one), placed(world, other)
    world.compute.stop(ended, "test")
    seen(world, ended, lambda o: o.phase is Phase.STOPPED)
    found = world.compute.census()
    assert found[one.external_id] == [ref]
    assert other.external_id not in found
    world.compute.stop(ref, "test")


def test_a_stop_of_ours_is_not_taken_for_a_request_to_end_the_work(world: World) -> None:
    one = attempt()
    ref = placed(world, one)
    world.compute.stop(ref, f"{SUPERSEDED}: test")
    last = seen(world, ref, lambda o: o.phase is Phase.STOPPED)
    assert SUPERSEDED in last.reason
    if not last.began:
        assert verdict(last) is Verdict.LOST
