"""Kinds of parts whose state depends on an ECS task or service: every case, without ECS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import context, spec

from skylift.aws.ecs.services import DescribedService
from skylift.aws.ecs.tasks import DescribedTask, EcsContainer
from skylift.aws.s3 import Found
from skylift.control.blueprint import Part, PartKind, blueprint
from skylift.control.notes import of_notes
from skylift.control.part_context import PartContext
from skylift.control.parts.health import unwell
from skylift.control.parts.layer import LayerParts, layer_digest
from skylift.control.parts.migration import MigrationParts
from skylift.control.parts.one_off import Once, failure_text
from skylift.control.parts.service import ServiceParts, desired_count
from skylift.control.parts.source import SourceParts
from skylift.control.plan import PartPhase, Seen

pytestmark = pytest.mark.unit
ARN = "arn:aws:ecs:us-east-1:000000000000:task/skylift/0123"
RUNNING = DescribedTask(ARN, "RUNNING", "RUNNING", "", "", True, "", (EcsContainer("airflow", "RUNNING", None, ""),))


def stopped(
    code: int | None, stop_code: str = "EssentialContainerExited", reason: str = "Essential container exited"
) -> DescribedTask:
    container = EcsContainer("airflow", "STOPPED", code, "")
    return DescribedTask(ARN, "STOPPED", "STOPPED", stop_code, reason, code is not None, "ecs-svc/1", (container,))


class World:
    """Everything that the kinds call: ECS tasks and services, logs, S3."""

    def __init__(self) -> None:
        self.task: DescribedTask | None = None
        self.runs: list[Mapping[str, Any]] = []
        self.result: dict[str, Any] | None = None
        self.objects: dict[str, Found] = {}
        self.service: DescribedService | None = None
        self.dead = 0
        self.graces: list[int] = []
        self.networks: list[Mapping[str, Any] | None] = []
        self.read: list[tuple[str, str]] = []

    def run(self, request: Mapping[str, Any]) -> str:
        self.runs.append(request)
        self.task = RUNNING
        return ARN

    def describe(self, names: list[str]) -> dict[str, Any]:
        if names and not names[0].startswith("arn:"):
            return {self.service.name: self.service} if self.service else {}
        return {name: replace(self.task, arn=name) for name in names if self.task is not None}

    def update(
        self, name: str, definition: str, desired: int, grace: int = 0, network: Mapping[str, Any] | None = None
    ) -> None:
        self.graces.append(grace)
        self.networks.append(network)

    def stopped_tasks(self, name: str) -> list[str]:
        return [f"{ARN}{number}" for number in range(self.dead)]

    def last_lines(self, group: str, stream: str, most: int = 20) -> tuple[str, ...]:
        self.read.append((group, stream))
        return ("Traceback", "ValueError: no")

    def read_json(self, bucket: str, key: str) -> dict[str, Any] | None:
        return self.result

    def bucket_exists(self, bucket: str) -> bool:
        return bool(self.objects)

    def find(self, bucket: str, key: str, version: str = "") -> Found | None:
        found = self.objects.get(key)
        return found if found and version in {"", found.version} else None


def one(kind: PartKind, stage: PartContext, role: str = "") -> Part:
    return next(part for part in blueprint(stage.spec) if part.kind is kind and (part.role == role or not role))


def knowing(stage: PartContext, facts: Mapping[str, str]) -> PartContext:
    return replace(stage, facts={**stage.facts, **facts})


LAYERED = context(
    spec(RequirementsS3Path="requirements.txt"), source__requirements="s3://b/requirements.txt?versionId=1"
)


class TestLayer:
    def test_tries_are_counted_for_each_layer_and_begin_anew_with_each_request(self) -> None:
        tired = knowing(LAYERED, {"layer.building": "another", "layer.tries": "9"})
        assert self.parts.put(tired, self.part)["layer.tries"] == "1"
        self.parts.put(replace(tired, generation=2), self.part)
        tokens = [run["clientToken"] for run in self.world.runs]
        assert len(set(tokens)) == 2, "ECS would answer with the task that failed"

    def setup_method(self) -> None:
        self.world = World()
        self.parts = LayerParts(self.world, Once(self.world, self.world))  # type: ignore[arg-type]
        self.part = one(PartKind.LAYER, LAYERED)

    def look(self, stage: PartContext) -> Seen:
        return self.parts.observe(stage, [self.part])["layer"]

    def begun(self) -> PartContext:
        return knowing(LAYERED, self.parts.put(LAYERED, self.part))

    def test_built_once(self) -> None:
        assert self.look(LAYERED).phase is PartPhase.ABSENT
        stage = self.begun()
        assert self.look(stage).phase is PartPhase.MOVING
        self.world.task, self.world.result = stopped(0), {"ok": True, "archive": "layer.tar.gz"}
        seen = self.look(stage)
        assert seen.phase is PartPhase.READY
        assert seen.facts["layer.url"].endswith(f"/layers/flight/{layer_digest(LAYERED)}/layer.tar.gz")
        assert len(self.world.runs) == 1

    def test_one_that_is_there_is_not_built(self) -> None:
        self.world.result = {"ok": True, "archive": "layer.tar.gz"}
        assert self.look(LAYERED).phase is PartPhase.READY

    def test_a_refusal_of_another_time_is_tried_again(self) -> None:
        self.world.result = {"ok": False, "code": "REQUIREMENTS_FAILED", "reason": "the registry was away"}
        assert self.look(LAYERED).phase is PartPhase.ABSENT

    def test_a_refusal_is_told(self) -> None:
        stage = self.begun()
        self.world.task = stopped(1)
        self.world.result = {"ok": False, "code": "PLUGINS_FAILED", "reason": "plugins.zip: not a zip"}
        fault = self.look(stage).fault
        assert fault is not None
        assert (fault.code, fault.message) == ("PLUGINS_FAILED", "plugins.zip: not a zip")

    def test_a_builder_that_could_not_work_is_started_again_but_not_for_ever(self) -> None:
        stage = self.begun()
        for _ in range(2):
            self.world.task = stopped(75)
            assert self.look(stage).phase is PartPhase.ABSENT
            stage = knowing(stage, self.parts.put(stage, self.part))
        self.world.task = stopped(75)
        fault = self.look(stage).fault
        assert fault is not None
        assert fault.code == "LAYER_FAILED", "the requirements are not to blame"
        assert "(3 tries)" in fault.message
        tokens = [run["clientToken"] for run in self.world.runs]
        assert len(set(tokens)) == len(tokens) == 3

    def test_a_crash_before_the_record_repeats_the_same_token(self) -> None:
        self.begun()
        self.begun()
        assert len({run["clientToken"] for run in self.world.runs}) == 1

    @pytest.mark.parametrize(
        ("code", "stop_code", "reason", "expected"),
        [
            (None, "TaskFailedToStart", "CannotPullContainerError: no such image", "IMAGE_FAILED"),
            (None, "TaskFailedToStart", "ResourceInitializationError: no such secret", "LAYER_FAILED"),
            (137, "EssentialContainerExited", "OutOfMemoryError", "LAYER_FAILED"),
        ],
    )
    def test_what_ecs_says_is_told_when_there_is_no_result(
        self, code: int | None, stop_code: str, reason: str, expected: str
    ) -> None:
        stage = self.begun()
        self.world.task = stopped(code, stop_code, reason)
        fault = self.look(stage).fault
        assert fault is not None
        assert fault.code == expected
        assert reason in fault.message

    def test_a_builder_whose_place_was_taken_away_is_started_again(self) -> None:
        stage = self.begun()
        self.world.task = stopped(143, "TerminationNotice", "The local cloud is shutting down.")
        assert self.look(stage).phase is PartPhase.ABSENT
        stage = knowing(stage, self.parts.put(stage, self.part))
        assert self.look(stage).phase is PartPhase.MOVING
        assert len({run["clientToken"] for run in self.world.runs}) == 2

    def test_the_name_follows_the_content(self) -> None:
        assert layer_digest(LAYERED) != layer_digest(knowing(LAYERED, {"source.requirements.etag": "other"}))

    def test_leaving_stops_the_builder(self) -> None:
        stage = replace(self.begun(), leaving=True)
        assert self.look(stage).phase is PartPhase.MOVING
        self.world.task = stopped(137)
        assert self.look(stage).phase is PartPhase.ABSENT


class TestMigration:
    def setup_method(self) -> None:
        self.world = World()
        self.parts = MigrationParts(Once(self.world, self.world))  # type: ignore[arg-type]
        self.stage = context()
        self.part = one(PartKind.MIGRATION, self.stage)

    def look(self, stage: PartContext) -> Seen:
        return self.parts.observe(stage, [self.part])["migration"]

    def test_once_per_database_and_version(self) -> None:
        stage = knowing(self.stage, self.parts.put(self.stage, self.part))
        assert self.look(stage).phase is PartPhase.MOVING
        self.world.task = stopped(0)
        stage = knowing(stage, self.look(stage).facts)
        self.world.task = None  # ECS forgets after an hour
        assert self.look(stage).phase is PartPhase.READY
        assert self.look(knowing(stage, {"database.name": "another"})).phase is PartPhase.ABSENT

    def test_a_failure_tells_exit_code_and_last_lines(self) -> None:
        stage = knowing(self.stage, self.parts.put(self.stage, self.part))
        self.world.task = stopped(3)
        fault = self.look(stage).fault
        assert fault is not None
        assert fault.code == "MIGRATION_FAILED"
        assert "exit code 3" in fault.message
        assert "ValueError: no" in fault.message
        assert self.world.read == [("/skylift/flight", "migrate/airflow/0123")]

    def test_an_image_that_cannot_be_had_is_said_as_such(self) -> None:
        stage = knowing(self.stage, self.parts.put(self.stage, self.part))
        self.world.task = stopped(None, "TaskFailedToStart", "CannotPullContainerError: no such image")
        fault = self.look(stage).fault
        assert fault is not None
        assert (fault.code, "no such image" in fault.message) == ("IMAGE_FAILED", True)
        assert self.world.read == [], "what never ran has no log"

    @pytest.mark.parametrize(
        "end", [stopped(143, "TerminationNotice", "The local cloud is shutting down."), stopped(137)]
    )
    def test_one_that_was_killed_is_run_again_but_not_for_ever(self, end: DescribedTask) -> None:
        stage, phases, tries = self.stage, [], []
        for _ in range(3):
            stage = knowing(stage, self.parts.put(stage, self.part))
            tries.append(stage.fact("migration.tries"))
            self.world.task = end
            phases.append(self.look(stage).phase)
        assert phases == [PartPhase.ABSENT, PartPhase.ABSENT, PartPhase.FAILED]
        assert tries == ["1", "2", "3"]
        assert len({run["clientToken"] for run in self.world.runs}) == 3
        moved = self.parts.put(knowing(stage, {"database.name": "another"}), self.part)
        assert moved["migration.tries"] == "1", "another database's migration begins anew"


class TestService:
    def setup_method(self) -> None:
        self.world = World()
        self.parts = ServiceParts(self.world, self.world, self.world)  # type: ignore[arg-type]
        self.stage = context(definition__scheduler="arn:def:1")
        self.part = one(PartKind.SERVICE, self.stage, "scheduler")
        self.service = DescribedService(
            "skylift-flight-scheduler", "ACTIVE", "arn:def:1", 1, 1, 0, 0, True, (), 0, ("sg-1",), "ecs-svc/1"
        )

    def look(self, service: DescribedService | None) -> Seen:
        self.world.service = service
        return self.parts.observe(self.stage, [self.part])["service/scheduler"]

    def test_phases(self) -> None:
        assert self.look(None).phase is PartPhase.ABSENT
        assert self.look(self.service).phase is PartPhase.READY
        assert self.look(replace(self.service, definition="arn:def:0")).phase is PartPhase.DIFFERENT
        assert self.look(replace(self.service, desired=0)).phase is PartPhase.DIFFERENT
        assert self.look(replace(self.service, running=0, pending=1, settled=False)).phase is PartPhase.MOVING
        assert self.look(replace(self.service, status="DRAINING")).phase is PartPhase.MOVING

    def test_other_security_groups_are_put_with_the_network(self) -> None:
        assert self.look(replace(self.service, security_groups=("sg-2",))).phase is PartPhase.DIFFERENT
        self.parts.put(self.stage, self.part)
        (network,) = self.world.networks
        assert network is not None
        assert network["awsvpcConfiguration"]["securityGroups"] == ["sg-1"]
        self.look(self.service)
        self.parts.put(self.stage, self.part)
        assert self.world.networks[1] is None, "tasks are not replaced for a network that stays"

    def test_what_an_earlier_deployment_lost_does_not_count(self) -> None:
        self.world.task, self.world.dead = stopped(1), 9
        assert self.look(replace(self.service, running=0, failed=5, settled=False)).phase is PartPhase.FAILED
        rolled_back = replace(self.service, running=0, failed=5, settled=False, deployment="ecs-svc/2")
        assert self.look(rolled_back).phase is PartPhase.MOVING

    def test_one_that_keeps_dying_has_failed(self) -> None:
        dying = replace(self.service, running=0, failed=5, settled=False)
        self.world.task = stopped(1)
        self.world.dead = 2
        assert self.look(dying).phase is PartPhase.MOVING
        self.world.dead = 3
        fault = self.look(dying).fault
        assert fault is not None
        assert fault.code == "COMPONENT_FAILED"
        assert fault.message.startswith("scheduler keeps ending: Essential container exited; exit code 1")
        self.world.task = stopped(143, "UserInitiated", "stopped by a person")
        assert self.look(dying).phase is PartPhase.MOVING, "what somebody stopped did not die"

    def test_what_ecs_replaced_is_noted_once_with_its_reason(self) -> None:
        def notes(service: DescribedService) -> list[tuple[str, float | None]]:
            seen = self.look(service)
            found = of_notes(self.stage.facts, seen.facts)
            self.stage = knowing(self.stage, seen.facts)
            return found

        self.world.task, self.world.dead = stopped(139), 1
        assert notes(self.service) == []
        text = "scheduler ended, and ECS starts another (restart 1 since its last change): "
        assert notes(replace(self.service, failed=1)) == [(f"{text}Essential container exited; exit code 139", None)]
        assert notes(replace(self.service, failed=1)) == []
        reason = "Task failed ELB health checks in (target-group arn:tg)"
        self.world.task = stopped(137, "ServiceSchedulerInitiated", reason)
        ((told, _),) = notes(replace(self.service, failed=2))
        assert told.startswith(f"{text.replace('1', '2')}{reason}")
        assert notes(replace(self.service, failed=0, deployment="ecs-svc/2")) == [], "a new deployment counts anew"
        self.stage = replace(self.stage, served=(self.stage.spec, self.stage.facts))
        assert notes(replace(self.service, failed=1)) == [], "an update that fails has its own reason"

    def test_an_api_server_gets_longer_to_start_after_each_restart(self) -> None:
        stage = context(definition__apiserver="arn:def:1")
        stage = replace(stage, facts={**stage.facts, "definition.api-server": "arn:def:1"})
        part = one(PartKind.SERVICE, stage, "api-server")
        desired = desired_count(stage, "api-server")
        up = replace(self.service, name="skylift-flight-api-server", desired=desired, running=desired, grace=300)

        def look(service: DescribedService, at: PartContext = stage) -> Seen:
            self.world.service = service
            return self.parts.observe(at, [part])[part.name]

        assert look(up).phase is PartPhase.READY
        graces = []
        for failed in range(1, 6):
            service = replace(up, failed=failed)
            assert look(service).phase is PartPhase.DIFFERENT, "it was killed while it started"
            self.parts.put(stage, part)
            up = replace(up, grace=self.world.graces[-1])
            graces.append(up.grace)
            assert look(replace(service, grace=up.grace)).phase is PartPhase.READY
        assert graces == [600, 1200, 2400, 4800, 7200]
        assert look(replace(up, failed=99)).phase is PartPhase.READY, "two hours are enough for any machine"
        seen = look(replace(up, failed=3, running=0, settled=False))
        assert (seen.phase, seen.running, seen.restarts) == (PartPhase.MOVING, 0, 3)
        calm = replace(stage, facts={**stage.facts, "calm.api-server": "3"})
        assert look(replace(up, failed=3), calm).restarts == 0, "Airflow has been well since"
        assert look(replace(up, failed=4), calm).restarts == 1
        assert look(replace(up, failed=1), calm).restarts == 1, "a new deployment counts from zero"

    def test_the_reason_is_told(self) -> None:
        lines = ("Traceback", "ValueError: no")
        text = failure_text(stopped(1), lines)
        assert text == "Essential container exited; exit code 1\nTraceback\nValueError: no"


def test_source_pins_what_is_current() -> None:
    world, stage = World(), context(spec(RequirementsS3Path="requirements.txt"))
    parts = SourceParts(world)  # type: ignore[arg-type]
    stage = replace(stage, settings=replace(stage.settings, check_role=False))
    part = one(PartKind.SOURCE, stage)
    assert parts.observe(stage, [part])["source"].phase is PartPhase.FAILED
    world.objects["requirements.txt"] = Found("v1", "etag")
    seen = parts.observe(stage, [part])["source"]
    assert seen.facts["source.requirements"] == "s3://flight-bucket/requirements.txt?versionId=v1"
    world.objects["requirements.txt"] = Found("v2", "etag2")
    again = parts.observe(knowing(stage, seen.facts), [part])["source"]
    assert (again.phase, dict(again.facts)) == (PartPhase.READY, {}), "pinned: a newer version is not taken up"


def test_health_names_who_is_unwell() -> None:
    well = {"status": "healthy"}
    answer = {"metadatabase": well, "scheduler": {"status": "unhealthy"}, "dag_processor": None, "triggerer": well}
    assert unwell(answer) == ("scheduler", "dag_processor")
    assert unwell({}) == ("metadatabase", "scheduler", "dag_processor", "triggerer")
    assert unwell(dict.fromkeys(unwell({}), well)) == ()
